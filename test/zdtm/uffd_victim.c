/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory that userfaultfd watches while criu is killed at any point: a page that is there is there, and one that is
 * missing is asked for once.
 *
 * zdtm: no-snapshot userfaultfd watches its memory
 * zdtm: needs-root
 * zdtm: victim points random
 */
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "zdtm.h"

#define PAGE  4096UL
#define PAGES 16

static volatile int faults;
static unsigned char *at;
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
		c.dst = m.arg.pagefault.address & ~(PAGE - 1);
		memset(page, 100 + faults % 100, PAGE);
		zdtm_check(!ioctl(fd, UFFDIO_COPY, &c) || errno == EEXIST, "UFFDIO_COPY: %s", strerror(errno));
	}
	return NULL;
}

int main(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	pthread_t thread;

	fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (fd < 0)
		zdtm_skip("userfaultfd: %s", strerror(errno));
	at = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	zdtm_must(at != MAP_FAILED);
	memset(at, 1, PAGE);
	reg.range.start = (uintptr_t)at;
	reg.range.len = PAGES * PAGE;
	zdtm_must(!ioctl(fd, UFFDIO_API, &api) && !ioctl(fd, UFFDIO_REGISTER, &reg));
	zdtm_must(!pthread_create(&thread, NULL, handler, NULL));
	zdtm_ready();
	while (zdtm_asked()) {
		for (unsigned i = 1; i < PAGES; i++) {
			int before = faults, first = *at, byte;

			zdtm_check(first == 1 && faults == before, "the page that is there: %d", first);
			byte = ((volatile unsigned char *)at)[i * PAGE];
			zdtm_check(byte == 100 + faults % 100 && faults == before + 1, "page %u has %d after %d faults",
			           i, byte, faults - before);
			zdtm_must(!madvise(at + i * PAGE, PAGE, MADV_DONTNEED));
		}
		zdtm_answer();
	}
	zdtm_pass();
}
