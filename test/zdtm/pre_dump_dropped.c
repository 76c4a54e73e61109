/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Drops pages that were written to (MADV_DONTNEED) and has them again, other than before, in ways in which the kernel
 * leaves them the mark of a page that nobody has written to.
 *
 * file: pages of a private mapping of a file, dropped and written to again. It stops, in a signal's handler, where the
 *       new page is there already, and the store that asked for it is still to come.
 * huge: a page of hugetlb memory, dropped and read.
 */
#include <sys/mman.h>
#include <sys/time.h>

#include "zdtm.h"

#define PAGE      4096UL
#define HUGE_PAGE (2UL << 20)
#define PAGES     4096UL
#define FILE_WORD 0x66696c65U
#define OLD       1U
#define NEW       2U

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

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "huge"))
		of_huge_page();
	else
		of_file();
	zdtm_pass();
	return 0;
}
