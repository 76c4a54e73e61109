/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The plan of a restore: which task creates which, how, and where each agent's region lies. Made from the tree alone,
 * before anything is started.
 */
#ifndef CRIU_RESTORE_PLAN_H
#define CRIU_RESTORE_PLAN_H

#include "agent/agent.h"
#include "tree/restore.h"

/* How a process comes to its address space. */
enum birth {
	BIRTH_EXEC,  /* an empty one of its own, by the small ELF */
	BIRTH_COPY,  /* a copy of its parent's, whose pages it shares */
	BIRTH_SHARE, /* its creator's: CLONE_VM; also what only lives to exit (zombies, helpers) */
};

/*
 * A family is the tasks whose address spaces come from one ELF by forking. They share one range of addresses that none
 * of their mappings uses: first the common part (death word, agent's text), then the members' regions.
 */
struct family {
	struct node *root;
	size_t size;     /* of the regions, without the common part */
	size_t file_off; /* of the regions, in the area's file */
	raddr_t at;      /* of the common part, in every member */
};

/* A pid namespace of the tree. */
struct pid_space {
	uint32_t id; /* in ids-N.img; 0: of a zombie */
	size_t depth;
	struct node *init;
};

struct node {
	struct task *task; /* NULL: a helper, which holds a session or a process group until its members exist */
	vpid_t pid;        /* 0: any */
	vpid_t sid;        /* its session once it has made its own */
	vpid_t born_sid;   /* the session that it is created in */
	vpid_t pgid;
	struct node *parent; /* in the tree; NULL for the root */
	struct node *creator;
	struct pid_space *space;
	bool clone_parent; /* created as its creator's sibling */
	bool early;        /* before the creator makes its own session */
	bool orphaned;     /* its creator exits, so that it moves up to its parent */
	bool ephemeral;    /* exits before the tree is let go: a zombie or a helper */
	enum birth birth;
	struct family *family;
	size_t region, region_size; /* of its agents, in its family */
	size_t first_slot;          /* BIRTH_EXEC: the small slot in its creator's family from which it execs */
	struct node **created;      /* those that it creates, in order */
	size_t n_created;
	pid_t tid;    /* once it lives: our number */
	vpid_t known; /* and what its creator knows it by */
	struct agent *agent;
	bool gone; /* exited already */
};

struct plan {
	struct node **nodes; /* creators before those that they create; [0] is the root */
	size_t n_nodes;
	struct family **families;
	size_t n_families;
	struct pid_space **spaces; /* [0] is the root's */
	size_t n_spaces;
	size_t common; /* bytes of the common part */
	size_t file_size;
};

/*
 * Makes the plan; *planp comes from the arena; task->restore->node is set. common: bytes of the common part. Refuses,
 * naming the task, a session that cannot be built again.
 */
int plan_make(struct restore *r, size_t common, struct plan **planp);

/* Refuses what plan_make() would refuse, as far as the tree alone tells; nothing but the tree has been read. */
int plan_foresee(struct restore *r);

#endif
