/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "lib/log.h"
#include "options/work_dir.h"
#include "rpc/rpc_socket_file.h"

#define BACKLOG 128

static const char *address_of(const struct options *o)
{
	return o->address ?: "criu_service.socket";
}

/* Names that start from the work directory have a short form whatever that is called. */
static int make_address(const struct options *o, struct socket_file *f)
{
	const char *name = address_of(o);
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
		                 "--address %s: a name of %d bytes; %zu is the most, or a name in the "
		                 "work directory",
		                 name, n, sizeof(f->addr.sun_path) - 1);
	return 0;
}

/* A socket that is left of a service that was killed. */
static bool is_stale(const struct socket_file *f)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	return fd >= 0 && !lstat(f->addr.sun_path, &st) && S_ISSOCK(st.st_mode) &&
	       connect(fd, (const struct sockaddr *)&f->addr, sizeof(f->addr)) && errno == ECONNREFUSED;
}

/* With the mode 0666 from the first instant: a name could be another file's by the time of a chmod(2). */
static int bind_open(const struct socket_file *f, int fd)
{
	mode_t mask = umask(0111);
	int ret = bind(fd, (const struct sockaddr *)&f->addr, sizeof(f->addr));
	int err = ret ? -errno : 0;

	umask(mask);
	return err;
}

static int bind_address(struct socket_file *f, int fd)
{
	int err = bind_open(f, fd);

	if (err == -EADDRINUSE && is_stale(f) && !unlink(f->addr.sun_path))
		err = bind_open(f, fd);
	if (!err && lstat(f->addr.sun_path, &f->file))
		err = -errno;
	return err;
}

/* Another service may have taken the name, where this one was thought to have ended. */
static bool is_ours(const struct socket_file *f)
{
	struct stat now;

	return f->ours && !lstat(f->addr.sun_path, &now) && now.st_dev == f->file.st_dev &&
	       now.st_ino == f->file.st_ino;
}

int rpc_socket_file_listen(const struct options *o, struct socket_file *f, int *listener)
{
	_cleanup_close_ int fd = -1;
	int err;

	*f = (struct socket_file) { .dir = -1 };
	err = make_address(o, f);
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return log_errno(-errno, "socket(AF_UNIX, SOCK_SEQPACKET)");
	err = bind_address(f, fd);
	if (err)
		return log_errno(err, "--address %s: bind%s", address_of(o),
		                 err == -EADDRINUSE ? " (another service listens there, or a file has this name)" : "");
	f->ours = true;
	if (listen(fd, BACKLOG))
		return log_errno(-errno, "--address %s: listen", address_of(o));
	*listener = move_fd(&fd);
	return 0;
}

void rpc_socket_file_remove(struct socket_file *f)
{
	if (is_ours(f) && unlink(f->addr.sun_path))
		log_warn("unlink of the socket of the service: %m");
	f->ours = false;
	if (f->dir >= 0)
		close(f->dir);
	f->dir = -1;
}
