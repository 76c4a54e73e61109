/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For hugetlb.py: huge pages of hugetlb that userfaultfd watches: private ones and a memfd's, missing, of zeros, with
 * bytes; write-protected ones. A thread answers. With an argument the memfd has holes, which is refused.
 */
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "../zdtm.h"

#define H (2UL << 20)

static struct {
	const char *name;
	unsigned char *at;
	int fd, mode;
	volatile int faults;
} area[3] = { { "private", NULL, -1, 1, 0 }, { "memfd", NULL, -1, 1, 0 }, { "write-protected", NULL, -1, 2, 0 } };

static int copy(int i, unsigned page, int byte)
{
	unsigned char *buf = mmap(NULL, H, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffdio_copy c = { .dst = (uintptr_t)(area[i].at + page * H), .src = (uintptr_t)buf, .len = H };
	int ret;

	memset(buf, byte, H);
	ret = ioctl(area[i].fd, UFFDIO_COPY, &c);
	munmap(buf, H);
	return ret;
}

static int protect(int i, unsigned page, int mode)
{
	struct uffdio_writeprotect wp = { .range = { (uintptr_t)(area[i].at + page * H), H }, .mode = (unsigned)mode };

	return ioctl(area[i].fd, UFFDIO_WRITEPROTECT, &wp);
}

static void make(int i, int flags, int memfd)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .range = { 0, 4 * H }, .mode = (unsigned)area[i].mode };

	area[i].fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (area[i].fd < 0 || ioctl(area[i].fd, UFFDIO_API, &api))
		zdtm_skip("userfaultfd: %s", strerror(errno));
	area[i].at = mmap(NULL, 4 * H, PROT_READ | PROT_WRITE, flags, memfd, 0);
	zdtm_must(area[i].at != MAP_FAILED);
	reg.range.start = (uintptr_t)area[i].at;
	if (ioctl(area[i].fd, UFFDIO_REGISTER, &reg))
		zdtm_skip("userfaultfd of huge pages, %s: %s", area[i].name, strerror(errno));
}

static void *handler(void *arg)
{
	for (;;) {
		struct pollfd p[3];
		struct uffd_msg m;

		for (int i = 0; i < 3; i++)
			p[i] = (struct pollfd) { area[i].fd, POLLIN, 0 };
		poll(p, 3, 50);
		for (int i = 0; i < 3; i++) {
			unsigned page;

			if (!(p[i].revents & POLLIN) || read(area[i].fd, &m, sizeof(m)) != sizeof(m))
				continue;
			page = (unsigned)((m.arg.pagefault.address - (uintptr_t)area[i].at) / H);
			area[i].faults++;
			zdtm_check(!(i == 2 ? protect(i, page, 0) : copy(i, page, 100 + (int)page)), "%s: page %u: %s",
			           area[i].name, page, strerror(errno));
		}
	}
	return NULL;
}

static void expect(int i, unsigned page, int byte, int faults)
{
	int before = area[i].faults, is = area[i].at[page * H + 5];

	zdtm_check(is == byte && area[i].faults - before == faults, "%s: page %u has %d after %d faults", area[i].name,
	           page, is, area[i].faults - before);
}

int main(int argc, char **argv)
{
	int memfd = memfd_create("huge", MFD_HUGETLB);
	pthread_t thread;

	zdtm_must(memfd >= 0 && !ftruncate(memfd, 4 * H));
	make(0, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1);
	make(1, MAP_SHARED, memfd);
	for (int i = 0; i < 2; i++)
		zdtm_must(!copy(i, 0, 7) && !copy(i, 2, 0));
	if (argc < 2)
		zdtm_must(!copy(1, 1, 101) && !copy(1, 3, 103));
	make(2, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1);
	area[2].at[5] = 1;
	area[2].at[H + 5] = 2;
	zdtm_must(!protect(2, 1, 1) && !pthread_create(&thread, NULL, handler, NULL));
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < 2; i++) {
		expect(i, 0, 7, 0);
		expect(i, 2, 0, 0);
		expect(i, 1, 101, i == 0 || argc > 1);
		expect(i, 3, 103, i == 0 || argc > 1);
	}
	expect(2, 0, 1, 0);
	expect(2, 1, 2, 0);
	area[2].at[9] = 1;
	zdtm_check(!area[2].faults, "a page that was not protected is");
	area[2].at[H + 9] = 1;
	zdtm_check(area[2].faults == 1, "%d faults of a protected page", area[2].faults);
	zdtm_pass();
}
