/* SPDX-License-Identifier: GPL-2.0-only */
/* The data of shared anonymous memory: read from the object itself, once, whoever maps it. */
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "core/log.h"
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

int shmem_scan(const struct shmem_object *o, struct page_stream *s)
{
	char path[80];
	struct stat st;
	int err;

	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, o->task->pid, o->start, o->end);
	s->source = open(path, O_RDONLY | O_CLOEXEC);
	if (s->source < 0 || fstat(s->source, &st))
		return log_errno(-errno, "%s: opening shared memory through %s", task_name(o->task), path);
	if (st.st_ino != o->ino)
		return log_errno(-ESTALE, "%s: %s is not the memory that was mapped there", task_name(o->task), path);
	err = add_data(s, (uint64_t)st.st_size);
	return err ? log_errno(err, "%s: finding data in shared memory at %" PRIx64, task_name(o->task), o->start) : 0;
}
