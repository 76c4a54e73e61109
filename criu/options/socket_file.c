/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "lib/log.h"
#include "options/work_dir.h"
#include "options/socket_file.h"

#define BACKLOG 128

/* Names that start from the work directory have a short form whatever that is called. */
static int make_address(const struct options *o, const struct socket_spec *spec, struct socket_file *f)
{
	const char *name = spec->name;
	int n;

	f->addr.sun_family = AF_UNIX;
	if (*name != '/') {
		f->dir = work_dir_open(o);
		if (f->dir < 0)
			return f->dir;
		n = snprintf(f->addr.sun_path, sizeof(f->addr.sun_path), "/proc/self/fd/%d/%s", f->dir, name);
	} else {
		n = snprintf(f->addr.sun_path, sizeof(f->addr.sun_path), "%s", name);
	}
	if ((size_t)n >= sizeof(f->addr.sun_path))
		return log_errno(-ENAMETOOLONG,
		                 "%s%s: a name of %d bytes; %zu is the most, or a name in the "
		                 "work directory",
		                 spec->what, name, n, sizeof(f->addr.sun_path) - 1);
	return 0;
}

/* A socket that is left of a service that was killed. */
static bool is_stale(const struct socket_spec *spec, const struct socket_file *f)
{
	_cleanup_close_ int fd = socket(AF_UNIX, spec->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	return fd >= 0 && !lstat(f->addr.sun_path, &st) && S_ISSOCK(st.st_mode) &&
	       connect(fd, (const struct sockaddr *)&f->addr, sizeof(f->addr)) && errno == ECONNREFUSED;
}

/* With its mode from the first instant: a name could be another file's by the time of a chmod(2). */
static int bind_open(const struct socket_spec *spec, const struct socket_file *f, int fd)
{
	mode_t mask = umask(0777 & ~spec->mode);
	int ret = bind(fd, (const struct sockaddr *)&f->addr, sizeof(f->addr));
	int err = ret ? -errno : 0;

	umask(mask);
	return err;
}

static int bind_address(const struct socket_spec *spec, struct socket_file *f, int fd)
{
	int err = bind_open(spec, f, fd);

	if (err == -EADDRINUSE && is_stale(spec, f) && !unlink(f->addr.sun_path))
		err = bind_open(spec, f, fd);
	if (!err && lstat(f->addr.sun_path, &f->file))
		err = -errno;
	return err;
}

/* Another process may have taken the name, where this one was thought to have ended. */
static bool is_ours(const struct socket_file *f)
{
	struct stat now;

	return f->ours && !lstat(f->addr.sun_path, &now) && now.st_dev == f->file.st_dev &&
	       now.st_ino == f->file.st_ino;
}

int socket_file_listen(const struct options *o, const struct socket_spec *spec, struct socket_file *f, int *listener)
{
	_cleanup_close_ int fd = -1;
	int err;

	*f = (struct socket_file) { .dir = -1 };
	err = make_address(o, spec, f);
	if (err)
		return err;
	fd = socket(AF_UNIX, spec->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return log_errno(-errno, "socket(AF_UNIX)");
	err = bind_address(spec, f, fd);
	if (err)
		return log_errno(err, "%s%s: bind%s", spec->what, spec->name,
		                 err == -EADDRINUSE ? " (another process listens there, or a file has this name)" : "");
	f->ours = true;
	if (listen(fd, BACKLOG))
		return log_errno(-errno, "%s%s: listen", spec->what, spec->name);
	*listener = move_fd(&fd);
	return 0;
}

void socket_file_remove(struct socket_file *f)
{
	if (is_ours(f) && unlink(f->addr.sun_path))
		log_warn("unlink of %s: %m", f->addr.sun_path);
	f->ours = false;
	if (f->dir >= 0)
		close(f->dir);
	f->dir = -1;
}
