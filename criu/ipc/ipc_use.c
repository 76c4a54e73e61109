/* SPDX-License-Identifier: GPL-2.0-only */
#include "ipc/ipc_use.h"

#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "arch/arch.h"
#include "lib/log.h"
#include "proc/proc.h"

#define CLOCK_SLACK 2 /* seconds: clock ticks, and a clock that was set */

static void note_waiters(struct dump *d, const struct task *t, long call, long other_call, struct ipc_waiters *w)
{
	for (size_t i = 0; i < t->n_threads; i++) {
		const struct dump_thread *th = t->threads[i].dump;
		uint64_t arg;
		long nr = th && th->regs ? arch_regs_interrupted(th->regs, &arg) : -1;

		if (nr >= 0 && (nr == call || nr == other_call)) {
			struct ipc_waiter waiter = { (int)arg, t };

			arena_push(d->arena, &w->v, &w->n, waiter);
		}
	}
}

void ipc_waiters_find(struct dump *d, const struct ipc_ns *ns, long call, long other_call, struct ipc_waiters *w)
{
	for (size_t i = 0; i < d->tree.n_tasks; i++)
		if (ipc_ns_of_dumped(d, d->tree.tasks[i]) == ns)
			note_waiters(d, d->tree.tasks[i], call, other_call, w);
}

const struct task *ipc_waiters_on(const struct ipc_waiters *w, int id)
{
	for (size_t i = 0; i < w->n; i++)
		if (w->v[i].id == id)
			return w->v[i].task;
	return NULL;
}

/* A process that was started later cannot be the one: it has the pid of another one, which is gone. */
static bool lived_at(pid_t pid, int64_t when)
{
	struct timespec now, up;
	struct proc_stat stat;
	int proc_fd = proc_open(pid);
	bool known = proc_fd >= 0 && !proc_read_stat(proc_fd, 0, &stat);

	if (proc_fd >= 0)
		close(proc_fd);
	if (!known || stat.state == 'Z' || stat.state == 'X')
		return false;
	clock_gettime(CLOCK_REALTIME, &now);
	clock_gettime(CLOCK_BOOTTIME, &up);
	return now.tv_sec - up.tv_sec + (int64_t)stat.start_time / sysconf(_SC_CLK_TCK) <= when + CLOCK_SLACK;
}

bool ipc_is_outside(const struct tree *tree, pid_t pid, int64_t last)
{
	return pid > 0 && pid != getpid() && !tree_find_ours(tree, pid) && lived_at(pid, last);
}
