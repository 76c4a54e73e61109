/* SPDX-License-Identifier: GPL-2.0-only */
/* The row of memory: what is done to address spaces at each stage. */
#include "lib/fault.h"
#include "lib/log.h"
#include "mm/mm.h"
#include "mm/mm_limits.h"
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
	.look = memory_look,
	.dump_task = memory_dump_task,
	.check = mm_check,
	.space = &memory_space,
};

/* A row of its own: pages are written before the row of descriptors closes the files through which some are read. */
const struct subsys memory_pages_subsys = {
	.name = "pages",
	.write_images = memory_write_images,
};
