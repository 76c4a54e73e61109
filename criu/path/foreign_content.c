/* SPDX-License-Identifier: GPL-2.0-only */
#include "path/foreign_content.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <zlib.h>

#include "files/foreign_files.h"
#include "image/image_dir.h"
#include "lib/io.h"

#define STEP   (1U << 20) /* bytes that are read in one call, which has to end in time */

/* ---- in the helper ---- */

#define OWN_FD "/proc/self/fd/"

struct own_fd_path {
	char path[32];
};

/* A path of a descriptor, not by a function that may allocate. */
static struct own_fd_path path_of_handle(int handle)
{
	struct own_fd_path p = { OWN_FD };
	size_t n = sizeof(OWN_FD);

	for (int rest = handle; rest >= 10; rest /= 10)
		n++;
	for (int rest = handle; p.path[n - 1] != '/'; rest /= 10)
		p.path[--n] = (char)('0' + rest % 10);
	return p;
}

/* A new description of a file of which there is an O_PATH. */
static int open_again(int handle)
{
	int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, fd;
	struct own_fd_path p = path_of_handle(handle);
	const char *path = p.path;

	fd = open(path, flags | O_NOATIME);
	if (fd < 0 && errno == EPERM)
		fd = open(path, flags);
	return fd < 0 ? -errno : fd;
}

static int read_buildid(struct foreign_job *job)
{
	int fd = open_again(job->fds[0]), n;

	if (fd < 0)
		return 0;
	n = (int)buildid_of_elf(fd, job->result);
	close(fd);
	return n;
}

struct content_part {
	uint64_t at, len;
	uint32_t sum;
};

/* Where fds[1] is one, it gets a copy, in which zeros are holes. */
static int read_part(struct foreign_job *job)
{
	unsigned char buf[1 << 16];
	const struct content_part *p = job->arg;
	int fd = open_again(job->fds[0]), err = fd < 0 ? fd : 0;
	uint64_t at = p->at, end = p->at + p->len;
	uint32_t sum = p->sum;

	while (!err && at < end) {
		ssize_t n = io_pread_all(fd, buf, MIN(sizeof(buf), end - at), (off_t)at);

		err = n < 0 ? (int)n : n == 0 ? -EIO : 0;
		if (err)
			break;
		sum = (uint32_t)crc32_z(sum, buf, (size_t)n);
		if (job->fds[1] >= 0 && (buf[0] || memcmp(buf, buf + 1, (size_t)n - 1)) &&
		    pwrite(job->fds[1], buf, (size_t)n, (off_t)at) != n)
			err = -EIO;
		at += (uint64_t)n;
	}
	if (fd >= 0)
		close(fd);
	*(uint32_t *)job->result = sum;
	return err;
}

struct name_wanted {
	dev_t dev;
	ino_t ino;
	char dir[];
};

struct entry64 {
	uint64_t ino;
	int64_t off;
	uint16_t len;
	uint8_t type;
	char name[];
};

static bool is_wanted(int dir, const char *name, const struct name_wanted *w)
{
	struct stat st;

	return strcmp(name, ".") && strcmp(name, "..") &&
	       !fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) && st.st_dev == w->dev &&
	       st.st_ino == w->ino;
}

static int find_name(struct foreign_job *job)
{
	_Alignas(8) char buf[1 << 15];
	const struct name_wanted *w = job->arg;
	int dir = open(w->dir, O_RDONLY | O_DIRECTORY | O_NONBLOCK | O_CLOEXEC), found = 0;
	long n;

	if (dir < 0)
		return -errno;
	while (!found && (n = syscall(SYS_getdents64, dir, buf, sizeof(buf))) > 0) {
		for (char *at = buf; !found && at < buf + n; at += ((struct entry64 *)(void *)at)->len) {
			const struct entry64 *e = (struct entry64 *)(void *)at;

			found = is_wanted(dir, e->name, w) && strlen(e->name) <= NAME_MAX;
			if (found)
				memcpy(job->result, e->name, strlen(e->name));
		}
	}
	close(dir);
	return found;
}

/* Extended attributes, one behind the other: a name with its zero, 4 bytes with the length of the value, the value. */
static int pack_xattr(const char *path, const char *name, char *to, size_t room)
{
	size_t name_len = strlen(name) + 1;
	uint32_t len;
	ssize_t n;

	if (room < name_len + sizeof(len))
		return -E2BIG;
	memcpy(to, name, name_len);
	to += name_len;
	room -= name_len + sizeof(len);
	n = room ? getxattr(path, name, to + sizeof(len), room) : -1;
	if (n < 0)
		return !room || errno == ERANGE ? -E2BIG : -errno;
	len = (uint32_t)n;
	memcpy(to, &len, sizeof(len));
	return (int)(name_len + sizeof(len) + len);
}

#define XATTRS_MAX (FOREIGN_DATA_MAX - 64)

static int read_xattrs(struct foreign_job *job)
{
	struct own_fd_path p = path_of_handle(job->fds[0]);
	char names[8192];
	ssize_t n = listxattr(p.path, names, sizeof(names));
	int used = 0;

	if (n < 0)
		return errno == ENOTSUP || errno == ENOSYS ? 0 : errno == ERANGE ? -E2BIG : -errno;
	for (const char *at = names; at < names + n; at += strlen(at) + 1) {
		int took = pack_xattr(p.path, at, (char *)job->result + used, XATTRS_MAX - (size_t)used);

		if (took < 0)
			return took;
		used += took;
	}
	return used;
}

/* ---- in criu ---- */

static void unpack_xattrs(struct arena *a, const char *from, size_t len, struct foreign_xattrs *all)
{
	for (const char *at = from, *end = from + len; at < end;) {
		GhostXattr *x = arena_msg(a, GhostXattr, ghost_xattr);
		uint32_t n;

		x->name = arena_strdup(a, at);
		at += strlen(at) + 1;
		memcpy(&n, at, sizeof(n));
		at += sizeof(n);
		x->value.len = n;
		x->value.data = arena_alloc(a, n + 1);
		memcpy(x->value.data, at, n);
		at += n;
		arena_push(a, &all->all, &all->n, x);
	}
}

int foreign_content_xattrs(struct dump *d, const struct fd_info *info, struct foreign_xattrs *all)
{
	struct foreign_access a = foreign_files_access(d, info, info->link);
	char *packed = arena_alloc(d->arena, XATTRS_MAX);
	struct foreign_call call = {
		.fn = read_xattrs, .result = packed, .result_len = XATTRS_MAX, .fds = { a.handle }, .n_fds = 1
	};
	int n = foreign_run(&a, &call);

	if (n > 0)
		unpack_xattrs(d->arena, packed, (size_t)n, all);
	return MIN(n, 0);
}

int foreign_content_buildid(const struct foreign_access *a, uint32_t words[BUILDID_WORDS])
{
	struct foreign_call call = { .fn = read_buildid,
		                     .result = words,
		                     .result_len = BUILDID_WORDS * sizeof(*words),
		                     .fds = { a->handle },
		                     .n_fds = 1 };

	return foreign_run(a, &call);
}

static int read_all_parts(const struct foreign_access *a, uint64_t size, int to, uint32_t *sum)
{
	struct content_part part = { 0 };
	struct foreign_call call = { .fn = read_part,
		                     .arg = &part,
		                     .arg_len = sizeof(part),
		                     .result = sum,
		                     .result_len = sizeof(*sum),
		                     .fds = { a->handle, to },
		                     .n_fds = to < 0 ? 1 : 2 };
	int err = 0;

	for (*sum = 0; !err && part.at < size; part.at += part.len) {
		part.len = MIN(size - part.at, STEP);
		part.sum = *sum;
		err = foreign_run(a, &call);
	}
	return err;
}

int foreign_content_checksum(const struct foreign_access *a, uint64_t size, uint32_t *sum)
{
	return read_all_parts(a, size, -1, sum);
}

int foreign_content_copy(struct dump *d, const struct fd_info *info)
{
	_cleanup_close_ int fd = openat(image_dir_fd(d->dir), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	uint64_t size = S_ISREG(info->st.st_mode) ? (uint64_t)info->st.st_size : 0;
	struct foreign_access a = foreign_files_access(d, info, info->link);
	uint32_t sum;
	int err;

	if (fd < 0) /* that one may be NFS */
		fd = memfd_create("criu-ghost", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, (off_t)size))
		return -errno;
	err = read_all_parts(&a, size, fd, &sum);
	return err ?: move_fd(&fd);
}

const char *foreign_content_name(struct dump *d, const struct fd_info *info, const char *dir)
{
	size_t size = sizeof(struct name_wanted) + strlen(dir) + 1;
	struct name_wanted *w = arena_alloc(d->arena, size);
	struct foreign_access a = foreign_files_access(d, info, dir);
	char name[NAME_MAX + 1] = "";
	struct foreign_call call = {
		.fn = find_name, .arg = w, .arg_len = size, .result = name, .result_len = sizeof(name)
	};

	w->dev = info->st.st_dev;
	w->ino = info->st.st_ino;
	memcpy(w->dir, dir, strlen(dir));
	if (foreign_run(&a, &call) <= 0)
		return NULL;
	name[NAME_MAX] = 0;
	return arena_printf(d->arena, "%s/%s", strcmp(dir, "/") ? dir : "", name);
}
