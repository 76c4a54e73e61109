/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A userfaultfd that watches nothing, and that two processes have: it may be for the memory of either.
 *
 * zdtm: needs-root
 * zdtm: refuse fd 100: a userfaultfd that watches nothing, and that several processes have
 */
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>

#include "zdtm.h"

int main(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	pid_t pid;

	if (fd < 0)
		zdtm_skip("userfaultfd: %s", strerror(errno));
	zdtm_must(!ioctl(fd, UFFDIO_API, &api) && dup2(fd, 100) == 100 && !close(fd));
	pid = fork();
	zdtm_must(pid >= 0);
	if (!pid)
		for (;;)
			pause();
	zdtm_ready();
	zdtm_wait();
	zdtm_check(fcntl(100, F_GETFD) >= 0, "the descriptor is gone");
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	zdtm_pass();
}
