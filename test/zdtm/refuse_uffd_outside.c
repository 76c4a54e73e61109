/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory that userfaultfd watches for a handler outside of the tree, which alone has the descriptor.
 *
 * zdtm: needs-root
 * zdtm: refuse mapping .*: userfaultfd watches it, and no process of the tree has the descriptor
 * zdtm: flavour no pidns
 */
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "zdtm.h"

#define PAGE 4096UL

int main(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	unsigned char *at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_register reg = { .range = { (uintptr_t)at, PAGE }, .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	pid_t test = getpid(), pid;

	if (fd < 0)
		zdtm_skip("userfaultfd: %s", strerror(errno));
	zdtm_must(at != MAP_FAILED && !ioctl(fd, UFFDIO_API, &api) && !ioctl(fd, UFFDIO_REGISTER, &reg));
	pid = fork();
	zdtm_must(pid >= 0);
	if (!pid) { /* its child becomes one of the runner's */
		if (!fork()) {
			struct uffdio_zeropage z = { .range = reg.range };

			setsid();
			while (access(zdtm_path("verify"), F_OK) && !kill(test, 0))
				zdtm_nap();
			ioctl(fd, UFFDIO_ZEROPAGE, &z);
		}
		_exit(0);
	}
	zdtm_must(waitpid(pid, NULL, 0) == pid && !close(fd));
	zdtm_ready();
	zdtm_wait();
	zdtm_check(!*at, "the page has %d", *at);
	zdtm_pass();
}
