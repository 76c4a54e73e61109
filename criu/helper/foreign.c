/* SPDX-License-Identifier: GPL-2.0-only */
#include "helper/foreign.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "helper/foreign_serve.h"
#include "helper/helper.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/rights.h"

#define AFTER_SILENCE_MS 1000 /* for an answer, when some mount has not answered */
#define END_MS           100  /* for a helper to end that was killed */

struct foreign_helper {
	const struct proc_status *who;
	pid_t pid;
	int pidfd, sock; /* -1: it is lost */
	struct foreign_helper *next;
};

/* ---- helpers ---- */

static bool same_identity(const struct proc_status *a, const struct proc_status *b)
{
	if (!a || !b)
		return a == b;
	return !memcmp(a->uid, b->uid, sizeof(a->uid)) && !memcmp(a->gid, b->gid, sizeof(a->gid)) &&
	       a->cap_eff == b->cap_eff && a->cap_prm == b->cap_prm && a->cap_inh == b->cap_inh &&
	       a->n_groups == b->n_groups &&
	       (!a->n_groups || !memcmp(a->groups, b->groups, a->n_groups * sizeof(*a->groups)));
}

/* poll(2), so that a signal which ends criu does so at once. 0, or -ETIMEDOUT. */
static int wait_readable(int fd, int64_t ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int64_t until = clock_now_ms() + ms, left = ms;
	int n;

	while ((n = poll(&p, 1, (int)left)) < 0 && errno == EINTR)
		left = MAX(until - clock_now_ms(), 0);
	return n < 0 ? -errno : n ? 0 : -ETIMEDOUT;
}

/* Whether it has ended. Never waits for one that cannot be ended. */
static bool end_helper(struct foreign_helper *h)
{
	bool gone;

	if (h->sock < 0)
		return true;
	close(h->sock);
	h->sock = -1;
	syscall(SYS_pidfd_send_signal, h->pidfd, SIGKILL, NULL, 0);
	gone = !wait_readable(h->pidfd, END_MS);
	if (gone)
		helper_wait(h->pid);
	close(h->pidfd);
	return gone;
}

static int64_t patience_ms(const struct foreign *f)
{
	return f->counted ? AFTER_SILENCE_MS : (int64_t)f->timeout * 1000;
}

static int start_helper(struct foreign *f, const struct proc_status *who, struct foreign_helper **hp)
{
	int socks[2], err;
	struct foreign_helper *h = arena_new_of(f->arena, struct foreign_helper);
	struct helper_spec spec = { .pidfd = &h->pidfd };
	struct foreign_birth b = { .who = who };
	struct foreign_reply reply = { .ret = -ECANCELED };
	size_t n = 0;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, socks))
		return log_errno(-errno, "socketpair");
	b.sock = socks[1];
	h->who = who;
	h->pidfd = -1;
	h->sock = socks[0];
	h->pid = helper_start(&spec, foreign_serve, &b);
	close(socks[1]);
	if (h->pid < 0) {
		close(socks[0]);
		return log_errno(h->pid, "a helper that looks at files for a task: clone3");
	}
	err = wait_readable(h->sock, patience_ms(f));
	if (!err && rights_receive(h->sock, &reply, sizeof(reply), NULL, &n) != (ssize_t)sizeof(reply))
		err = -ECANCELED;
	err = err ?: reply.ret;
	if (err) {
		end_helper(h);
		return log_errno(err,
		                 "helper %d: taking the identity of a task (uid %u): setgroups, setresgid, "
		                 "setresuid, capset",
		                 h->pid, who ? who->uid[1] : 0);
	}
	h->next = f->helpers;
	f->helpers = h;
	*hp = h;
	return 0;
}

static int helper_of(struct foreign *f, const struct proc_status *who, struct foreign_helper **hp)
{
	for (*hp = f->helpers; *hp; *hp = (*hp)->next)
		if ((*hp)->sock >= 0 && same_identity((*hp)->who, who))
			return 0;
	return start_helper(f, who, hp);
}

/* ---- asking ---- */

static int send_call(struct foreign_helper *h, const struct foreign_call *c)
{
	_cleanup_free_ char *buf = calloc(1, sizeof(struct foreign_request) + c->arg_len);
	struct foreign_request *rq = (struct foreign_request *)(void *)buf;

	if (!buf)
		return -ENOMEM;
	if (c->arg_len > FOREIGN_DATA_MAX || c->result_len > FOREIGN_DATA_MAX)
		return -E2BIG;
	*rq = (struct foreign_request) {
		.fn = c->fn, .arg_len = c->arg_len, .result_len = c->result_len, .keep = c->keep
	};
	if (c->arg_len)
		memcpy(rq + 1, c->arg, c->arg_len);
	return rights_send(h->sock, buf, sizeof(*rq) + c->arg_len, c->fds, c->n_fds);
}

static int receive_reply(struct foreign_helper *h, const struct foreign_call *c, int *ret)
{
	size_t size = sizeof(struct foreign_reply) + c->result_len, n = 1;
	_cleanup_free_ char *buf = malloc(size);
	_cleanup_close_ int fd = -1;
	ssize_t got = buf ? rights_receive(h->sock, buf, size, &fd, &n) : -ENOMEM;

	if (got < 0)
		return (int)got;
	if ((size_t)got != size)
		return -ESRCH;
	*ret = ((struct foreign_reply *)(void *)buf)->ret;
	if (c->result_len)
		memcpy(c->result, buf + sizeof(struct foreign_reply), c->result_len);
	if (c->keep) {
		c->keep->helper = h;
		c->keep->number = ((struct foreign_reply *)(void *)buf)->kept;
	}
	if (c->out)
		*c->out = n ? move_fd(&fd) : -1;
	return 0;
}

/* The helper is not asked again: what it is in may end any time. */
static void give_up_helper(struct foreign *f, struct foreign_mount *m, struct foreign_helper *h, const char *what)
{
	m->silent = f->counted = true;
	if (end_helper(h))
		log_info("helper %d, which waited for %s on %s (%s), was ended", h->pid, what, m->path, m->type);
	else
		log_warn("helper %d sleeps in a call to %s on %s (%s) and cannot be killed: it is left to itself, has "
		         "nothing of the tree, and ends when that file system answers or is unmounted (umount -f)",
		         h->pid, what, m->path, m->type);
}

static int ask_helper(struct foreign *f, struct foreign_mount *m, struct foreign_helper *h,
                      const struct foreign_call *c)
{
	int ret = 0, err;

	if (m->silent || h->sock < 0)
		return -ETIMEDOUT;
	err = send_call(h, c) ?: wait_readable(h->sock, patience_ms(f));
	if (err == -ETIMEDOUT) {
		give_up_helper(f, m, h, c->what);
		return err;
	}
	err = err ?: receive_reply(h, c, &ret);
	if (!err)
		return ret;
	end_helper(h);
	return log_errno(err, "helper %d: asking for %s on %s (%s)", h->pid, c->what, m->path, m->type);
}

int foreign_ask(struct foreign *f, struct foreign_mount *m, const struct proc_status *who, const struct foreign_call *c)
{
	struct foreign_helper *h;
	int err = m->silent ? -ETIMEDOUT : helper_of(f, who, &h);

	return err ?: ask_helper(f, m, h, c);
}

static int send_kept(struct foreign_job *job)
{
	char byte = 0;

	return rights_send(job->fds[0], &byte, 1, job->arg, 1);
}

int foreign_send(const struct foreign_kept *k, int sock)
{
	struct foreign_call call = { .fn = send_kept,
		                     .arg = &k->number,
		                     .arg_len = sizeof(k->number),
		                     .fds = { sock },
		                     .n_fds = 1,
		                     .what = "a file" };

	return ask_helper(k->f, k->mount, k->helper, &call);
}

int foreign_run(const struct foreign_access *a, struct foreign_call *call)
{
	if (!call->what)
		call->what = a->path;
	return foreign_ask(a->f, a->mount, a->who, call);
}

void foreign_end(struct foreign *f)
{
	for (struct foreign_helper *h = f->helpers; h; h = h->next)
		end_helper(h);
	f->helpers = NULL;
}
