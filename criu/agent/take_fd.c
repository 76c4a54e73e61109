/* SPDX-License-Identifier: GPL-2.0-only */
#include "agent/take_fd.h"

#include <sys/syscall.h>

#include "agent/agent.h"
#include "lib/log.h"

int agent_take_fd(const struct task *t, int number, const char *what)
{
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, t->pid, 0);
	_cleanup_close_ int fd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
	int err = fd < 0 ? log_errno(-errno, "%s: pidfd_open or pidfd_getfd of %s", task_name(t), what) : 0;
	struct batch *b = agent_batch(t->restore->agent, "closing what criu has taken");

	batch_call(b, SYS_close, (uint64_t)number);
	err = batch_run(b) ?: err;
	return err ?: move_fd(&fd);
}
