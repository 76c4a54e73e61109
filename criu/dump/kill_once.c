/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A descriptor can have a signal sent to a process when something comes to be read (O_ASYNC of fcntl(2)): here SIGKILL,
 * by a pipe that has been opened once for each task. One byte written into the pipe, and the kernel goes through all of
 * them within that call, which nothing can interrupt, SIGKILL neither. Where the root is the init of a pid namespace
 * its death is that of all others, and SIGKILL comes to an init by kill(2) alone: to those of nested namespaces right
 * behind the one call.
 *
 * Each is opened for reading and writing: a pipe tells of the end of its last reader or writer too, and here both come
 * together, so that descriptors that are closed, as by the death of criu and its guardian, kill nobody.
 */
#include <fcntl.h>
#include <signal.h>

#include "dump/dump.h"
#include "dump/kill_once.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "tree/dump.h"
#include "tree/pid_numbers.h"

struct kill_once {
	int *fds; /* [0] is written to */
	size_t n;
	pid_t init;    /* the root, where it is an init; else 0 */
	pid_t *nested; /* inits of namespaces below the root's */
	size_t n_nested;
	int undo;
};

static bool is_living(const struct task *t)
{
	return t->state != TASK_DEAD;
}

static int write_byte(int fd)
{
	return write(fd, "", 1) == 1 ? 0 : -errno;
}

/* In the guardian, which shares the descriptors. */
static int fire_forward(const struct undo *u)
{
	return u->fd >= 0 ? write_byte(u->fd) : kill(u->pid, SIGKILL) ? -errno : 0;
}

static int open_first(struct kill_once *k)
{
	int ends[2], err;
	char path[48];

	if (pipe2(ends, O_CLOEXEC))
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", ends[0]);
	k->fds[0] = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	err = k->fds[0] < 0 ? -errno : 0;
	k->n = !err;
	close(ends[0]);
	close(ends[1]);
	return err;
}

/* The owner first: with O_ASYNC, and a signal without an owner, nothing is sent. */
static int arm_task(struct kill_once *k, pid_t pid)
{
	char path[48];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", k->fds[0]);
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	k->fds[k->n++] = fd;
	if (fcntl(fd, F_SETOWN, pid) || fcntl(fd, F_SETSIG, SIGKILL) || fcntl(fd, F_SETFL, O_NONBLOCK | O_ASYNC))
		return -errno;
	return 0;
}

static int arm_all(struct arena *a, struct kill_once *k, const struct tree *tree)
{
	int err = open_first(k);

	for (size_t i = 0; !err && i < tree->n_tasks; i++) {
		const struct task *t = tree->tasks[i];

		if (!is_living(t))
			continue;
		err = arm_task(k, task_id(t));
		if (pid_depth(tree, t->vpid) && pid_number_for(tree, t, t->vpid) == 1)
			arena_push(a, &k->nested, &k->n_nested, task_id(t));
	}
	return err;
}

static int note_forward(struct dump *d, struct kill_once *k)
{
	struct undo u = {
		.type = FORWARD_CALL,
		.call = fire_forward,
		.while_stopped = true,
		.fd = k->init ? -1 : k->fds[0],
		.pid = k->init,
		.start_time = k->init ? proc_start_time(k->init) : 0,
	};

	k->undo = guardian_note(d->guardian, &u);
	return MIN(k->undo, 0);
}

int kill_once_prepare(struct dump *d, struct kill_once **kp)
{
	const struct task *root = d->tree.tasks[0];
	struct kill_once *k = arena_new_of(d->arena, struct kill_once);
	int err = 0;

	k->undo = -1;
	k->fds = arena_array(d->arena, int, d->tree.n_tasks + 1);
	if (root->vpid.v == 1)
		k->init = task_id(root);
	else
		err = arm_all(d->arena, k, &d->tree);
	if (err == -EMFILE || err == -ENFILE) {
		log_debug("too few descriptors to kill %zu tasks in one call; they are killed one by one",
		          d->tree.n_tasks);
		kill_once_free(d, k);
		return 0;
	}
	if (err) {
		kill_once_free(d, k);
		return log_errno(err, "fcntl of a pipe that is to kill the tree; was a task killed?");
	}
	*kp = k;
	return note_forward(d, k);
}

void kill_once_fire(struct kill_once *k)
{
	int err = 0;

	if (k)
		err = k->init ? (kill(k->init, SIGKILL) ? -errno : 0) : write_byte(k->fds[0]);
	for (size_t i = 0; k && i < k->n_nested; i++)
		kill(k->nested[i], SIGKILL);
	if (err)
		log_errno(err, "killing the tree in one call; its tasks are killed one by one");
}

void kill_once_free(struct dump *d, struct kill_once *k)
{
	if (!k)
		return;
	if (k->undo >= 0)
		guardian_drop(d->guardian, k->undo);
	while (k->n > 0)
		close(k->fds[--k->n]);
	k->undo = -1;
}
