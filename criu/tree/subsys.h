/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Subsystems: what a tree has as a whole, neither a descriptor nor a part of a task. A row says what is to be done at
 * each stage of a dump and of a restore; at each stage the rows are called in the order of kinds.h. Engines below the
 * kinds that keep something during a command are rows too.
 */
#ifndef CRIU_TREE_SUBSYS_H
#define CRIU_TREE_SUBSYS_H

#include "options/stages.h"
#include "tree/dump.h"
#include "tree/externals.h"
#include "tree/restore.h"

/*
 * The one subsystem that makes address spaces: what the plan of a restore asks before anything is started, and what
 * each task that has an address space of its own goes through.
 */
struct address_space {
	/* Whether child starts as a copy of its parent, with which it shares pages copy-on-write. */
	bool (*starts_as_copy)(const struct restore *r, const struct task *child);
	/*
	 * A hole of `size` bytes that no mapping of t, nor of its descendants that start as its copies, uses;
	 * page-aligned and as low as possible (not below 64 KiB); 0 when no hole is large enough.
	 */
	raddr_t (*find_hole)(const struct restore *r, const struct task *t, uint64_t size);
	/*
	 * Mappings and pages, before t's children are created; what lies in [keep, keep + size) stays. Then, when
	 * those that are copies have been forked: final protections and what else a child must not inherit.
	 */
	int (*map)(struct restore *r, struct task *t, raddr_t keep, uint64_t size);
	int (*seal)(struct restore *r, struct task *t);
};

/* All members but the name may be absent. Functions return 0 or a negative errno (logged). */
struct subsys {
	const char *name;
	struct row_state state;

	/* Dump, before anything is done, and before the guardian is forked: what that has to share. */
	int (*begin)(struct dump *d);
	/* The tree runs still; then each process that is found later, right before it is seized. */
	int (*before_freeze)(struct dump *d);
	int (*before_seize)(struct dump *d, pid_t pid);
	/* All tasks stand still, and nothing has been read of them but what the freezing needs. */
	int (*frozen)(struct dump *d);
	/* Dump, of each living task: read from outside before the agent enters it; read when the agent has left. */
	int (*look)(struct dump *d, struct task *t);
	int (*dump_task)(struct dump *d, struct task *t);
	/* Between the two, while the agent is inside and has asked all rows: what takes calls of its own. */
	int (*inside)(struct dump *d, struct task *t);
	/* All tasks have been read: what only the whole tree tells. Refusals are collected here at the latest. */
	int (*collect)(struct dump *d);
	/* What a restore would refuse here for sure: as of task_part. */
	int (*foresee)(struct dump *d);
	/* Nothing is against the dump: images that take long, or that are complete only now. */
	int (*write_images)(struct dump *d);
	/* The tree runs again, and the commit is still to come (lets_run_early): images that need nothing of it. */
	int (*write_running)(struct dump *d);
	/* All images stand, and scripts have agreed: what others take from the tree while it stands still. */
	int (*hand_over)(struct dump *d, struct stages *stages);
	/* All images stand: the last that can fail. Undo entries for what is done here. */
	int (*before_commit)(struct dump *d);
	/* There is no way back; the tree stands still, and is let go or killed afterwards: see dump_kills_tree(). */
	void (*after_commit)(struct dump *d);
	/* The dump has failed, or it is a pre-dump: takes back what the tree would notice, before it runs on. */
	void (*rollback)(struct dump *d);
	/*
	 * Pre-dump, between frozen() and end(), in the place of all these: of each living task from outside, then while
	 * the agent is inside; what is to be stored of all of them; storing it, when the tree may run already; what
	 * takes long to find out, when it runs; and when the images count.
	 */
	int (*pre_look)(struct dump *d, struct task *t);
	int (*pre_inside)(struct dump *d, struct task *t);
	int (*pre_list)(struct dump *d);
	int (*pre_write)(struct dump *d);
	int (*pre_running)(struct dump *d);
	void (*pre_committed)(struct dump *d);
	/* At the very end, success or not: what may take time. */
	void (*end)(struct dump *d);

	/* Restore, before anything is started: images of its own, then whether all of them can come back. */
	int (*read_images)(struct restore *r);
	int (*check)(struct restore *r);
	/* The guardian watches: before criu has threads; before the first process is made. */
	int (*before_threads)(struct restore *r);
	int (*before_start)(struct restore *r);
	/* A task lives, without mappings, children and descriptors. */
	int (*born)(struct restore *r, struct task *t);
	/* A task lives and is in its session, without children and descriptors. */
	int (*at_birth)(struct restore *r, struct task *t);
	/* It has created its children. Of zombies, too. */
	int (*grown)(struct restore *r, struct task *t);
	/* All processes and threads exist, with agents in them: objects that refer to each other; then the rest. */
	int (*prepare)(struct restore *r);
	int (*create)(struct restore *r);
	/* All tasks have their descriptors: what needs them, and is to be done late. */
	int (*settle)(struct restore *r);
	/* All threads stand at their last instruction, and scripts have agreed: the last that can fail. */
	int (*all_standing)(struct restore *r);
	/* There is no way back; the tree is let go afterwards. */
	void (*committed)(struct restore *r);
	/* The restore has failed: takes back what others than the new tasks would notice. */
	void (*undo)(struct restore *r);
	/* At the very end, success or not: what may take time. */
	void (*done)(struct restore *r);
	/* After read_images() has been called, whatever came of it: when the guardian has ended, if there was one. */
	void (*leave)(struct restore *r);

	const struct address_space *space;
	const struct externals *externals;
};

extern const struct subsys *const subsystems[]; /* in the order of kinds.h; NULL-terminated */

/* Runs a stage of all subsystems: stops at the first error, and returns it. */
#define subsys_run(stage, ...)                                                                                         \
	({                                                                                                             \
		int err_ = 0;                                                                                          \
		for (const struct subsys *const *s_ = subsystems; !err_ && *s_; s_++)                                  \
			if ((*s_)->stage)                                                                              \
				err_ = (*s_)->stage(__VA_ARGS__);                                                      \
		err_;                                                                                                  \
	})

/* The same, but the others are run after an error, too; returns the first. */
#define subsys_run_all(stage, ...)                                                                                     \
	({                                                                                                             \
		int err_ = 0;                                                                                          \
		for (const struct subsys *const *s_ = subsystems; *s_; s_++) {                                         \
			int part_ = (*s_)->stage ? (*s_)->stage(__VA_ARGS__) : 0;                                      \
			err_ = err_ ?: part_;                                                                          \
		}                                                                                                      \
		err_;                                                                                                  \
	})

/* A stage that cannot fail. */
#define subsys_tell(stage, ...)                                                                                        \
	do {                                                                                                           \
		for (const struct subsys *const *s_ = subsystems; *s_; s_++)                                           \
			if ((*s_)->stage)                                                                              \
				(*s_)->stage(__VA_ARGS__);                                                             \
	} while (0)

const struct address_space *subsys_space(void); /* what makes address spaces */

#endif
