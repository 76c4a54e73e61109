/* SPDX-License-Identifier: GPL-2.0-only */
/* The row of memory. */
#include "lib/fault.h"
#include "lib/log.h"
#include "mm/mm.h"
#include "mm/mm_read.h"
#include "mm/vma.h"
#include "tree/subsys.h"

extern const struct subsys memory_subsys;

struct mm_shared *mm_shared_of(struct dump *d)
{
	return dump_state(d, &memory_subsys);
}

struct mm_restore *mm_of(const struct restore *r)
{
	return restore_state(r, &memory_subsys);
}

/* Tasks that share an address space with an earlier one have no more to tell. */
static int memory_look(struct dump *d, struct task *t)
{
	return tree_first_vm(&d->tree, t) == t ? mm_collect(d, t) : 0;
}

static int memory_dump_task(struct dump *d, struct task *t)
{
	return tree_first_vm(&d->tree, t) == t ? mm_dump(d, t) : 0;
}

static int memory_write_images(struct dump *d)
{
	int err = mm_dump_pages(d);

	log_info("%llu pages written of %llu looked at", (unsigned long long)d->stats->pages_written,
	         (unsigned long long)d->stats->pages_scanned);
	fault_point("pages written");
	return err;
}

static const struct address_space memory_space = {
	.starts_as_copy = mm_inherits,
	.find_hole = mm_find_hole,
	.map = mm_restore_map,
	.seal = mm_restore_seal,
};

const struct subsys memory_subsys = {
	.name = "memory",
	.state = { .dump = sizeof(struct mm_shared), .restore = sizeof(struct mm_restore) },
	.look = memory_look,
	.dump_task = memory_dump_task,
	.check = mm_check,
	.space = &memory_space,
};

/* A row of its own: pages are written before the row of descriptors closes the files through which some are read. */
const struct subsys pages_subsys = {
	.name = "pages",
	.write_images = memory_write_images,
};
