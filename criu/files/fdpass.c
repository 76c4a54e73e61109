/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "agent/batch.h"
#include "agent/send_fds.h"
#include "files/foreign_restore.h"
#include "files/fdpass.h"
#include "files/files_open.h"
#include "lib/log.h"
#include "lib/rights.h"

int fdpass_check(const int *arrived, const int *wanted, size_t n, int sock)
{
	for (size_t i = 0; i < n; i++)
		if (arrived[i] < 0 || arrived[i] > wanted[i] || arrived[i] == sock ||
		    (i && arrived[i] <= arrived[i - 1]))
			return -EBADMSG;
	return 0;
}

int fdpass_gap(const int *wanted, size_t n)
{
	size_t gap = 0;

	while (gap < n && wanted[gap] == (int)gap)
		gap++;
	return (int)gap;
}

/* ---- a whole table ---- */

/*
 * Numbers up to `highest` must be possible; the final limits are set later (rlimit_part). now: what clear_table() was
 * told.
 */
static int raise_task_limit(struct task *t, struct rlimit now, int highest)
{
	struct batch *b = agent_batch(t->restore->agent, "its limit of open files");

	if (now.rlim_cur > (rlim_t)highest)
		return 0;
	now.rlim_cur = now.rlim_max;
	batch_reserve(b, 1, sizeof(now));
	batch_call(b, SYS_prlimit64, 0, RLIMIT_NOFILE, batch_data(b, &now, sizeof(now)));
	return batch_run(b);
}

/* All tasks that share the table have the socket under the same number. */
static void note_socket(struct restore *r, const struct task *t, int sock, int number)
{
	for (size_t i = 0; i < r->tree.n_tasks; i++) {
		struct task *o = r->tree.tasks[i];

		if (o == t || (o->ids && o->restore && o->ids->files_id == t->ids->files_id)) {
			o->restore->sock = sock;
			o->restore->task_sock = number;
		}
	}
}

static bool wants_number(const int *wanted, size_t n, int number)
{
	for (size_t i = 0; i < n; i++)
		if (wanted[i] == number)
			return true;
	return false;
}

/* Leaves nothing in the table but the socket; and tells the limit. */
static int clear_table(struct task *t, struct rlimit *limit)
{
	struct batch *b = agent_batch(t->restore->agent, "closing its descriptors");
	unsigned sock = (unsigned)t->restore->task_sock;
	struct rlimit *lim;
	int err, op;

	batch_reserve(b, 3, sizeof(*lim));
	if (sock)
		batch_call(b, SYS_close_range, 0, sock - 1, 0);
	batch_call(b, SYS_close_range, sock + 1, ~0U, 0);
	op = batch_ask(b, SYS_prlimit64, 0, RLIMIT_NOFILE, 0, batch_space(b, sizeof(*lim), &lim));
	err = batch_run(b);
	if (err)
		return err;
	if (batch_ret(b, op))
		return log_errno((int)batch_ret(b, op), "%s: prlimit64(RLIMIT_NOFILE)", task_name(t));
	*limit = *lim;
	return 0;
}

/* To the number `gap`, which is not wanted. */
static int move_socket(struct restore *r, struct task *t, int gap)
{
	struct batch *b = agent_batch(t->restore->agent, "moving its socket");
	unsigned sock = (unsigned)t->restore->task_sock;
	int op, err;

	op = batch_call(b, SYS_fcntl, sock, F_DUPFD, (uint64_t)gap);
	batch_call(b, SYS_close, sock);
	err = batch_run(b);
	if (err)
		return err;
	if (batch_ret(b, op) != gap)
		return log_errno(-EBADMSG, "%s: fcntl(F_DUPFD) moved its socket to %lld instead of %d", task_name(t),
		                 (long long)batch_ret(b, op), gap);
	note_socket(r, t, t->restore->sock, gap);
	return 0;
}

/*
 * From the numbers under which they arrived to those that are wanted. Both ascend and arrived <= wanted, so from the
 * last to the first each goes to a number that is free, or has just become free.
 */
static int place_chunk(struct task *t, FdinfoEntry *const *e, const int *arrived, const int *wanted, size_t n)
{
	struct batch *b = agent_batch(t->restore->agent, "placing its descriptors");

	if (fdpass_check(arrived, wanted, n, t->restore->task_sock))
		return log_errno(-EBADMSG, "%s: descriptors arrived under impossible numbers", task_name(t));
	for (size_t i = n; i-- > 0;) {
		bool cloexec = e[i]->flags & FD_CLOEXEC;

		if (arrived[i] != wanted[i]) {
			batch_call(b, SYS_dup3, (uint64_t)arrived[i], (uint64_t)wanted[i], cloexec ? O_CLOEXEC : 0);
			batch_call(b, SYS_close, (uint64_t)arrived[i]);
		} else if (cloexec) {
			batch_call(b, SYS_fcntl, (uint64_t)arrived[i], F_SETFD, FD_CLOEXEC);
		}
	}
	return batch_run(b);
}

/* A chunk is opened, sent and closed (unless another table wants it) before the next: criu's own limit may be lower. */
static int install_chunk(struct restore *r, struct task *t, size_t at, const int *wanted, size_t n)
{
	int fds[RIGHTS_MAX], arrived[RIGHTS_MAX], err;

	for (size_t i = 0; i < n; i++) {
		fds[i] = files_open(r, t->fds[at + i]->id);
		if (fds[i] < 0)
			return log_errno(fds[i], "%s: fd %u", task_name(t), t->fds[at + i]->fd);
	}
	err = foreign_restore_send(r, t, fds, n, arrived);
	if (!err)
		err = place_chunk(t, t->fds + at, arrived, wanted, n);
	for (size_t i = 0; i < n; i++)
		files_open_installed(r, t->fds[at + i]->id, t, wanted[i]);
	return err;
}

static int *wanted_numbers(struct restore *r, const struct task *t)
{
	int *wanted = arena_array(r->arena, int, t->n_fds + 1);

	for (size_t i = 0; i < t->n_fds; i++)
		wanted[i] = (int)t->fds[i]->fd;
	return wanted;
}

int files_clear(struct restore *r, struct task *t)
{
	const int *wanted = wanted_numbers(r, t);
	size_t n = t->n_fds;
	struct rlimit limit;
	int gap = fdpass_gap(wanted, n), err = clear_table(t, &limit);

	if (!err)
		err = raise_task_limit(t, limit, n ? MAX(gap, wanted[n - 1]) : 0);
	if (!err && wants_number(wanted, n, t->restore->task_sock))
		err = move_socket(r, t, gap);
	return err;
}

int files_install(struct restore *r, struct task *t)
{
	const int *wanted = wanted_numbers(r, t);
	int err = 0;

	for (size_t at = 0; !err && at < t->n_fds; at += RIGHTS_MAX)
		err = install_chunk(r, t, at, wanted + at, MIN(t->n_fds - at, RIGHTS_MAX));
	return err;
}

int files_finish(struct restore *r, struct task *t)
{
	struct batch *b = agent_batch(t->restore->agent, "closing its socket");
	int err;

	if (t->restore->sock < 0)
		return 0;
	batch_call(b, SYS_close, (uint64_t)t->restore->task_sock);
	err = batch_run(b);
	close(t->restore->sock);
	note_socket(r, t, -1, -1);
	return err;
}
