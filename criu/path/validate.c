/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <zlib.h>

#include "path/buildid.h"
#include "files/foreign_files.h"
#include "path/foreign_content.h"
#include "lib/io.h"
#include "lib/log.h"
#include "files/long_path.h"
#include "lib/arena_hash.h"
#include "path/validate.h"
#include "proc/lockline.h"
#include "proc/proc_maps.h"
#include "tree/subsys.h"

#define CHECKSUM_BUFFER  (1UL << 18)

/* checksum_config: CRC-32 (zlib's) of checksum_parameter bytes from the start, or of all where that is 0. */
#define CRC32_FROM_START 0

/* Of its first `size` bytes. */
static int checksum_file(int fd, uint64_t size, uint32_t *sum)
{
	_cleanup_free_ unsigned char *buf = malloc(CHECKSUM_BUFFER);
	uint64_t at = 0;

	if (!buf)
		return -ENOMEM;
	*sum = 0;
	while (at < size) {
		ssize_t n = io_pread_all(fd, buf, MIN(CHECKSUM_BUFFER, size - at), (off_t)at);

		if (n < 0)
			return (int)n;
		if (!n)
			return -EIO;
		*sum = (uint32_t)crc32_z(*sum, buf, (size_t)n);
		at += (uint64_t)n;
	}
	return 0;
}

/* With O_NOATIME where criu may: access times should not change. */
static int open_to_read(const char *path)
{
	int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, fd = long_path_open(path, flags | O_NOATIME);

	return fd == -EPERM ? long_path_open(path, flags) : fd;
}

/* ---- dump ---- */

#define NEAR 256 /* mappings */

extern const struct subsys validate_subsys;

struct leases {
	bool known, any;
};

/*
 * Hardly anything on a machine is leased: then no more is asked. (Already the first time costs more than all else of a
 * small dump: for /proc/locks the kernel waits for an RCU grace period, 10 to 25 ms.)
 */
static bool is_leased(struct dump *d, const struct fd_info *info)
{
	struct leases *l = dump_state(d, &validate_subsys);

	if (!l->known) {
		l->known = true;
		l->any = lockline_is_leased(NULL);
	}
	return l->any && lockline_is_leased(&info->st);
}

static bool is_executable(const struct fd_info *info)
{
	const char *slash = info->path ? strrchr(info->path, '/') : NULL;

	return slash && !strcmp(slash, "/exe");
}

/* What a file in memory (also one below an overlay) has not yet, a touch gives room, or has a userfaultfd told of. */
static bool grows_when_read(const struct fd_info *info)
{
	struct statfs fs;

	if ((uint64_t)info->st.st_blocks * 512 >= (uint64_t)info->st.st_size)
		return false;
	return fstatfs(info->fd, &fs) || fs.f_type == TMPFS_MAGIC || fs.f_type == HUGETLBFS_MAGIC ||
	       fs.f_type == RAMFS_MAGIC || fs.f_type == OVERLAYFS_SUPER_MAGIC;
}

static int by_start(const void *key, const void *element)
{
	const uint64_t *start = key;
	const struct proc_map *m = element;

	return *start < m->start ? -1 : *start > m->start;
}

/* NULL: it is no mapping. */
static const struct proc_map *mapping_of(const struct fd_info *info)
{
	const struct task_maps *maps = &info->task->dump->maps;
	uint64_t start;

	if (!info->path || sscanf(info->path, "/proc/%*d/map_files/%" SCNx64 "-", &start) != 1)
		return NULL;
	return bsearch(&start, maps->v, maps->n, sizeof(*maps->v), by_start);
}

/* Numbers of files are not unique on an overlay. */
static bool is_of_same_file(const struct proc_map *a, const struct proc_map *b)
{
	return a->ino == b->ino && a->major == b->major && a->minor == b->minor && !strcmp(a->name, b->name);
}

/* Of the same file, and from its start; it lies near. NULL: there is none. */
static const struct proc_map *mapping_of_start(const struct task_maps *maps, const struct proc_map *m)
{
	const struct proc_map *end = maps->v + maps->n, *at = m - maps->v > NEAR ? m - NEAR : maps->v;

	if (!m->pgoff)
		return m;
	for (end = end - m > NEAR ? m + NEAR : end; at < end; at++)
		if (!at->pgoff && is_of_same_file(at, m))
			return at;
	return NULL;
}

/* Its memory is the file's, and is there without anybody's help. */
static bool is_plain_mapping(const struct fd_info *info, const struct proc_map *m)
{
	const uint32_t written = VMF_ac | VMF_nr, watched = VMF_um | VMF_uw | VMF_ui;

	if (m->flags & watched || grows_when_read(info))
		return false;
	/* Pages of its own: it has some, or was writable once. */
	return m->shared || (!m->anonymous && !(m->flags & written));
}

/*
 * Of a mapping the memory is read, where that can be: its file need not be opened then. A file whose start is not
 * mapped is no program or library, which is loaded with its header, and has no build id. -EFAULT: it has to be opened.
 */
static int buildid_of_mapping(const struct fd_info *info, uint32_t words[BUILDID_WORDS])
{
	const struct proc_map *m = mapping_of(info), *first = m ? mapping_of_start(&info->task->dump->maps, m) : NULL;
	uint64_t size = (uint64_t)info->st.st_size; /* behind it memory has zeros, or anything */

	if (!m || (first && !is_plain_mapping(info, first)))
		return -EFAULT;
	if (!first || size < BUILDID_LEAST)
		return 0;
	return buildid_in_memory(info->task->pid, first->start, MIN(first->end, first->start + size), words);
}

/*
 * A descriptor that can be read, or for O_PATH (executables, mappings) a new one. Files that are only written are not
 * opened for it, nor those with a lease, which opening would break. (An executable has none: for a write lease no other
 * open file may be of the file, and the kernel has one as long as the process is there.)
 */
static int readable_fd(struct dump *d, const struct fd_info *info, int *opened)
{
	char path[32];

	if (info->number >= 0 && !(info->flags & O_PATH))
		return (info->flags & O_ACCMODE) == O_WRONLY || (info->flags & O_DIRECT) ? -1 : info->fd;
	if (!is_executable(info) && is_leased(d, info))
		return -EWOULDBLOCK;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", info->fd);
	*opened = open_to_read(path);
	return *opened;
}

/* Whether the dump reads it at all: see readable_fd(). */
static bool may_be_read(const struct fd_info *info)
{
	bool description = info->number >= 0 && !(info->flags & O_PATH);

	return !description || ((info->flags & O_ACCMODE) != O_WRONLY && !(info->flags & O_DIRECT));
}

static void note_build_id(struct dump *d, RegFileEntry *m, const uint32_t *words, size_t n)
{
	m->n_build_id = n;
	if (n)
		m->build_id = arena_memdup(d->arena, words, n * sizeof(*words));
}

/* Of a foreign file system: the task's helper reads. */
static int validate_foreign(struct dump *d, const struct fd_info *info, int how, RegFileEntry *m)
{
	uint32_t words[BUILDID_WORDS];
	struct foreign_access a = foreign_files_access(d, info, info->link);
	int n = may_be_read(info) ? foreign_content_buildid(&a, words) : -EACCES, err;

	if (n < 0)
		return n == -ETIMEDOUT ? foreign_files_refuse(d, info) : 0;
	note_build_id(d, m, words, (size_t)n);
	if (how != VALIDATE_CHECKSUM)
		return 0;
	err = foreign_content_checksum(&a, m->size, &m->checksum);
	if (err)
		return err == -ETIMEDOUT ? foreign_files_refuse(d, info)
		       : err == -EACCES  ? 0
		                         : log_errno(err, "%s: %s: pread for its checksum", fd_name(info), info->link);
	m->has_checksum = m->has_checksum_config = true;
	m->checksum_config = CRC32_FROM_START;
	return 0;
}

int validate_dump(struct dump *d, const struct fd_info *info, RegFileEntry *m)
{
	int how = d->opts->file_validation ?: VALIDATE_BUILD_ID, fd, err, n;
	_cleanup_close_ int opened = -1;
	uint32_t words[BUILDID_WORDS];

	m->has_size = true;
	m->size = (uint64_t)info->st.st_size;
	/* Not of a file of the kernel: what is read from /proc/kmsg is consumed. */
	if (!m->size || how == VALIDATE_SIZE)
		return 0;
	if (info->foreign)
		return validate_foreign(d, info, how, m);
	n = how == VALIDATE_CHECKSUM ? -EFAULT : buildid_of_mapping(info, words);
	if (n >= 0) {
		note_build_id(d, m, words, (size_t)n);
		return 0;
	}
	fd = readable_fd(d, info, &opened);
	if (fd < 0)
		return 0;
	note_build_id(d, m, words, m->size < BUILDID_LEAST ? 0 : buildid_of_elf(fd, words));
	if (how != VALIDATE_CHECKSUM)
		return 0;
	err = checksum_file(fd, m->size, &m->checksum);
	if (err)
		return log_errno(err, "%s: %s: pread for its checksum", fd_name(info), info->link);
	m->has_checksum = m->has_checksum_config = true;
	m->checksum_config = CRC32_FROM_START;
	return 0;
}

/* ---- restore ---- */

/* A file that the tree had open for writing, under the path by which it is opened. */
struct written {
	const char *name;
	UT_hash_handle hh;
};

struct written_files {
	bool read;
	struct written *by_name;
};

const struct subsys validate_subsys = {
	.name = "files as they were",
	.state = { .dump = sizeof(struct leases), .restore = sizeof(struct written_files) },
};

static int note_written(struct restore *r, const void *msg, void *arg)
{
	struct written_files *all = arg;
	const RegFileEntry *m = msg;
	struct written *w;

	if (m->flags & O_PATH || (m->flags & O_ACCMODE) == O_RDONLY)
		return 0;
	HASH_FIND(hh, all->by_name, m->name, strlen(m->name), w);
	if (w)
		return 0;
	w = arena_new_of(r->arena, struct written);
	w->name = m->name;
	HASH_ADD_KEYPTR_IN(r->arena, hh, all->by_name, w->name, strlen(w->name), w);
	return 0;
}

/* By this descriptor or another: a log that the tree itself writes may grow for its readers, too. */
static bool is_written(struct restore *r, const RegFileEntry *m)
{
	struct written_files *all = restore_state(r, &validate_subsys);
	struct written *w;

	if (!all->read) {
		all->read = true;
		files_all(r, kind_by_fd_type(FD_TYPES__REG), note_written, all);
	}
	HASH_FIND(hh, all->by_name, m->name, strlen(m->name), w);
	return w;
}

/* As tail(1) reads a log: all that was written had been read, and it waits for more. */
static bool is_followed(const RegFileEntry *m)
{
	return !(m->flags & O_PATH) && (m->flags & O_ACCMODE) == O_RDONLY && m->pos == m->size;
}

/* A log that is only appended to: cut off (copytruncate of logrotate) or longer, the next line fits. */
static bool is_appended(const RegFileEntry *m)
{
	return !(m->flags & O_PATH) && m->flags & O_APPEND && (m->flags & O_ACCMODE) == O_WRONLY;
}

/* A file that the tree itself wrote to after the dump, or in an earlier restore, is not another file. */
static int check_file_size(struct restore *r, const RegFileEntry *m, const struct stat *st, const char **why)
{
	if (!m->has_size || (uint64_t)st->st_size == m->size)
		return 0;
	if (is_appended(m)) {
		log_info("%s has %llu bytes, and had %llu when it was dumped: it is only appended to", m->name,
		         (unsigned long long)st->st_size, (unsigned long long)m->size);
		return 0;
	}
	if ((uint64_t)st->st_size > m->size && (is_written(r, m) || is_followed(m))) {
		log_warn("%s has grown from %llu to %llu bytes since the dump; it was %s", m->name,
		         (unsigned long long)m->size, (unsigned long long)st->st_size,
		         is_written(r, m) ? "open for writing" : "read up to its end");
		return 0;
	}
	*why = arena_printf(r->arena, "%s has %llu bytes, but had %llu when it was dumped", m->name,
	                    (unsigned long long)st->st_size, (unsigned long long)m->size);
	return -ESTALE;
}

static const char *hex_text(struct restore *r, const uint32_t *words, size_t n)
{
	char *text = arena_alloc(r->arena, n * 8 + 5);

	for (size_t i = 0; i < n * 4; i++)
		snprintf(text + 2 * i, 3, "%02x", words[i / 4] >> (i % 4 * 8) & 0xff);
	return n ? text : "none";
}

static int no_answer(struct restore *r, const RegFileEntry *m, const char **why)
{
	*why = arena_printf(r->arena, "%s: its file system did not answer in time", m->name);
	return -ETIMEDOUT;
}

/* a: of a file that a helper reads, or NULL. */
static int check_build_id(struct restore *r, const RegFileEntry *m, int fd, const struct foreign_access *a,
                          const char **why)
{
	uint32_t words[BUILDID_WORDS];
	int got = a ? foreign_content_buildid(a, words) : (int)buildid_of_elf(fd, words);
	size_t n = (size_t)MAX(got, 0);

	if (got < 0)
		return no_answer(r, m, why);
	if (n == m->n_build_id && !memcmp(words, m->build_id, n * sizeof(*words)))
		return 0;
	*why = arena_printf(r->arena, "%s is another build than when it was dumped: its build id is %s, and was %s",
	                    m->name, hex_text(r, words, n), hex_text(r, m->build_id, m->n_build_id));
	return -ESTALE;
}

/* Of the part that existed at the dump. */
static int check_sum(struct restore *r, const RegFileEntry *m, int fd, const struct foreign_access *a, const char **why)
{
	uint64_t size = m->has_checksum_parameter && m->checksum_parameter ? m->checksum_parameter : m->size;
	uint32_t now = 0;
	int err = a ? foreign_content_checksum(a, size, &now) : checksum_file(fd, size, &now);

	if (!err && now == m->checksum)
		return 0;
	if (err) {
		*why = arena_printf(r->arena, "%s cannot be read to see whether it has changed: %s", m->name,
		                    strerror(-err));
		return err;
	}
	if (is_written(r, m)) {
		log_warn("%s has changed since the dump (its checksum is %08x, and was %08x); it was open for writing",
		         m->name, now, m->checksum);
		return 0;
	}
	*why = arena_printf(r->arena, "%s has changed since the dump: its checksum is %08x, and was %08x", m->name, now,
	                    m->checksum);
	return -ESTALE;
}

static int check_content(struct restore *r, const RegFileEntry *m, const struct foreign_access *a, const char **why)
{
	int how = r->opts->file_validation ?: VALIDATE_CHECKSUM, err = 0;
	bool sum = how == VALIDATE_CHECKSUM && m->has_checksum && m->checksum_config == CRC32_FROM_START;
	_cleanup_close_ int fd = -1;

	if (how == VALIDATE_SIZE || (!m->n_build_id && !sum))
		return 0;
	fd = a ? -1 : open_to_read(m->name);
	if (!a && fd < 0) {
		err = fd;
		*why = arena_printf(r->arena, "%s cannot be read to see whether it has changed: %s", m->name,
		                    strerror(-err));
		return err;
	}
	if (m->n_build_id)
		err = check_build_id(r, m, fd, a, why);
	return err || !sum ? err : check_sum(r, m, fd, a, why);
}

int validate_check(struct restore *r, const RegFileEntry *m, const struct stat *st, const struct foreign_access *a,
                   const char **why)
{
	bool device = S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode); /* mesg(1) changes those of terminals */
	int err;

	if (m->has_mode && !device && !r->opts->skip_file_rwx_check && ((m->mode ^ st->st_mode) & 0777)) {
		*why = arena_printf(
		    r->arena,
		    "%s has mode 0%03o, but had 0%03o when it was dumped; --skip-file-rwx-check takes it as "
		    "it is",
		    m->name, st->st_mode & 0777, m->mode & 0777);
		return -ESTALE;
	}
	if (!S_ISREG(st->st_mode))
		return 0;
	err = check_file_size(r, m, st, why);
	return err ?: check_content(r, m, a, why);
}
