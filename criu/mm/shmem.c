/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Shared memory without a file (MAP_SHARED | MAP_ANONYMOUS). Each object is made and filled here, and tasks map a
 * descriptor of it.
 */
#include "mm/shmem.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "arch_page.h"
#include "lib/log.h"
#include "mm/hugetlb.h"
#include "mm/vma_anon.h"
#include "pages/pages.h"

extern const struct vma_kind shmem_kind;

/* ---- dump ---- */

struct shmem_dump_state {
	struct shmem_object *objects;
	uint64_t dev; /* the device of the kernel's own tmpfs, as st_dev; 0: not known yet */
};

bool shmem_holds(struct dump *d, const struct proc_map *m)
{
	struct shmem_dump_state *s = dump_state(d, &shmem_kind);
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (!s->dev) {
		fd = memfd_create("criu", MFD_CLOEXEC);
		if (fd >= 0 && !fstat(fd, &st))
			s->dev = st.st_dev;
	}
	return s->dev && makedev(m->major, m->minor) == s->dev; /* the first segment has inode number 0 */
}

bool shmem_is_noted(struct dump *d, uint64_t key)
{
	struct shmem_dump_state *s = dump_state(d, &shmem_kind);
	struct shmem_object *o;

	HASH_FIND(hh, s->objects, &key, sizeof(key), o);
	return o;
}

void shmem_note_object(struct dump *d, const struct task *t, uint64_t key, bool hugetlb, const char *path)
{
	struct shmem_dump_state *s = dump_state(d, &shmem_kind);
	struct shmem_object *o;

	if (shmem_is_noted(d, key))
		return;
	o = arena_new_of(d->arena, struct shmem_object);
	o->ino = key;
	o->hugetlb = hugetlb;
	o->task = t;
	o->path = arena_strdup(d->arena, path);
	HASH_ADD_IN(d->arena, hh, s->objects, ino, sizeof(o->ino), o);
}

const struct shmem_object *shmem_objects(struct dump *d)
{
	struct shmem_dump_state *s = dump_state(d, &shmem_kind);

	return s->objects;
}

static void note_mapping_as(struct dump *d, const struct task *t, const struct proc_map *m, uint64_t key)
{
	char path[80];

	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, t->pid, m->start, m->end);
	shmem_note_object(d, t, key, m->flags & VMF_ht, path);
}

void shmem_note_mapping(struct dump *d, const struct task *t, const struct proc_map *m)
{
	note_mapping_as(d, t, m, shmem_key(m->ino, m->flags & VMF_ht));
}

void shmem_note_segment(struct dump *d, const struct task *t, const struct proc_map *m, uint64_t key)
{
	note_mapping_as(d, t, m, key);
}

uint64_t shmem_object_ino(const struct shmem_object *o)
{
	return shmem_key((uint32_t)o->ino, o->hugetlb);
}

/* By what is no segment, or by a segment of another namespace. */
static bool is_number_taken(struct dump *d, const struct shmem_object *o)
{
	if (shmem_is_noted(d, (uint32_t)o->ino))
		return true;
	for (const struct shmem_object *other = shmem_objects(d); other != o; other = other->hh.next)
		if ((uint32_t)other->ino == (uint32_t)o->ino)
			return true;
	return false;
}

uint32_t shmem_object_id(struct dump *d, const struct shmem_object *o)
{
	uint32_t n = 0;

	if (!(o->ino & SHMEM_SEGMENT) || !is_number_taken(d, o))
		return (uint32_t)o->ino;
	/* Inode numbers are given from below; those of segments are numbers of segments, which are never negative. */
	for (const struct shmem_object *other = shmem_objects(d); other != o; other = other->hh.next)
		n += (other->ino & SHMEM_SEGMENT) != 0;
	while (shmem_is_noted(d, UINT32_MAX - n))
		n += (uint32_t)HASH_COUNT(shmem_objects(d));
	return UINT32_MAX - n;
}

/* A name that was given by prctl() is shown instead of the file's. */
static bool shmem_match(struct dump *d, const struct proc_map *m)
{
	if (!m->shared)
		return false;
	if (!strcmp(m->name, "/anon_hugepage (deleted)"))
		return hugetlb_is_anonymous(d, m);
	return (!strcmp(m->name, "/dev/zero (deleted)") || !strncmp(m->name, "[anon_shmem:", 12)) && shmem_holds(d, m);
}

/* Mappings may show a part of the object, or reach beyond its end. */
static void take_object_size(struct dump *d, uint64_t key, VmaEntry *v)
{
	struct shmem_dump_state *s = dump_state(d, &shmem_kind);
	struct shmem_object *o;
	struct stat st;

	HASH_FIND(hh, s->objects, &key, sizeof(key), o);
	if (o && !o->size && !stat(o->path, &st))
		o->size = (uint64_t)st.st_size;
	v->object_size = o ? o->size : 0;
	v->has_object_size = v->object_size;
}

static int shmem_dump(struct dump *d, struct task *t, const struct proc_map *m, struct vma *v)
{
	v->entry->status |= VMA_ANON_SHARED;
	v->entry->flags |= MAP_ANONYMOUS;
	v->entry->shmid = shmem_key(m->ino, m->flags & VMF_ht);
	shmem_note_mapping(d, t, m);
	take_object_size(d, v->entry->shmid, v->entry);
	return 0;
}

/* ---- restore ---- */

struct shmem {
	uint64_t id;
	uint64_t size; /* what it had; where the images do not tell, what its mappings need */
	bool size_known;
	bool noreserve;  /* no memory is set aside for it */
	uint32_t huge;   /* HUGETLB_MAP_FLAGS, or 0 */
	size_t mappings; /* that are still to be made */
	struct pagemap *pages;
	void *map;
	int memfd;
	UT_hash_handle hh;
};

struct shmem_restore_state {
	struct shmem *by_id;
	bool no_map_files; /* they cannot be opened here: objects are memfds */
};

static struct shmem *find_shmem(struct restore *r, uint64_t id)
{
	struct shmem_restore_state *all = restore_state(r, &shmem_kind);
	struct shmem *s;

	HASH_FIND(hh, all->by_id, &id, sizeof(id), s);
	return s;
}

/* The first mapping of an object reads its pagemap. */
static int shmem_check(struct restore *r, const struct task *t, const VmaEntry *v)
{
	struct shmem_restore_state *all = restore_state(r, &shmem_kind);
	struct shmem *s = find_shmem(r, v->shmid);
	int err = vma_check_type(t, v);

	if (err)
		return err;
	if (v->shmid > UINT32_MAX)
		return vma_damaged(t, v, "is of shared memory with an impossible number");
	if (!s) {
		s = arena_new_of(r->arena, struct shmem);
		s->id = v->shmid;
		s->memfd = -1;
		HASH_ADD_IN(r->arena, hh, all->by_id, id, sizeof(s->id), s);
		err = pages_read_object(r, s->id, &s->pages);
	}
	if (v->has_object_size && (!v->object_size || v->object_size % PAGE_SIZE || v->object_size > INT64_MAX))
		return vma_damaged(t, v, "is of shared memory of an impossible size");
	if (v->has_object_size && !s->size_known) {
		s->size = v->object_size;
		s->size_known = true;
	}
	if (!s->size_known)
		s->size = MAX(s->size, v->pgoff + v->end - v->start);
	s->noreserve |= v->flags & MAP_NORESERVE;
	if (s->mappings && s->huge != hugetlb_map_flags(v))
		return vma_damaged(t, v, "is of shared memory with other pages than elsewhere");
	s->huge = hugetlb_map_flags(v);
	s->mappings++;
	return err;
}

/* Opens the object behind a mapping of ours, which takes CAP_CHECKPOINT_RESTORE in the initial user namespace. */
static int open_by_map_files(const struct shmem *s)
{
	uintptr_t at = (uintptr_t)s->map;
	char path[80];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/map_files/%" PRIxPTR "-%" PRIxPTR, at, at + s->size);
	fd = open(path, O_RDWR | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int map_object(struct shmem *s, int flags)
{
	s->map = mmap(NULL, s->size, PROT_READ | PROT_WRITE, MAP_SHARED | flags, s->memfd, 0);
	if (s->map != MAP_FAILED)
		return 0;
	s->map = NULL;
	return log_errno(-errno, "shared memory %" PRIu64 ": mmap of %" PRIu64 " bytes", s->id, s->size);
}

/* 1: such an object cannot be opened here. */
static int make_anonymous(struct shmem *s)
{
	int err = map_object(s, MAP_ANONYMOUS | (int)s->huge | (s->noreserve ? MAP_NORESERVE : 0));
	_cleanup_close_ int fd = err ? -1 : open_by_map_files(s);

	if (err || fd >= 0)
		return err;
	if (fd != -EPERM && fd != -EACCES && fd != -ENOENT)
		return log_errno(fd, "shared memory %" PRIu64 ": open in /proc/self/map_files", s->id);
	munmap(s->map, s->size);
	s->map = NULL;
	return 1;
}

static int make_memfd(struct shmem *s)
{
	unsigned huge = s->huge ? MFD_HUGETLB | (s->huge & HUGETLB_SIZE_BITS) : 0;

	s->memfd = memfd_create("criu-shared", MFD_CLOEXEC | huge);
	if (s->memfd < 0 || ftruncate(s->memfd, (off_t)s->size))
		return log_errno(-errno, "shared memory %" PRIu64 ": memfd_create and ftruncate to %" PRIu64 " bytes",
		                 s->id, s->size);
	return map_object(s, 0);
}

static int make_object(struct restore *r, struct shmem *s)
{
	struct shmem_restore_state *all = restore_state(r, &shmem_kind);
	int err = all->no_map_files ? 1 : make_anonymous(s);

	if (err > 0) {
		if (!all->no_map_files)
			log_warn("shared memory is made of memfds, its name in /proc/PID/maps will differ: "
			         "opening /proc/self/map_files takes CAP_CHECKPOINT_RESTORE");
		all->no_map_files = true;
		err = make_memfd(s);
	}
	return err ?: pages_fill_object(r, s->pages, s->map, s->size);
}

static int shmem_open(struct restore *r, const VmaEntry *v, bool *own)
{
	struct shmem *s = find_shmem(r, v->shmid);
	int fd, err = 0;

	*own = true;
	if (!s)
		return log_errno(-ENOENT, "shared memory %" PRIu64 " was not checked", v->shmid);
	if (!s->map)
		err = make_object(r, s);
	if (err)
		return err;
	fd = s->memfd >= 0 ? fcntl(s->memfd, F_DUPFD_CLOEXEC, 0) : open_by_map_files(s);
	if (fd < 0)
		return log_errno(s->memfd >= 0 ? -errno : fd, "shared memory %" PRIu64 ": %s", s->id,
		                 s->memfd >= 0 ? "F_DUPFD_CLOEXEC" : "open in /proc/self/map_files");
	return fd;
}

void shmem_need_huge(struct restore *r)
{
	const struct shmem_restore_state *all = restore_state(r, &shmem_kind);

	for (const struct shmem *s = all->by_id; s; s = s->hh.next) {
		uint64_t size = s->huge ? hugetlb_page_size(s->huge) : 0;

		if (size)
			hugetlb_need(r, size,
			             s->noreserve
			                 ? hugetlb_count_runs(s->pages->runs, s->pages->n_runs, 0, s->size, size)
			                 : s->size / size);
	}
}

/* With its last mapping, nothing of the object stays here. */
static void shmem_mapped(struct restore *r, const VmaEntry *v)
{
	struct shmem *s = find_shmem(r, v->shmid);

	if (!s || --s->mappings)
		return;
	if (s->map)
		munmap(s->map, s->size);
	if (s->memfd >= 0)
		close(s->memfd);
	s->memfd = -1;
	s->map = NULL;
}

const struct vma_kind shmem_kind = {
	.name = "shared memory",
	.state = { .dump = sizeof(struct shmem_dump_state), .restore = sizeof(struct shmem_restore_state) },
	.status = VMA_ANON_SHARED,
	.match = shmem_match,
	.dump = shmem_dump,
	.check = shmem_check,
	.open = shmem_open,
	.mapped = shmem_mapped,
	.seal = vma_anon_set_name,
};
