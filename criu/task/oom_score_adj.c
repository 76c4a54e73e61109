/* SPDX-License-Identifier: GPL-2.0-only */
/* How likely the kernel's out-of-memory killer is to choose a process: /proc/PID/oom_score_adj. */
#include <fcntl.h>
#include <inttypes.h>

#include "lib/log.h"
#include "proc/proc.h"
#include "task/answer.h"

static int oom_score_adj_dump(struct dump *d, struct thread *th, const struct answers *ans)
{
	TaskCoreEntry *tc = th->core->tc;
	int64_t value;
	int err = proc_read_number(th->task->dump->proc_fd, "oom_score_adj", &value);

	if (err)
		return log_errno(err, "%s: reading /proc/%d/oom_score_adj", task_name(th->task), th->task->pid);
	tc->has_oom_score_adj = true;
	tc->oom_score_adj = (int32_t)value;
	return 0;
}

static int oom_score_adj_finish(struct restore *r, struct thread *th)
{
	const TaskCoreEntry *tc = th->core->tc;
	_cleanup_close_ int proc_fd = -1;
	_cleanup_close_ int fd = -1;
	int64_t now;

	if (!tc->has_oom_score_adj)
		return 0;
	proc_fd = proc_open(th->tid);
	if (proc_fd < 0 || proc_read_number(proc_fd, "oom_score_adj", &now))
		return log_errno(-ESRCH, "%s: reading /proc/%d/oom_score_adj", task_name(th->task), th->tid);
	if (now == tc->oom_score_adj)
		return 0;
	fd = openat(proc_fd, "oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd < 0 || dprintf(fd, "%d", tc->oom_score_adj) < 0)
		log_warn("%s: its oom_score_adj stays %" PRId64 ", it was %d (%m)", task_name(th->task), now,
		         tc->oom_score_adj);
	return 0;
}

const struct task_part oom_score_adj_part = {
	.name = "oom_score_adj",
	.dump = oom_score_adj_dump,
	.finish = oom_score_adj_finish,
};
