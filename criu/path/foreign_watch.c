/* SPDX-License-Identifier: GPL-2.0-only */
#include "path/foreign_watch.h"

#include <fcntl.h>
#include <string.h>

struct watch_request {
	uint32_t type, bytes; /* 0: no handle */
	uint8_t handle[MAX_HANDLE_SZ];
	char mount[PATH_MAX], path[PATH_MAX];
};

/* ---- in the helper ---- */

static int open_by_handle(const struct watch_request *rq)
{
	union {
		struct file_handle fh;
		uint8_t bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u;
	int dir = open(rq->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK), fd, err;

	if (dir < 0)
		return -errno;
	u.fh.handle_bytes = rq->bytes;
	u.fh.handle_type = (int)rq->type;
	memcpy(u.bytes + offsetof(struct file_handle, f_handle), rq->handle, rq->bytes);
	fd = open_by_handle_at(dir, &u.fh, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	err = fd < 0 ? -errno : fd;
	close(dir);
	return err;
}

static void find_path(int fd, struct foreign_watched *w)
{
	char link[32] = "/proc/self/fd/";
	size_t n = strlen(link) + 1;
	struct stat now;
	ssize_t len;

	for (int rest = fd; rest >= 10; rest /= 10)
		n++;
	for (int rest = fd; link[n - 1] != '/'; rest /= 10)
		link[--n] = (char)('0' + rest % 10);
	len = readlink(link, w->path, sizeof(w->path) - 1);
	w->path[len > 0 ? len : 0] = 0;
	if (w->path[0] != '/' || fstatat(AT_FDCWD, w->path, &now, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) ||
	    now.st_dev != w->st.st_dev || now.st_ino != w->st.st_ino)
		w->path[0] = 0;
}

static int open_watched(struct foreign_job *job)
{
	const struct watch_request *rq = job->arg;
	struct foreign_watched *w = job->result;
	int fd = rq->bytes ? open_by_handle(rq) : -EOPNOTSUPP, err = 0;

	if (fd < 0 && rq->path[0]) {
		err = fd;
		fd = open(rq->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		fd = fd >= 0 ? fd : errno == ENOENT ? -ENOENT : err;
	}
	if (fd < 0)
		return fd;
	if (fstat(fd, &w->st)) {
		err = -errno;
		close(fd);
		return err;
	}
	find_path(fd, w);
	job->out = fd;
	return 0;
}

/* ---- in criu ---- */

int foreign_watch_open(struct foreign *f, struct foreign_mount *m, const FhEntry *fh, const char *path,
                       struct foreign_watched *w)
{
	struct watch_request rq = { .type = fh->type };
	int fd = -1, err;
	struct foreign_call call = { .fn = open_watched,
		                     .arg = &rq,
		                     .arg_len = sizeof(rq),
		                     .result = w,
		                     .result_len = sizeof(*w),
		                     .out = &fd,
		                     .what = path ?: "a watched file" };

	if (fh->bytes <= MAX_HANDLE_SZ && fh->bytes <= fh->n_handle * sizeof(*fh->handle)) {
		rq.bytes = fh->bytes;
		memcpy(rq.handle, fh->handle, fh->bytes);
	}
	if (strlen(m->path) >= sizeof(rq.mount) || (path && strlen(path) >= sizeof(rq.path)))
		return -ENAMETOOLONG;
	memcpy(rq.mount, m->path, strlen(m->path));
	if (path)
		memcpy(rq.path, path, strlen(path));
	err = foreign_ask(f, m, NULL, &call);
	return err ?: fd;
}
