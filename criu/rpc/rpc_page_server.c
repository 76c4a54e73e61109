/* SPDX-License-Identifier: GPL-2.0-only */
#include "rpc/rpc_page_server.h"

#include <fcntl.h>
#include <sys/wait.h>

#include "cmd/page_server.h"
#include "lib/io.h"
#include "options/background.h"

/* What the process of the page server says when it listens, or cannot. */
struct started {
	int err;
	pid_t pid;
	unsigned port;
	struct log_tally tally; /* of what it has logged */
};

static _Noreturn void serve_pages(const struct client *c, const struct options *o, int tell)
{
	struct started s = { .pid = getpid() };
	struct page_server server;
	int err;

	close(c->sock); /* its end is for the client to see when criu ends */
	log_tally_take(&s.tally);
	err = page_server_open(&server, o);
	s.err = err;
	s.port = server.port;
	log_tally_take(&s.tally);
	io_write_all(tell, &s, sizeof(s));
	close(tell);
	if (!err)
		err = page_server_run(&server);
	page_server_close(&server);
	_exit(err ? 1 : 0);
}

static pid_t fork_server(const struct client *c, const struct options *o, bool child, const int tell[2])
{
	pid_t pid = fork();

	if (pid)
		return pid < 0 ? log_errno(-errno, "fork, for a page server") : pid;
	close(tell[0]);
	if (!child) {
		background_leave_terminal();
		pid = fork();
		if (pid)
			_exit(pid < 0);
	}
	serve_pages(c, o, tell[1]);
}

int rpc_page_server_start(struct client *c, const struct options *o, bool child, CriuPageServerInfo *ps)
{
	struct started s;
	int tell[2];
	ssize_t n;
	pid_t pid;

	if (pipe2(tell, O_CLOEXEC))
		return log_errno(-errno, "pipe2, for a page server");
	pid = fork_server(c, o, child, tell);
	close(tell[1]);
	n = pid < 0 ? pid : io_read_all(tell[0], &s, sizeof(s));
	close(tell[0]);
	if (pid < 0)
		return pid;
	if (n != (ssize_t)sizeof(s))
		s = (struct started) { .err = log_errno(-ECHILD, "the process of the page server has ended") };
	else
		log_tally_add(&s.tally);
	if (!child || s.err)
		waitpid(pid, NULL, 0);
	ps->has_pid = ps->has_port = true;
	ps->pid = s.pid;
	ps->port = (int32_t)s.port;
	return s.err;
}
