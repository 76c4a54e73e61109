/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "agent/impersonate_call.h"
#include "agent/batch.h"
#include "agent/send_fds.h"
#include "lib/log.h"

/* What of the batch tells whether the ids could be put on. */
struct ops {
	int set[3];
};

static void add_ids(struct batch *b, const struct ids *ids, int *set)
{
	const struct identity *as = ids->as;
	raddr_t groups;

	if (ids->groups) {
		groups = batch_data(b, as->groups, as->n_groups * sizeof(*as->groups));
		set[0] = batch_ask(b, SYS_setgroups, as->n_groups, groups);
	}
	set[1] = batch_ask(b, SYS_setresgid, -1UL, as->gid, -1UL);
	set[2] = batch_ask(b, SYS_setresuid, -1UL, as->uid, -1UL);
	/* A path is looked up with ours as before: only what the peer sees is the effective id. */
	batch_ask(b, SYS_setfsuid, ids->uid);
	batch_ask(b, SYS_setfsgid, ids->gid);
}

static void add_return(struct batch *b, const struct ids *ids)
{
	batch_call(b, SYS_setresuid, -1UL, ids->uid, -1UL);
	batch_call(b, SYS_setresgid, -1UL, ids->gid, -1UL);
	if (ids->groups)
		batch_ask(b, SYS_setgroups, (uint64_t)ids->n_own_groups,
		          batch_data(b, ids->own_groups, (size_t)ids->n_own_groups * sizeof(gid_t)));
	/* A change of ids cleared the attribute; without it the task could not be inspected (proc(5), pidfd_getfd). */
	batch_call(b, SYS_prctl, PR_SET_DUMPABLE, 1);
}

/* number, dir: c->fd and c->dir in the task. */
static int add_call(struct batch *b, struct call *c, int number, int dir)
{
	uint64_t arg[6];

	memcpy(arg, c->arg, sizeof(arg));
	if (c->fd >= 0)
		arg[0] = (uint64_t)number;
	if (c->path)
		arg[2] = impersonate_path_below(c->data, dir, c->path);
	if (c->data_arg) {
		arg[c->data_arg] = batch_space(b, c->data_len, &c->in_task);
		if (!c->comes_back)
			memcpy(c->in_task, c->data, c->data_len);
	}
	return batch_add(b, (unsigned)c->nr, 0, arg);
}

static void tell_ids(const struct ids *ids, const struct ops *ops, const struct batch *b, const char *what)
{
	if (ops->set[0] >= 0 && batch_ret(b, ops->set[0]) < 0)
		impersonate_note_groups(ids->as, (int)batch_ret(b, ops->set[0]), what);
	for (size_t i = 1; i < ARRAY_SIZE(ops->set); i++)
		if (ops->set[i] >= 0 && batch_ret(b, ops->set[i]) < 0) {
			impersonate_warn_ids(ids->as, (int)batch_ret(b, ops->set[i]), what);
			break;
		}
}

static size_t space_of(const struct ids *ids, const struct call *c, size_t n)
{
	size_t groups = ids->groups ? (ids->as->n_groups + (size_t)ids->n_own_groups) * sizeof(gid_t) : 0;

	for (size_t i = 0; i < n; i++)
		groups += round_up(c[i].data_len, 16);
	return groups + 64;
}

/* The calls' descriptors, and last the directory where paths begin. */
static int send_numbers(struct task *t, const struct call *c, size_t n, int *numbers, size_t *n_sent)
{
	int fds[CALLS_AT_ONCE + 1];

	*n_sent = 0;
	for (size_t i = 0; i < n && c[i].fd >= 0; i++)
		fds[(*n_sent)++] = c[i].fd;
	if (c[0].path)
		fds[(*n_sent)++] = c[0].dir;
	return *n_sent ? agent_send_fds(t, fds, *n_sent, numbers) : 0;
}

static int make_calls(struct task *t, const struct ids *ids, struct call *c, size_t n, const char *what)
{
	struct batch *b = agent_batch(t->restore->agent, "a socket of its own");
	int numbers[CALLS_AT_ONCE + 1] = { 0 }, op[CALLS_AT_ONCE], err;
	struct ops ops = { { -1, -1, -1 } };
	size_t n_sent;

	err = send_numbers(t, c, n, numbers, &n_sent);
	if (err)
		return err;
	batch_reserve(b, (unsigned)(16 + n + n_sent), space_of(ids, c, n));
	if (ids->change)
		add_ids(b, ids, ops.set);
	for (size_t i = 0; i < n; i++)
		op[i] = add_call(b, &c[i], numbers[i], n_sent ? numbers[n_sent - 1] : -1);
	if (ids->change)
		add_return(b, ids);
	for (size_t i = 0; i < n_sent; i++)
		batch_call(b, SYS_close, (uint64_t)numbers[i]);
	err = batch_run(b);
	if (err)
		return err;
	tell_ids(ids, &ops, b, what);
	for (size_t i = 0; i < n; i++) {
		c[i].ret = batch_ret(b, op[i]);
		if (c[i].comes_back)
			memcpy(c[i].data, c[i].in_task, c[i].data_len);
	}
	return 0;
}

int impersonate_calls_in_task(struct restore *r, struct task *t, const struct ids *ids, struct call *c, size_t n,
                              const char *what)
{
	int err = 0;

	for (size_t at = 0; at < n && !err; at += CALLS_AT_ONCE)
		err = make_calls(t, ids, c + at, MIN(n - at, (size_t)CALLS_AT_ONCE), what);
	return err;
}

int impersonate_fetch(struct task *t, const int *numbers, int *fds, size_t n)
{
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, t->pid, 0);
	struct batch *b = agent_batch(t->restore->agent, "closing a socket pair");
	int err = pidfd < 0 ? -errno : 0;

	for (size_t i = 0; i < n; i++) {
		fds[i] = err ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, numbers[i], 0);
		if (!err && fds[i] < 0)
			err = -errno;
		batch_call(b, SYS_close, (uint64_t)numbers[i]);
	}
	err = batch_run(b) ?: err;
	for (size_t i = 0; i < n && err; i++)
		cleanup_close(&fds[i]);
	return err;
}
