/* SPDX-License-Identifier: GPL-2.0-only */
/* An executor's own process: its birth, and the loop in which it runs what it is sent. */
#include <linux/sched.h>
#include <linux/securebits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "helper/executor_parts.h"
#include "helper/helper.h"

struct self {
	struct executor_birth birth;
	struct executor_area *area;
};

/* ---- with criu ---- */

static int send_word(const struct self *s, enum executor_word word, const int *fds, size_t n)
{
	char byte = (char)word;

	return rights_send(s->birth.fd[BIRTH_SOCK], &byte, 1, fds, n);
}

static int report_back(const struct self *s, enum executor_word word, int ret)
{
	s->area->ret = ret;
	log_tally_take(&s->area->tally);
	return send_word(s, word, NULL, 0);
}

/*
 * Waits for a message, or the end of criu. The kernel takes the death signal away whenever our credentials change, and
 * criu may have died before it was set; its guardian then still has criu's end of the socket.
 */
static void end_with_criu(const struct self *s, int timeout_ms)
{
	struct pollfd p[] = {
		{ .fd = s->birth.fd[BIRTH_CRIU], .events = POLLIN },
		{ .fd = s->birth.fd[BIRTH_SOCK], .events = POLLIN },
	};

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (poll(p, ARRAY_SIZE(p), timeout_ms) < 0 && errno == EINTR)
		;
	if (p[0].revents)
		_exit(0);
}

/* Waits for a message; criu's end is ours. Returns the number of descriptors that came with it or a negative errno. */
static int await_word(const struct self *s, enum executor_word word, int *fds, size_t room)
{
	size_t n = room;
	ssize_t got;
	char byte;

	end_with_criu(s, -1);
	got = rights_receive(s->birth.fd[BIRTH_SOCK], &byte, 1, fds, &n);
	if (got == 0 || (got > 0 && byte != (char)word))
		_exit(0);
	return got < 0 ? (int)got : (int)n;
}

/* ---- running ---- */

static void close_all(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

static void run_one(const struct self *s, int *fds, size_t n)
{
	struct executor_area *area = s->area;
	size_t result_at = round_up(area->arg_len, EXECUTOR_ALIGN);
	struct executor_job job = {
		.arg = area->data,
		.arg_len = area->arg_len,
		.result = area->data + result_at,
		.result_len = area->result_len,
		.fds = fds,
		.n_fds = n,
	};
	int ret, err = 0;

	memset(job.result, 0, job.result_len);
	ret = area->fn(&job);
	if (ret >= 0 && job.n_out)
		err = send_word(s, EXECUTOR_OUT, job.out, job.n_out);
	if (err)
		ret = log_errno(err, "executor %d: sendmsg of %zu descriptors", getpid(), job.n_out);
	close_all(job.out, job.n_out);
	close_all(fds, n);
	report_back(s, EXECUTOR_DONE, ret);
}

static int serve_calls(void *arg)
{
	const struct self *s = arg;
	int fds[RIGHTS_MAX];

	for (;;) {
		int n = await_word(s, EXECUTOR_RUN, fds, RIGHTS_MAX);

		if (n < 0)
			report_back(s, EXECUTOR_DONE, log_errno(n, "executor %d: recvmsg", getpid()));
		else
			run_one(s, fds, (size_t)n);
	}
	return 0;
}

/* ---- birth ---- */

static int by_number(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Standard input, output and error, the log's and our own stay. */
static void close_others(const struct executor_birth *b)
{
	int keep[3 + LOG_DESCRIPTORS + ARRAY_SIZE(b->fd)] = { 0, 1, 2 };
	size_t n = 3 + log_descriptors(keep + 3);
	unsigned from = 0;

	memcpy(keep + n, b->fd, executor_birth_fds(b) * sizeof(*keep));
	n += executor_birth_fds(b);
	qsort(keep, n, sizeof(*keep), by_number);
	for (size_t i = 0; i < n; from = (unsigned)keep[i++] + 1)
		if ((unsigned)keep[i] > from)
			syscall(SYS_close_range, from, keep[i] - 1, 0);
	syscall(SYS_close_range, from, ~0U, 0);
}

static void settle_down(const struct self *s)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_NAME, "criu-executor");
	setsid();
	/* lint: allow: its own process; it is not to keep criu's directory busy */
	if (chdir("/"))
		log_debug("executor %d: chdir: errno %d", getpid(), errno);
	end_with_criu(s, 0);
}

static int take_root(const struct executor_birth *b)
{
	if (!b->has_root)
		return 0;
	/* lint: allow: its own process */
	if (fchdir(b->fd[BIRTH_NS + b->n_ns]) || chroot("."))
		return log_errno(-errno, "executor %d: chroot", getpid());
	return 0;
}

/* A new user namespace belongs to the effective user of its maker. The capabilities are needed for the maps. */
static int become_owner(uint32_t owner)
{
	if (syscall(SYS_geteuid) == (long)owner)
		return 0;
	prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP);
	if (syscall(SYS_setresuid, -1, owner, -1))
		return log_errno(-errno, "executor %d: setresuid to %u, who owns the new user namespace", getpid(),
		                 owner);
	return 0;
}

/*
 * The other new namespaces are made when the user namespace that owns them has its ids, which are those of their first
 * objects. An executor in a user namespace may write our maps only while we are dumpable.
 */
static int make_namespaces(const struct self *s)
{
	const struct executor_birth *b = &s->birth;
	int err = b->has_owner ? become_owner(b->owner) : 0;

	err = err ?: executor_unshare(b->make & CLONE_NEWUSER);
	if (!err && b->wants_maps) {
		prctl(PR_SET_DUMPABLE, 1);
		err = send_word(s, EXECUTOR_WANTS_MAPS, NULL, 0);
		if (err)
			return log_errno(err, "executor %d: sendmsg", getpid());
		err = await_word(s, EXECUTOR_HAS_MAPS, NULL, 0);
		executor_become_root();
	}
	return err ?: executor_unshare(b->make & ~(uint64_t)CLONE_NEWUSER);
}

/* Returns whether the executor has to be a child of ours: which a pid namespace is for, and a new time namespace. */
static int go_there(const struct self *s)
{
	const struct executor_birth *b = &s->birth;
	uint64_t entered;
	int err = executor_enter(b->fd + BIRTH_NS, b->n_ns, &entered);

	err = err ?: make_namespaces(s);
	err = err ?: take_root(b);
	return err ?: (entered & CLONE_NEWPID) || (b->make & (CLONE_NEWPID | CLONE_NEWTIME));
}

/* It is a child of criu's, as we are, which waits for both. */
static int stand_by_child(struct self *s)
{
	int pidfd = -1;
	struct helper_spec spec = { .flags = CLONE_PARENT, .pidfd = &pidfd, .outlives = true };
	pid_t pid = helper_start(&spec, serve_calls, s);

	if (pid < 0)
		return log_errno(pid, "executor %d: clone3 in its pid namespace", getpid());
	if (!send_word(s, EXECUTOR_OUT, &pidfd, 1))
		report_back(s, EXECUTOR_STANDS, 0);
	_exit(0);
}

int executor_main(void *birth)
{
	struct self s = { .birth = *(struct executor_birth *)birth };
	struct log_tally counted_already;
	const struct executor_birth *b = &s.birth;
	int err;

	close_others(b);
	s.area = mmap(NULL, sizeof(*s.area), PROT_READ | PROT_WRITE, MAP_SHARED, b->fd[BIRTH_AREA], 0);
	if (s.area == MAP_FAILED)
		return 1;
	log_tally_take(&counted_already);
	settle_down(&s);
	err = go_there(&s);
	close_all(b->fd + BIRTH_NS, executor_birth_fds(b) - BIRTH_NS);
	close(b->fd[BIRTH_AREA]);
	if (err > 0)
		err = stand_by_child(&s);
	report_back(&s, EXECUTOR_STANDS, err);
	return err ? 1 : serve_calls(&s);
}
