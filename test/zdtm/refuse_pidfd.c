/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A pidfd of a process outside of the tree, which goes on running.
 *
 * zdtm: refuse fd 9: a pidfd of pid [0-9]+ \(.+\), which is outside of the tree
 * zdtm: no-userns signals a process of root
 * zdtm: flavour no pidns
 */
#include "zdtm.h"

int main(void)
{
	int fd = syscall(SYS_pidfd_open, getppid(), 0);

	zdtm_must(fd >= 0 && dup2(fd, 9) == 9);
	close(fd);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(!syscall(SYS_pidfd_send_signal, 9, 0, NULL, 0), "the pidfd does not work any more");
	zdtm_pass();
}
