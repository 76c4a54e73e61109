/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Private mappings of a file with the page of zeros in them, which smaps does not count as a page of the task's own:
 * put there by userfaultfd, which watches no more, or by KSM (use_zero_pages). Beside them mappings that have no page
 * of their own, one that was written to, and one with a page in each place.
 *
 * zdtm: needs-root
 */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "zdtm.h"

#define PAGES 8
#define SIZE  (PAGES * 4096UL)

static char *map_file(int fd)
{
	char *p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

	zdtm_must(p != MAP_FAILED);
	return p;
}

static void put_zeros(int uffd, char *p, int page)
{
	struct uffdio_register all = { { (unsigned long)p, SIZE }, UFFDIO_REGISTER_MODE_MISSING, 0 };
	struct uffdio_zeropage zero = { { (unsigned long)p + (unsigned long)page * 4096, 4096 }, 0, 0 };

	zdtm_must(!ioctl(uffd, UFFDIO_REGISTER, &all));
	zdtm_must(!ioctl(uffd, UFFDIO_ZEROPAGE, &zero));
	zdtm_must(!ioctl(uffd, UFFDIO_UNREGISTER, &all.range));
}

/* wrote: a page with 'w' in it, zeroed: one with zeros; -1: none. */
static void check_pages(const char *what, const char *p, int wrote, int zeroed)
{
	for (int i = 0; i < PAGES; i++) {
		char want = i == wrote ? 'w' : i == zeroed ? 0 : 'A';

		zdtm_check(p[i * 4096] == want && p[i * 4096 + 4095] == (want == 'w' ? 'A' : want),
		           "%s: page %d has %d", what, i, p[i * 4096]);
	}
}

int main(void)
{
	int fd = memfd_create("zero page", MFD_CLOEXEC), uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct uffdio_api api = { .api = UFFD_API };
	char page[4096], *plain, *zeroed, *written, *both, *read_only;

	if (uffd < 0)
		zdtm_skip("userfaultfd: %s", strerror(errno));
	zdtm_must(!ioctl(uffd, UFFDIO_API, &api));
	memset(page, 'A', sizeof(page));
	zdtm_must(fd >= 0 && !ftruncate(fd, SIZE));
	zeroed = map_file(fd);
	both = map_file(fd);
	put_zeros(uffd, zeroed, 3); /* while the file has no page there */
	put_zeros(uffd, both, 5);
	for (int i = 0; i < PAGES; i++)
		zdtm_must(pwrite(fd, page, sizeof(page), i * 4096) == sizeof(page));
	plain = map_file(fd);
	written = map_file(fd);
	read_only = map_file(fd);
	zdtm_must(!mprotect(read_only, SIZE, PROT_READ));
	close(uffd);
	written[2 * 4096] = 'w';
	both[4096] = 'w';
	check_pages("before: plain", plain, -1, -1);
	check_pages("before: zeroed", zeroed, -1, 3);
	zdtm_ready();
	zdtm_wait();
	check_pages("plain", plain, -1, -1);
	check_pages("zeroed", zeroed, -1, 3);
	check_pages("written", written, 2, -1);
	check_pages("both", both, 1, 5);
	check_pages("read-only", read_only, -1, -1);
	zdtm_pass();
}
