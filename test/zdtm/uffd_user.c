/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A userfaultfd of a process without CAP_SYS_PTRACE, which may have it for its own faults only (UFFD_USER_MODE_ONLY),
 * and memory that is missing.
 *
 * zdtm: no-snapshot userfaultfd watches its memory
 * zdtm: needs-root
 * zdtm: flavour ns
 * zdtm: iters 3
 */
#include <linux/capability.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "zdtm.h"

#define PAGE  4096UL
#define PAGES 8

static volatile int faults;
static int fd;

static void *handler(void *arg)
{
	static unsigned char page[PAGE];
	struct uffd_msg m;

	for (;;) {
		struct uffdio_copy c = { .src = (uintptr_t)page, .len = PAGE };

		if (read(fd, &m, sizeof(m)) != sizeof(m))
			continue;
		faults++;
		memset(page, 'h', PAGE);
		c.dst = m.arg.pagefault.address & ~(PAGE - 1);
		zdtm_check(!ioctl(fd, UFFDIO_COPY, &c) || errno == EEXIST, "UFFDIO_COPY: %s", strerror(errno));
	}
	return NULL;
}

static void drop_ptrace(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2];

	zdtm_must(!syscall(SYS_capget, &head, caps));
	caps[0].effective &= ~(1U << CAP_SYS_PTRACE);
	caps[0].permitted &= ~(1U << CAP_SYS_PTRACE);
	zdtm_must(!syscall(SYS_capset, &head, caps) && !prctl(PR_SET_DUMPABLE, 1));
}

int main(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	volatile unsigned char *at;
	pthread_t thread;

	drop_ptrace();
	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	if (fd < 0)
		zdtm_skip("userfaultfd: %s", strerror(errno));
	at = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	zdtm_must(at != MAP_FAILED);
	*at = 'p';
	reg.range.start = (uintptr_t)at;
	reg.range.len = PAGES * PAGE;
	zdtm_must(!ioctl(fd, UFFDIO_API, &api) && !ioctl(fd, UFFDIO_REGISTER, &reg));
	zdtm_must(!pthread_create(&thread, NULL, handler, NULL));
	zdtm_ready();
	zdtm_wait();
	zdtm_check(*at == 'p' && !faults, "the page that is there: %d", *at);
	for (int i = 1; i < PAGES; i++)
		zdtm_check(at[(unsigned)i * PAGE] == 'h' && faults == i, "page %d: %d faults", i, faults);
	zdtm_pass();
}
