/* SPDX-License-Identifier: GPL-2.0-only */
/* Executors, criu's side: work for them, and their end. */
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "helper/executor_parts.h"
#include "lib/clock.h"

pid_t executor_pid(const struct executor *e)
{
	return e->pid;
}

/* ---- its end ---- */

/* By its pidfd: we may not know its pid (yet). What has ended takes no harm from the signal. */
int executor_reap(struct executor *e)
{
	siginfo_t info = { 0 };

	syscall(SYS_pidfd_send_signal, e->pidfd, SIGKILL, NULL, 0);
	while (waitid(P_PIDFD, (id_t)e->pidfd, &info, WEXITED | __WALL) && errno == EINTR)
		;
	close(e->pidfd);
	e->pidfd = -1;
	return info.si_code == CLD_EXITED ? 0 : info.si_status;
}

static int bury_executor(struct executor *e)
{
	int sig = executor_reap(e);

	if (sig)
		return log_errno(-EFAULT, "executor %d: killed by signal %d", e->pid, sig);
	return log_errno(-ECANCELED, "executor %d: ended in the middle of its work", e->pid);
}

void executor_end(struct executor *e)
{
	if (!e)
		return;
	if (e->pidfd >= 0)
		executor_reap(e);
	if (e->sock >= 0)
		close(e->sock);
	if (e->area)
		munmap(e->area, sizeof(*e->area));
	free(e);
}

/* ---- messages ---- */

int executor_send(struct executor *e, enum executor_word word, const int *fds, size_t n)
{
	char byte = (char)word;
	int err = rights_send(e->sock, &byte, 1, fds, n);

	if (err == -EPIPE || err == -ECONNRESET)
		return bury_executor(e);
	return err ? log_errno(err, "executor %d: sendmsg", e->pid) : 0;
}

/* Until it has sent something, or is gone. */
static int wait_for_word(struct executor *e, int timeout_ms)
{
	int64_t until = clock_now_ms() + timeout_ms;
	struct pollfd p[] = { { .fd = e->sock, .events = POLLIN }, { .fd = e->pidfd, .events = POLLIN } };
	int64_t left = timeout_ms ?: -1;
	int n, err;

	while ((n = poll(p, ARRAY_SIZE(p), (int)left)) < 0 && errno == EINTR)
		if (timeout_ms)
			left = MAX(until - clock_now_ms(), 0);
	if (p[0].revents & POLLIN)
		return 0;
	if (n > 0)
		return bury_executor(e);
	err = n < 0 ? -errno : -ETIMEDOUT;
	executor_reap(e);
	return log_errno(err, "executor %d: killed: it was not done within %d ms", e->pid, timeout_ms);
}

static int receive_one(struct executor *e, int timeout_ms, int *fds, size_t *n)
{
	int err = wait_for_word(e, timeout_ms);
	ssize_t got;
	char word;

	if (err) {
		*n = 0;
		return err;
	}
	got = rights_receive(e->sock, &word, 1, fds, n);
	if (got == 0 || got == -ECONNRESET)
		return bury_executor(e);
	return got < 0 ? (int)got : word;
}

static void count_what_was_logged(struct log_tally *t)
{
	t->first_text[sizeof(t->first_text) - 1] = 0;
	log_tally_add(t);
	memset(t, 0, sizeof(*t));
}

/* Where not all descriptors can be had, none is; the message behind them comes all the same. */
int executor_receive(struct executor *e, int timeout_ms, int *fds, size_t *n)
{
	int word = receive_one(e, timeout_ms, fds, n), err = word == -EMFILE ? word : 0;
	size_t none = 0;

	if (word == EXECUTOR_OUT || err)
		word = receive_one(e, timeout_ms, NULL, &none);
	if (word < 0)
		return word;
	count_what_was_logged(&e->area->tally);
	return err ? log_errno(err, "executor %d: recvmsg of descriptors", e->pid) : word;
}

/* ---- running ---- */

static int send_call(struct executor *e, const struct executor_call *c)
{
	if (c->arg_len > EXECUTOR_DATA_MAX || c->result_len > EXECUTOR_DATA_MAX ||
	    round_up(c->arg_len, EXECUTOR_ALIGN) + c->result_len > EXECUTOR_DATA_MAX)
		return log_errno(-E2BIG, "executor %d: %zu bytes to it, %zu back", e->pid, c->arg_len, c->result_len);
	e->area->fn = c->fn;
	e->area->arg_len = c->arg_len;
	e->area->result_len = c->result_len;
	if (c->arg_len)
		memcpy(e->area->data, c->arg, c->arg_len);
	return executor_send(e, EXECUTOR_RUN, c->fds, c->n_fds);
}

int executor_run(struct executor *e, struct executor_call *c)
{
	size_t room = c->n_out;
	int word, ret;

	c->n_out = 0;
	if (e->pidfd < 0)
		return log_errno(-ESRCH, "executor %d: gone", e->pid);
	word = send_call(e, c);
	if (word < 0)
		return word;
	word = executor_receive(e, c->timeout_ms, c->out, &room);
	if (word < 0)
		return word;
	c->n_out = room;
	ret = e->area->ret;
	if (ret >= 0 && c->result_len)
		memcpy(c->result, e->area->data + round_up(c->arg_len, EXECUTOR_ALIGN), c->result_len);
	return ret;
}
