/* SPDX-License-Identifier: GPL-2.0-only */
/* criu dedup: gives back the room of pages that a later checkpoint of a chain has anew. */
#include "cmd/cmd.h"
#include "files/files.h"
#include "lib/fault.h"
#include "pages/pages_dedup.h"

int cmd_dedup(const struct options *o, struct stages *stages)
{
	fault_init(o->kill_at);
	files_raise_limit(); /* each checkpoint of the chain is open */
	return pages_dedup(o->images_dir, false);
}
