/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <string.h>

#include "files/long_path.h"
#include "lib/log.h"
#include "path/file_type.h"
#include "path/foreign_named.h"

struct named_request {
	int flags;
	uint64_t pos;
	uint32_t type; /* S_IF*, 0: any */
	char path[];
};

struct named_answer {
	struct stat st;
};

/* ---- in the helper ---- */

static int look_at_name(struct foreign_job *job)
{
	const struct named_request *rq = job->arg;
	struct named_answer *an = job->result;
	int flags = rq->type == S_IFLNK ? O_NOFOLLOW : 0, fd = long_path_open(rq->path, O_PATH | O_CLOEXEC | flags);

	if (fd < 0)
		return fd;
	if (fstat(fd, &an->st)) {
		int err = -errno;

		close(fd);
		return err;
	}
	job->out = fd;
	return 0;
}

/* Looked at first: opening a device or a FIFO by mistake would have effects of its own. */
static int open_name(struct foreign_job *job)
{
	const struct named_request *rq = job->arg;
	struct named_answer *an = job->result;
	int fd;

	if (rq->type && !long_path_stat(rq->path, rq->type == S_IFLNK ? AT_SYMLINK_NOFOLLOW : 0, &an->st) &&
	    (an->st.st_mode & S_IFMT) != rq->type)
		return -ESTALE;
	fd = long_path_open(rq->path, rq->flags);
	if (fd < 0)
		return fd;
	if (rq->type && (fstat(fd, &an->st) || (an->st.st_mode & S_IFMT) != rq->type)) {
		close(fd);
		return -ESTALE;
	}
	if (rq->pos && lseek(fd, (off_t)rq->pos, SEEK_SET) < 0) {
		int err = -errno;

		close(fd);
		return err;
	}
	job->out = fd;
	return 0;
}

/* ---- in criu ---- */

static int ask_named(const RegFileEntry *m, const struct foreign_access *a, foreign_fn fn, uint32_t flags, int *fd,
                     struct foreign_kept *keep, struct stat *st)
{
	size_t size = sizeof(struct named_request) + strlen(m->name) + 1;
	_cleanup_free_ struct named_request *rq = calloc(1, size);
	struct named_answer an = { 0 };
	struct foreign_call call = { .fn = fn,
		                     .arg = rq,
		                     .arg_len = size,
		                     .result = &an,
		                     .result_len = sizeof(an),
		                     .out = fd,
		                     .what = m->name };
	int err;

	call.keep = keep;
	if (fd)
		*fd = -1;
	if (!rq)
		return -ENOMEM;
	rq->flags = (int)flags;
	rq->pos = flags & O_PATH ? 0 : m->pos;
	rq->type = m->has_mode ? m->mode & S_IFMT : 0;
	memcpy(rq->path, m->name, strlen(m->name));
	err = foreign_run(a, &call);
	*st = an.st;
	return err ?: (keep ? keep->number : *fd) < 0 ? -EBADF : 0;
}

int foreign_named_look(struct restore *r, const RegFileEntry *m, struct foreign_access *a, struct stat *st,
                       const char **why)
{
	int err = ask_named(m, a, look_at_name, 0, &a->handle, NULL, st);

	if (err == -ETIMEDOUT)
		*why = arena_printf(
		    r->arena,
		    "%s: its file system (%s, mounted at %s) did not answer within %u s: see to its server "
		    "or the network",
		    m->name, a->mount->type, a->mount->path, a->f->timeout);
	else if (err)
		*why = err == -ENOENT ? arena_printf(r->arena, "%s does not exist", m->name)
		                      : arena_printf(r->arena, "%s cannot be reached by user %u: %s", m->name,
		                                     a->who ? a->who->uid[1] : 0, strerror(-err));
	return err;
}

int foreign_named_open(struct restore *r, const RegFileEntry *m, const struct foreign_access *a, uint32_t flags)
{
	struct stat st;
	bool keeps = foreign_restore_may_keep(r);
	struct foreign_kept kept = { .f = a->f, .mount = a->mount, .number = -1 };
	int fd = -1, err = ask_named(m, a, open_name, flags, keeps ? NULL : &fd, keeps ? &kept : NULL, &st);

	if (err == -ESTALE)
		return log_errno(err, "%s is %s, but was %s", m->name, file_type_name(st.st_mode),
		                 file_type_name(m->mode));
	if (err == -ETIMEDOUT)
		return log_errno(err, "%s: its file system (%s, mounted at %s) did not answer within %u s", m->name,
		                 a->mount->type, a->mount->path, a->f->timeout);
	if (err)
		return log_errno(err, "open of %s as user %u (flags 0%o)", m->name, a->who ? a->who->uid[1] : 0, flags);
	return keeps ? foreign_restore_keep(r, &kept) : fd;
}
