/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * criu service: a socket that many clients connect to, and a process for each connection. Whatever a client does, it
 * costs that process and nothing else.
 */
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "cmd/cmd.h"
#include "lib/arena.h"
#include "lib/log.h"
#include "options/background.h"
#include "options/socket_file.h"
#include "rpc/rpc.h"
#include "rpc/rpc_peer.h"

#define USER_MAX 64 /* connections at once of one user that is not root */

/* The process of a connection. */
struct answering {
	pid_t pid;
	uid_t uid;
};

struct service {
	const struct options *opts;
	int dir; /* the work directory, where the socket's name starts from it; else -1 */
	int listener, signals;
	sigset_t mask; /* as it was before */
	struct answering *children;
	size_t n, room;
};

/* ---- one connection ---- */

static _Noreturn void answer_client(struct service *s, int sock, const struct ucred *peer)
{
	struct client c = { .sock = sock, .peer = *peer, .service = true, .caller = s->opts };
	int err;

	close(s->listener);
	close(s->signals);
	if (s->dir >= 0)
		close(s->dir);
	signal(SIGCHLD, SIG_DFL);
	sigprocmask(SIG_SETMASK, &s->mask, NULL);
	setsid(); /* keys of the service's terminal end the service alone */
	err = rpc_peer_become(sock, peer, &c.lent_caps);
	_exit(err ? rpc_refuse(&c, err) : rpc_serve(&c));
}

static size_t count_of_user(const struct service *s, uid_t uid)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++)
		n += s->children[i].uid == uid;
	return n;
}

static int make_room(struct service *s)
{
	size_t room = s->room ? 2 * s->room : 64;
	struct answering *more;

	if (s->n < s->room)
		return 0;
	more = realloc(s->children, room * sizeof(*more));
	if (!more)
		return log_errno(-ENOMEM, "out of memory for %zu connections", room);
	s->children = more;
	s->room = room;
	return 0;
}

static void start_answer(struct service *s, int sock)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	pid_t pid;

	if (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len)) {
		log_errno(-errno, "getsockopt(SO_PEERCRED) of a connection");
		return;
	}
	if (peer.uid && count_of_user(s, peer.uid) >= USER_MAX) {
		log_warn("user %u has %d connections already: another one, of pid %d, is closed", peer.uid, USER_MAX,
		         peer.pid);
		return;
	}
	if (make_room(s))
		return;
	pid = fork();
	if (!pid)
		answer_client(s, sock, &peer);
	if (pid < 0) {
		log_errno(-errno, "fork, for the connection of pid %d", peer.pid);
		return;
	}
	s->children[s->n++] = (struct answering) { pid, peer.uid };
	log_info("pid %d answers pid %d (user %u)", pid, peer.pid, peer.uid);
}

/* ---- all connections ---- */

static void reap_children(struct service *s)
{
	for (size_t i = 0; i < s->n;) {
		int status;
		pid_t pid = waitpid(s->children[i].pid, &status, WNOHANG);

		if (!pid || (pid < 0 && errno == EINTR)) {
			i++;
			continue;
		}
		if (pid > 0)
			log_info("pid %d has ended: %s %d", pid, WIFSIGNALED(status) ? "signal" : "status",
			         WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		s->children[i] = s->children[--s->n];
	}
}

/* What lacks comes back when a connection ends: without a pause this would go round and round. */
static void accept_one(struct service *s)
{
	_cleanup_close_ int sock = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
	struct pollfd p = { .fd = s->signals, .events = POLLIN };

	if (sock >= 0) {
		start_answer(s, sock);
	} else if (errno != EINTR && errno != EAGAIN && errno != ECONNABORTED) {
		log_errno(-errno, "accept4 of a connection");
		poll(&p, 1, 1000);
	}
}

/* Until SIGTERM or SIGINT; the connections that are being answered go on. */
static int serve_all(struct service *s)
{
	struct pollfd p[2] = { { .fd = s->listener, .events = POLLIN }, { .fd = s->signals, .events = POLLIN } };
	struct signalfd_siginfo sig;

	for (;;) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return log_errno(-errno, "poll of the socket of the service");
		if (p[1].revents && read(s->signals, &sig, sizeof(sig)) == sizeof(sig)) {
			reap_children(s);
			if (sig.ssi_signo != SIGCHLD) {
				log_info("SIG%s: the service ends", sigabbrev_np((int)sig.ssi_signo));
				return 0;
			}
		}
		if (p[0].revents)
			accept_one(s);
	}
}

static int take_signals(struct service *s)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	signal(SIGCHLD, SIG_DFL); /* ignored, as criu may have inherited that, there would be nothing to wait for */
	sigprocmask(SIG_BLOCK, &set, &s->mask);
	s->signals = signalfd(-1, &set, SFD_CLOEXEC);
	return s->signals < 0 ? log_errno(-errno, "signalfd") : 0;
}

int rpc_service(const struct options *o, struct stages *stages)
{
	struct service s = { .opts = o, .dir = -1, .listener = -1, .signals = -1 };
	const struct socket_spec spec = {
		.name = o->address ?: "criu_service.socket", .what = "--address ", .type = SOCK_SEQPACKET, .mode = 0666
	};
	struct socket_file file;
	bool parent = false;
	int err = take_signals(&s), listens = socket_file_listen(o, &spec, &file, &s.listener);

	err = err ?: listens;
	if (!err)
		err = background_ready(o, stages, o->restore_detached, &parent);
	if (!err && !parent)
		err = serve_all(&s);
	if (!parent)
		socket_file_remove(&file);
	if (s.listener >= 0)
		close(s.listener);
	if (s.signals >= 0)
		close(s.signals);
	free(s.children);
	return err;
}
