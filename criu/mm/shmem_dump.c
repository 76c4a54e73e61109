/* SPDX-License-Identifier: GPL-2.0-only */
/* The data of shared memory: read from the object itself, once, whoever has it. */
#include <fcntl.h>
#include <sys/stat.h>

#include "arch_page.h"
#include "lib/log.h"
#include "mm/page_io.h"

static int add_data(struct page_stream *s, uint64_t size)
{
	off_t data = 0, hole;
	int err = 0;

	while (!err && (uint64_t)data < size) {
		data = lseek(s->source, data, SEEK_DATA);
		if (data < 0)
			return errno == ENXIO ? 0 : -errno;
		hole = lseek(s->source, data, SEEK_HOLE);
		if (hole <= data)
			return hole < 0 ? -errno : -EBADMSG;
		data = (off_t)round_down((uint64_t)data, PAGE_SIZE);
		s->scanned += round_up((uint64_t)(hole - data), PAGE_SIZE) / PAGE_SIZE;
		err = stream_add(s, (uint64_t)data, round_up((uint64_t)(hole - data), PAGE_SIZE) / PAGE_SIZE,
		                 PIECE_DROP_ZERO);
		data = hole;
	}
	return err;
}

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

int shmem_scan(const struct shmem_object *o, struct page_stream *s)
{
	struct stat st;
	int err;

	s->source = open(o->path, O_RDONLY | O_CLOEXEC);
	if (s->source < 0 || fstat(s->source, &st))
		return log_errno(-errno, "%s: opening shared memory through %s", task_name(o->task), o->path);
	if (st.st_ino != o->ino)
		return log_errno(-ESTALE, "%s: %s is not the memory that was there", task_name(o->task), o->path);
	err = add_data(s, (uint64_t)st.st_size);
	return err ? log_errno(err, "%s: finding data in shared memory (%s)", task_name(o->task), o->path) : 0;
}
