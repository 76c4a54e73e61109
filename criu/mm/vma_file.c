/* SPDX-License-Identifier: GPL-2.0-only */
/* Mappings of files, private and shared. Their files are in files.img; private ones may have pages of their own. */
#include "mm/vma_file.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "files/files.h"
#include "files/foreign_restore.h"
#include "lib/arena_hash.h"
#include "lib/log.h"
#include "mm/hugetlb.h"
#include "regfile.pb-c.h"

extern const struct vma_kind vma_file_kind;

/* ---- dump ---- */

/* A file that is mapped: opening it through map_files costs more than all else here, so each is opened once. */
struct mapped_file {
	char *key;
	uint32_t id;                /* in files.img; 0: none yet */
	const struct task *refused; /* the task for which it was refused last */
	UT_hash_handle hh;
};

struct mapped_files {
	struct mapped_file *by_key;
};

/* A file called like a kind that another row knows is of that kind only where the kernel made it. */
static bool vma_file_match(struct dump *d, const struct proc_map *m)
{
	return (m->ino || (*m->name && *m->name != '[')) && (m->shared || !hugetlb_is_anonymous(d, m));
}

static struct mapped_file *mapped_file_of(struct dump *d, const struct proc_map *m, uint32_t flags)
{
	struct mapped_files *files = dump_state(d, &vma_file_kind);
	size_t size = strlen(m->name) + 64, len;
	_cleanup_free_ char *key = malloc(size);
	struct mapped_file *f;

	if (!key)
		return NULL;
	snprintf(key, size, "%x:%x:%" PRIx64 ":%x:%s", m->major, m->minor, m->ino, flags, m->name);
	len = strlen(key);
	HASH_FIND(hh, files->by_key, key, len, f);
	if (!f) {
		f = arena_new_of(d->arena, struct mapped_file);
		f->key = arena_memdup(d->arena, key, len + 1);
		HASH_ADD_KEYPTR_IN(d->arena, hh, files->by_key, f->key, len, f);
	}
	return f;
}

/* Memory as that without a file: pages that are there are the task's own, or zeros. */
static bool is_dev_zero(const struct task *t, const struct proc_map *m)
{
	char path[80];
	struct stat st;

	if (strcmp(m->name, "/dev/zero"))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, t->pid, m->start, m->end);
	return !stat(path, &st) && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 5);
}

int vma_file_dump(struct dump *d, struct task *t, const struct proc_map *m, struct vma *v)
{
	uint32_t access = m->shared && (m->flags & VMF_mw) ? O_RDWR : O_RDONLY;
	struct mapped_file *f = mapped_file_of(d, m, access);
	unsigned refusals = log_refusals();
	char path[80], what[64];
	int err;

	if (!f)
		return log_errno(-ENOMEM, "%s: the name of a mapped file", task_name(t));
	v->pages = m->shared ? VMA_PAGES_NONE : is_dev_zero(t, m) ? VMA_PAGES_ANON : VMA_PAGES_COPIES;
	v->entry->status |= m->shared ? VMA_FILE_SHARED : VMA_FILE_PRIVATE;
	v->entry->has_fdflags = true;
	v->entry->fdflags = access;
	if (!f->id && f->refused != t) {
		snprintf(path, sizeof(path), "/proc/%d/map_files/%" PRIx64 "-%" PRIx64, t->pid, m->start, m->end);
		snprintf(what, sizeof(what), "mapping %" PRIx64 "-%" PRIx64, m->start, m->end);
		err = files_dump_path(d, t, path, access, what, &f->id);
		if (err && log_refusals() == refusals)
			return err;
		f->refused = err ? t : NULL;
	}
	v->entry->shmid = f->id;
	return 0;
}

/* ---- restore ---- */

int vma_file_check(struct restore *r, const struct task *t, const VmaEntry *v)
{
	const struct fd_kind *kind = NULL;
	int err = vma_check_type(t, v);

	if (err)
		return err;
	if (v->shmid > UINT32_MAX || !files_message(r, (uint32_t)v->shmid, &kind))
		return vma_damaged(t, v, "is of a file that files.img does not have");
	if (!kind)
		return vma_refuse(t, v, "is of a file of a kind that is not supported; unmap it before the dump");
	return 0;
}

/* A file that was first met as an executable is open for reading only: a shared mapping may need more. */
static int reopen_for_writing(int fd)
{
	char path[40];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, O_RDWR | O_CLOEXEC | O_NOCTTY);
	return again < 0 ? log_errno(-errno, "open %s for writing, to map it", path) : again;
}

int vma_file_open(struct restore *r, const VmaEntry *v, bool *own)
{
	int fd = files_open(r, (uint32_t)v->shmid);

	if (fd >= 0 && foreign_restore_is(r, (uint32_t)v->shmid)) {
		const RegFileEntry *m = files_message(r, (uint32_t)v->shmid, NULL);

		*own = false;
		if (vma_file_writes(v) && (m->flags & O_ACCMODE) != O_RDWR)
			return log_errno(-EOPNOTSUPP,
			                 "%s: is to be mapped shared for writing, and was opened for reading, on "
			                 "a file system that may not answer",
			                 m->name);
		return fd;
	}
	*own = fd >= 0 && vma_file_writes(v) && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR;
	return *own ? reopen_for_writing(fd) : fd;
}

const struct vma_kind vma_file_kind = {
	.name = "file",
	.state = { .dump = sizeof(struct mapped_files) },
	.status = VMA_FILE_PRIVATE | VMA_FILE_SHARED,
	.match = vma_file_match,
	.dump = vma_file_dump,
	.check = vma_file_check,
	.open = vma_file_open,
};
