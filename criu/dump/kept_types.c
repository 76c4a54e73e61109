/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where members of the kernel's structs lie, as earlier commands found out (lib/btf_kept.h). What is new is written
 * when the tree has ended, which may have watched the directory.
 */
#include "lib/btf_kept.h"
#include "tree/dump.h"
#include "tree/subsys.h"

extern const struct subsys kept_types_subsys;

static int begin_types(struct dump *d)
{
	btf_kept_begin();
	return 0;
}

static void note_commit(struct dump *d)
{
	bool *committed = dump_state(d, &kept_types_subsys);

	*committed = true;
}

static void end_types(struct dump *d)
{
	const bool *committed = dump_state(d, &kept_types_subsys);

	btf_kept_end(*committed && dump_kills_tree(d));
}

const struct subsys kept_types_subsys = {
	.name = "kernel types",
	.state = { .dump = sizeof(bool) },
	.begin = begin_types,
	.after_commit = note_commit,
	.end = end_types,
};
