/* SPDX-License-Identifier: GPL-2.0-only */
#include "arch_page.h"
#include "mm/shmem_restore.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>

#include "lib/log.h"

struct shmem {
	uint64_t id;
	uint64_t size;
	size_t mappings; /* that do not have it yet */
	struct pagemap *pages;
	void *map;
	int memfd;
	UT_hash_handle hh;
};

static struct shmem *find(const struct mm_restore *m, uint64_t id)
{
	struct shmem *s;

	HASH_FIND(hh, m->shmem, &id, sizeof(id), s);
	return s;
}

int shmem_note(struct restore *r, const struct task *t, const VmaEntry *v)
{
	struct mm_restore *m = mm_of(r);
	struct shmem *s = find(m, v->shmid);
	int err = 0;

	if (!s) {
		if (v->shmid > UINT32_MAX)
			return log_errno(-EBADMSG, "%s: shared memory has the number %" PRIu64, task_name(t), v->shmid);
		s = arena_new_of(r->arena, struct shmem);
		s->id = v->shmid;
		s->memfd = -1;
		HASH_ADD_IN(r->arena, hh, m->shmem, id, sizeof(s->id), s);
		err = pages_read_object(r, s->id, &s->pages);
	}
	s->size = MAX(s->size, v->pgoff + v->end - v->start);
	s->mappings++;
	return err;
}

static int make_memfd(struct shmem *s)
{
	s->memfd = memfd_create("criu-shared", MFD_CLOEXEC);
	if (s->memfd < 0 || ftruncate(s->memfd, (off_t)s->size))
		return log_errno(-errno, "shared memory %" PRIu64 ": making a memfd of %" PRIu64 " bytes", s->id,
		                 s->size);
	return s->memfd;
}

/* Opens the memory behind a mapping of ours. It needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN in the initial namespace.
 */
static int open_map(const struct shmem *s)
{
	uintptr_t at = (uintptr_t)s->map;
	char path[80];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/map_files/%" PRIxPTR "-%" PRIxPTR, at, at + s->size);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int make(struct restore *r, struct shmem *s)
{
	struct mm_restore *m = mm_of(r);
	int fd = -1;

	if (!m->no_map_files) {
		s->map = mmap(NULL, s->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		if (s->map == MAP_FAILED)
			return log_errno(-errno, "shared memory %" PRIu64 " of %" PRIu64 " bytes", s->id, s->size);
		fd = open_map(s);
		if (fd == -EPERM || fd == -EACCES || fd == -ENOENT) {
			log_warn("shared memory is made of memfds, its name in /proc/PID/maps will differ: "
			         "opening /proc/self/map_files takes CAP_CHECKPOINT_RESTORE");
			m->no_map_files = true;
			munmap(s->map, s->size);
		} else if (fd < 0) {
			return log_errno(fd, "shared memory %" PRIu64 ": opening it", s->id);
		} else {
			close(fd);
		}
	}
	if (m->no_map_files) {
		fd = make_memfd(s);
		if (fd < 0)
			return fd;
		s->map = mmap(NULL, s->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (s->map == MAP_FAILED)
			return log_errno(-errno, "shared memory %" PRIu64 " of %" PRIu64 " bytes", s->id, s->size);
	}
	return pages_fill_object(r, s->pages, s->map, s->size);
}

int shmem_open(struct restore *r, const VmaEntry *v)
{
	struct shmem *s = find(mm_of(r), v->shmid);
	int fd, err = 0;

	if (!s)
		return log_errno(-ENOENT, "shared memory %" PRIu64 " was not checked", v->shmid);
	if (!s->map)
		err = make(r, s);
	if (err)
		return err;
	fd = s->memfd >= 0 ? fcntl(s->memfd, F_DUPFD_CLOEXEC, 0) : open_map(s);
	if (fd < 0)
		return log_errno(s->memfd >= 0 ? -errno : fd, "shared memory %" PRIu64 ": opening it", s->id);
	return fd;
}

void shmem_release(struct restore *r, const VmaEntry *v)
{
	struct shmem *s = find(mm_of(r), v->shmid);

	if (!s || --s->mappings)
		return;
	if (s->map)
		munmap(s->map, s->size);
	if (s->memfd >= 0)
		close(s->memfd);
	s->memfd = -1;
	s->map = NULL;
}
