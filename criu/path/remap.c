/* SPDX-License-Identifier: GPL-2.0-only */
#include "path/remap.h"
#include "tree/subsys.h"

struct remaps {
	RemapFilePathEntry **entries;
	size_t n;
};

const struct subsys remap_subsys = { .name = "remapped files", .state = { .dump = sizeof(struct remaps) } };

void remap_note(struct dump *d, uint32_t file, uint32_t to, RemapType type)
{
	struct remaps *all = dump_state(d, &remap_subsys);
	RemapFilePathEntry *e = arena_msg(d->arena, RemapFilePathEntry, remap_file_path_entry);

	e->orig_id = file;
	e->remap_id = to;
	e->has_remap_type = true;
	e->remap_type = type;
	arena_push(d->arena, &all->entries, &all->n, e);
}

int remap_write(struct dump *d)
{
	const struct remaps *all = dump_state(d, &remap_subsys);
	_cleanup_image_ struct image *img = NULL;
	int err = all->n ? image_create(d->dir, IMG_REMAP_FPATH, 0, &img) : 0;

	for (size_t i = 0; !err && i < all->n; i++)
		err = image_write(img, all->entries[i]);
	return err ?: image_close(move_ptr(img));
}
