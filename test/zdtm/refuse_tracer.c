/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A process that traces another one of its tree (strace, a debugger): a task has one tracer, so criu cannot hold that.
 *
 * zdtm: refuse thread [0-9]+ is traced by pid [0-9]+ \(refuse_tracer\); end that first
 */
#include <sys/ptrace.h>

#include "zdtm.h"
#include "zdtm_until.h"

int main(void)
{
	int status;
	pid_t kid = fork();

	zdtm_must(kid >= 0);
	if (!kid) {
		zdtm_up();
		zdtm_wait();
		_exit(7);
	}
	zdtm_until_up(1);
	zdtm_must(!ptrace(PTRACE_SEIZE, kid, NULL, (void *)PTRACE_O_TRACEEXIT));
	zdtm_ready();
	zdtm_wait();
	/* Its end is seen first as a stop. */
	zdtm_check(waitpid(kid, &status, 0) == kid && WIFSTOPPED(status) && status >> 16 == PTRACE_EVENT_EXIT,
	           "tracee: %x", status);
	zdtm_check(!ptrace(PTRACE_DETACH, kid, NULL, NULL), "PTRACE_DETACH: %s", strerror(errno));
	zdtm_check(waitpid(kid, &status, 0) == kid && WIFEXITED(status) && WEXITSTATUS(status) == 7, "child: %x",
	           status);
	zdtm_pass();
}
