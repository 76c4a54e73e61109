/* SPDX-License-Identifier: GPL-2.0-only */
/* Shared objects whose data is to be stored: noted once, however many mappings and descriptors they have. */
#include "mm/vma.h"

bool shmem_is_noted(struct dump *d, uint64_t ino)
{
	struct shmem_object *o;

	HASH_FIND(hh, mm_shared_of(d)->objects, &ino, sizeof(ino), o);
	return o;
}

void shmem_note_object(struct dump *d, const struct task *t, uint64_t ino, const char *path)
{
	struct mm_shared *shared = mm_shared_of(d);
	struct shmem_object *o;

	if (shmem_is_noted(d, ino))
		return;
	o = arena_new_of(d->arena, struct shmem_object);
	o->ino = ino;
	o->task = t;
	o->path = arena_strdup(d->arena, path);
	HASH_ADD_IN(d->arena, hh, shared->objects, ino, sizeof(o->ino), o);
}
