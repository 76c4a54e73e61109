/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Has pages other than before, in ways in which the kernel leaves them the mark of a page that nobody has written to.
 *
 * file: pages of a private mapping of a file, dropped and written to again. It stops, in a signal's handler, where the
 *       new page is there already, and the store that asked for it is still to come.
 * huge: a page of hugetlb memory, dropped and read.
 * own:  the program notes writes with a userfaultfd of its own, from a moment of its own on.
 * idle: the program has a userfaultfd that watches nothing.
 * ring: an io_uring in memory of the program's own, which the kernel writes to without the page table.
 */
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "zdtm.h"

#define PAGE      4096UL
#define HUGE_PAGE (2UL << 20)
#define PAGES     4096UL
#define FILE_WORD 0x66696c65U
#define OLD       1U
#define NEW       2U
#define NO_MMAP   (1U << 14) /* IORING_SETUP_NO_MMAP */
#define WP_ASYNC  (1U << 15)

static unsigned char *mem;
static volatile size_t now;
static volatile sig_atomic_t is_dropped, caught;

static unsigned *words(size_t page)
{
	return (unsigned *)(void *)(mem + page * PAGE);
}

static void fill(void *page, unsigned value)
{
	for (size_t k = 0; k < PAGE / 4; k++)
		((unsigned *)page)[k] = value;
}

/* 0: it is not wanted, this is to be verified as it is. */
static int await_go(void)
{
	while (access(zdtm_path("go"), F_OK)) {
		if (!access(zdtm_path("verify"), F_OK))
			return 0;
		zdtm_nap();
	}
	return 1;
}

/* The page is there and is its own; the store of main() has not been made. */
static int is_between(void)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry = 0;

	zdtm_must(pread(fd, &entry, sizeof(entry), (off_t)((uintptr_t)words(now) / PAGE * 8)) == sizeof(entry));
	close(fd);
	return entry >> 63 && !(entry >> 61 & 1) && *words(now) == FILE_WORD;
}

static void look(int sig)
{
	const struct itimerval none = { 0 };

	(void)sig;
	if (!is_dropped || caught || !is_between())
		return;
	caught = 1;
	setitimer(ITIMER_REAL, &none, NULL);
	zdtm_touch("dropped");
	zdtm_wait();
}

static void drop_until_caught(void)
{
	const struct itimerval often = { { 0, 30 }, { 0, 30 } };

	signal(SIGALRM, look);
	setitimer(ITIMER_REAL, &often, NULL);
	for (size_t i = 0; i < PAGES && !caught; i++) {
		now = i;
		zdtm_must(!madvise(words(i), PAGE, MADV_DONTNEED));
		is_dropped = 1;
		*(volatile unsigned *)words(i) = NEW;
		is_dropped = 0;
	}
	zdtm_check(caught, "no signal came where the page was there and not written to");
}

static void of_file(void)
{
	unsigned char bytes[PAGE];
	int fd = open("dropped.data", O_RDWR | O_CREAT | O_TRUNC, 0600);

	fill(bytes, FILE_WORD);
	for (size_t i = 0; i < PAGES; i++)
		zdtm_must(write(fd, bytes, PAGE) == (ssize_t)PAGE);
	mem = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	zdtm_must(mem != MAP_FAILED);
	for (size_t i = 0; i < PAGES; i++)
		fill(words(i), OLD);
	zdtm_ready();
	if (await_go())
		drop_until_caught();
	for (size_t i = 0; i < PAGES; i++) {
		unsigned first = caught && i <= now ? NEW : OLD, rest = caught && i <= now ? FILE_WORD : OLD;
		unsigned *w = words(i);

		if (!zdtm_check(w[0] == first && w[1] == rest && w[PAGE / 4 - 1] == rest,
		                "page %zu of %zu: %x %x %x, not %x %x", i, (size_t)now, w[0], w[1], w[PAGE / 4 - 1],
		                first, rest))
			break;
	}
}

static void of_huge_page(void)
{
	mem = mmap(NULL, HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
	zdtm_must(mem != MAP_FAILED);
	for (size_t i = 0; i < HUGE_PAGE / PAGE; i++)
		fill(words(i), OLD);
	zdtm_ready();
	if (!await_go())
		return;
	zdtm_must(!madvise(mem, HUGE_PAGE, MADV_DONTNEED));
	zdtm_must(!*(volatile unsigned *)words(3));
	zdtm_touch("dropped");
	zdtm_wait();
	for (size_t i = 0; i < HUGE_PAGE / PAGE; i++)
		if (!zdtm_check(!*words(i), "page %zu: %x, not 0", i, *words(i)))
			break;
}

static void of_own_marks(int idle)
{
	struct uffdio_api api = { .api = UFFD_API, .features = WP_ASYNC };
	struct uffdio_register reg = { .mode = UFFDIO_REGISTER_MODE_WP };
	struct uffdio_writeprotect marks = { .mode = UFFDIO_WRITEPROTECT_MODE_WP };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		zdtm_skip("userfaultfd with UFFD_FEATURE_WP_ASYNC: %s", strerror(errno));
	mem = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	zdtm_must(mem != MAP_FAILED);
	reg.range.start = marks.range.start = (uintptr_t)mem;
	reg.range.len = marks.range.len = PAGES * PAGE;
	zdtm_must(idle || !ioctl(fd, UFFDIO_REGISTER, &reg));
	for (size_t i = 0; i < PAGES; i++)
		fill(words(i), OLD);
	zdtm_ready();
	if (!await_go())
		return;
	for (size_t i = 0; i < PAGES; i++)
		fill(words(i), NEW);
	zdtm_must(idle || !ioctl(fd, UFFDIO_WRITEPROTECT, &marks));
	zdtm_touch("dropped");
	zdtm_wait();
	for (size_t i = 0; i < PAGES; i++)
		if (!zdtm_check(*words(i) == NEW, "page %zu: %x, not %x", i, *words(i), NEW))
			break;
}

/* The program's last store is from before "go". */
static void of_ring(void)
{
	struct io_uring_params p = { .flags = NO_MMAP };
	unsigned *cq_tail;
	int fd;

	mem = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	zdtm_must(mem != MAP_FAILED);
	memcpy((char *)&p.cq_off + 32, &mem, sizeof(mem)); /* cq_off.user_addr */
	mem += PAGE;
	memcpy((char *)&p.sq_off + 32, &mem, sizeof(mem)); /* the entries: zeros are IORING_OP_NOP */
	mem -= PAGE;
	fd = (int)syscall(SYS_io_uring_setup, 4, &p);
	if (fd < 0)
		zdtm_skip("io_uring_setup with IORING_SETUP_NO_MMAP: %s", strerror(errno));
	cq_tail = (unsigned *)(void *)(mem + p.cq_off.tail);
	*(unsigned *)(void *)(mem + p.sq_off.tail) = 1;
	zdtm_ready();
	if (!await_go())
		return;
	zdtm_must(syscall(SYS_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1);
	close(fd);
	zdtm_must(*cq_tail == 1);
	zdtm_touch("dropped");
	zdtm_wait();
	zdtm_check(*cq_tail == 1, "the ring has %u completions, not 1", *cq_tail);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "huge"))
		of_huge_page();
	else if (argc > 1 && (!strcmp(argv[1], "own") || !strcmp(argv[1], "idle")))
		of_own_marks(!strcmp(argv[1], "idle"));
	else if (argc > 1 && !strcmp(argv[1], "ring"))
		of_ring();
	else
		of_file();
	zdtm_pass();
	return 0;
}
