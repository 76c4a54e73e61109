/* SPDX-License-Identifier: GPL-2.0-only */
/* A restore's end of the connection to the lazy-pages daemon. */
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "lazy/lazy.h"
#include "lib/log.h"
#include "lib/rights.h"
#include "options/work_dir.h"

static int set_limits(const struct options *o, int sock)
{
	const struct timeval limit = { .tv_sec = o->timeout };

	if (setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) ||
	    setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)))
		return log_errno(-errno, "setsockopt(SO_SNDTIMEO, SO_RCVTIMEO)");
	return 0;
}

static int connect_in(const struct options *o, int dir, int sock)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/" LAZY_SOCKET, dir);
	if (!connect(sock, (const struct sockaddr *)&addr, sizeof(addr)))
		return 0;
	if (errno == ENOENT || errno == ECONNREFUSED)
		return log_errno(-errno,
		                 "connect for --lazy-pages: no lazy-pages daemon listens on %s/" LAZY_SOCKET
		                 ": start criu lazy-pages with the same -D and -W first",
		                 o->work_dir);
	return log_errno(-errno, "connect to %s/" LAZY_SOCKET, o->work_dir);
}

int lazy_connect(const struct options *o, struct lazy_daemon *daemon)
{
	_cleanup_close_ int dir = work_dir_open(o), sock = -1;
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);
	int err;

	if (dir < 0)
		return dir;
	sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (sock < 0)
		return log_errno(-errno, "socket(AF_UNIX, SOCK_STREAM)");
	err = set_limits(o, sock) ?: connect_in(o, dir, sock);
	if (err)
		return err;
	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len))
		return log_errno(-errno, "getsockopt(SO_PEERCRED) of the lazy-pages daemon");
	daemon->pid = peer.pid;
	daemon->sock = move_fd(&sock);
	return 0;
}

static int send_failed(int err)
{
	return log_errno(err, "sending to the lazy-pages daemon%s",
	                 err == -EPIPE || err == -ECONNRESET ? ": it has closed the connection; its log says why" : "");
}

int lazy_send_task(const struct lazy_daemon *daemon, vpid_t vpid, int uffd)
{
	int32_t number = uffd < 0 ? -vpid.v : vpid.v;
	int err = rights_send(daemon->sock, &number, sizeof(number), NULL, 0);

	if (!err && uffd >= 0)
		err = rights_send(daemon->sock, "", 1, &uffd, 1);
	return err ? send_failed(err) : 0;
}

/* CRIU's daemon says nothing, and closes the connection when it has heard the end. */
static int closed_unanswered(const struct lazy_daemon *daemon)
{
	if (kill(daemon->pid, 0) && errno == ESRCH)
		return log_errno(-ECONNRESET, "the lazy-pages daemon, pid %d, has ended before it had all tasks",
		                 daemon->pid);
	log_warn("the lazy-pages daemon, pid %d, has not said that it keeps the tasks' memory if it is killed: is it "
	         "CRIU's? Missing memory would read as zeros then",
	         daemon->pid);
	return 0;
}

void lazy_tell_committed(const struct lazy_daemon *daemon)
{
	const uint32_t word = LAZY_RUNS;

	if (send(daemon->sock, &word, sizeof(word), MSG_NOSIGNAL | MSG_DONTWAIT) != sizeof(word))
		log_debug("the lazy-pages daemon does not wait for the end of the restore: %m");
}

int lazy_finish(const struct lazy_daemon *daemon)
{
	uint32_t word = LAZY_FINISHED;
	int err = rights_send(daemon->sock, &word, sizeof(word), NULL, 0);
	ssize_t n;

	if (err)
		return send_failed(err);
	do
		n = recv(daemon->sock, &word, sizeof(word), MSG_WAITALL);
	while (n < 0 && errno == EINTR);
	if (n == sizeof(word) && word == LAZY_HELD)
		return 0;
	if (!n)
		return closed_unanswered(daemon);
	if (n == sizeof(word) && word == LAZY_LOST)
		return log_errno(-ECONNRESET,
		                 "the lazy-pages daemon, pid %d, was killed: memory that is on another host cannot be "
		                 "fetched any more",
		                 daemon->pid);
	err = n < 0 ? -errno : -EPROTO;
	return log_errno(err, "the answer of the lazy-pages daemon, pid %d%s", daemon->pid,
	                 err == -EAGAIN ? ": none came in time (--timeout)" : "");
}
