/* SPDX-License-Identifier: GPL-2.0-only */
#include "path/remap.h"

struct remaps {
	RemapFilePathEntry **entries;
	size_t n;
};

void remap_note(struct dump *d, uint32_t file, uint32_t to, RemapType type)
{
	RemapFilePathEntry *e = arena_msg(d->arena, RemapFilePathEntry, remap_file_path_entry);

	if (!d->remaps)
		d->remaps = arena_new_of(d->arena, struct remaps);
	e->orig_id = file;
	e->remap_id = to;
	e->has_remap_type = true;
	e->remap_type = type;
	arena_push(d->arena, &d->remaps->entries, &d->remaps->n, e);
}

int remap_write(struct dump *d)
{
	_cleanup_image_ struct image *img = NULL;
	int err = d->remaps ? image_create(d->dir, IMG_REMAP_FPATH, 0, &img) : 0;

	for (size_t i = 0; d->remaps && !err && i < d->remaps->n; i++)
		err = image_write(img, d->remaps->entries[i]);
	return err ?: image_close(move_ptr(img));
}
