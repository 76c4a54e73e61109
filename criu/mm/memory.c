/* SPDX-License-Identifier: GPL-2.0-only */
/* The row of memory: what is done to address spaces at each stage. */
#include <inttypes.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "lib/fault.h"
#include "lib/log.h"
#include "mm/mm.h"
#include "mm/mm_limits.h"
#include "mm/snapshot.h"
#include "mm/task_mm.h"
#include "pages/pages.h"
#include "tree/foresee.h"
#include "tree/subsys.h"

extern const struct subsys memory_subsys, memory_pages_subsys;

/* Tasks that share an address space with an earlier one have nothing to add. */
static int memory_look(struct dump *d, struct task *t)
{
	return tree_first_vm(&d->tree, t) == t ? mm_collect(d, t) : 0;
}

static int memory_dump_task(struct dump *d, struct task *t)
{
	return tree_first_vm(&d->tree, t) == t ? mm_limits_dump(d, t) : 0;
}

/* Pages that are written when the tree runs again, in a dump with copies as in a pre-dump. */
struct memory_dump_state {
	struct pages_dump *pages; /* listed, not moved; NULL */
};

static int memory_write_images(struct dump *d)
{
	struct memory_dump_state *s = dump_state(d, &memory_pages_subsys);
	int err;

	stats_lap(d->stats, "images");
	err = mm_dump_pages(d, &s->pages);
	stats_lap(d->stats, "memory");
	if (s->pages)
		return err;
	log_info("%llu pages written of %llu looked at", (unsigned long long)d->stats->pages_written,
	         (unsigned long long)d->stats->pages_scanned);
	fault_point("pages written");
	return err;
}

static int memory_write_running(struct dump *d)
{
	struct memory_dump_state *s = dump_state(d, &memory_pages_subsys);
	int err = s->pages ? mm_dump_copies(d, move_ptr(s->pages)) : 0;

	err = snapshot_end(d, err);
	stats_lap(d->stats, "memory while the tree runs");
	if (!err)
		log_info("%llu pages written of %llu looked at", (unsigned long long)d->stats->pages_written,
		         (unsigned long long)d->stats->pages_scanned);
	return err;
}

static bool is_locked(const VmaEntry *v)
{
	return (v->has_locked ? v->locked : v->flags & MAP_LOCKED) && !vma_is_kernels(v);
}

/* The agent locks what was locked, within criu's own limit, before the task has its own. */
static int foresee_locked(struct dump *d, const struct task *t, uint64_t limit)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < t->mm->n_vmas; i++)
		sum += is_locked(t->mm->vmas[i]) ? t->mm->vmas[i]->end - t->mm->vmas[i]->start : 0;
	if (sum <= limit)
		return 0;
	return log_refusal(-ENOMEM,
	                   "%s: has %" PRIu64 " bytes of memory locked, and criu may lock %" PRIu64
	                   " (RLIMIT_MEMLOCK) at restore without CAP_IPC_LOCK: raise the limit (ulimit -l) where criu "
	                   "runs, or dump and restore as root",
	                   task_name(t), sum, limit);
}

static int memory_foresee(struct dump *d)
{
	const struct own_rights *own = foresee_rights(d);
	struct rlimit limit;
	int err = 0;

	if (!own || own_rights_have(own, CAP_IPC_LOCK) || getrlimit(RLIMIT_MEMLOCK, &limit))
		return 0;
	for (size_t i = 0; i < d->tree.n_tasks; i++) {
		const struct task *t = d->tree.tasks[i];
		int part = t->state != TASK_DEAD && t->mm && tree_first_vm(&d->tree, t) == t
		               ? foresee_locked(d, t, limit.rlim_cur)
		               : 0;

		err = err ?: part;
	}
	return err;
}

/* ---- pre-dump ---- */

static int memory_pre_look(struct dump *d, struct task *t)
{
	return tree_first_vm(&d->tree, t) == t ? mm_collect_private(d, t) : 0;
}

static int memory_pre_list(struct dump *d)
{
	struct memory_dump_state *s = dump_state(d, &memory_pages_subsys);

	return mm_list_pages(d, &s->pages);
}

static int memory_pre_write(struct dump *d)
{
	struct memory_dump_state *s = dump_state(d, &memory_pages_subsys);
	uint64_t start = clock_now_us();
	int err = pages_dump_end(move_ptr(s->pages), 0);

	d->stats->memdump_time = clock_now_us() - start;
	log_info("%llu pages written of %llu looked at", (unsigned long long)d->stats->pages_written,
	         (unsigned long long)d->stats->pages_scanned);
	fault_point("pages written");
	return err;
}

static void memory_end(struct dump *d)
{
	struct memory_dump_state *s = dump_state(d, &memory_pages_subsys);

	if (s->pages)
		pages_dump_end(move_ptr(s->pages), -ECANCELED);
}

static const struct address_space memory_space = {
	.starts_as_copy = mm_inherits,
	.find_hole = mm_find_hole,
	.map = mm_restore_map,
	.seal = mm_restore_seal,
};

const struct subsys memory_subsys = {
	.name = "memory",
	.look = memory_look,
	.dump_task = memory_dump_task,
	.foresee = memory_foresee,
	.check = mm_check,
	.space = &memory_space,
};

/* A row of its own: pages are written before the row of descriptors closes the files through which some are read. */
const struct subsys memory_pages_subsys = {
	.name = "pages",
	.state = { .dump = sizeof(struct memory_dump_state) },
	.write_images = memory_write_images,
	.write_running = memory_write_running,
	.pre_look = memory_pre_look,
	.pre_list = memory_pre_list,
	.pre_write = memory_pre_write,
	.end = memory_end,
};
