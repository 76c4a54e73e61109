/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory in which every page is known, in two processes that share none of it. Afterwards 8 threads look at all of it
 * at once, while others move, drop, unmap and read it, fork and execute programs: what lazy_pages.py does while pages
 * are still missing, and what has to work without that, too.
 *
 * zdtm: timeout 120
 */
#include <pthread.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "zdtm.h"

#define PAGE    4096UL
#define MIB     (1UL << 20)
#define THREADS 8

static size_t size = 48 * MIB;
static unsigned char *big, *moved, *cut, *dropped, *holes, *fixed;

/* What a page of a region begins and ends with; never zero. */
static uint64_t word(unsigned region, size_t page, unsigned which)
{
	return (uint64_t)region << 56 | (uint64_t)page << 8 | which;
}

static void fill(unsigned char *at, unsigned region, size_t page)
{
	uint64_t *p = (uint64_t *)(at + page * PAGE);

	p[0] = word(region, page, 1);
	p[PAGE / 8 - 1] = word(region, page, 2);
}

static int right(const unsigned char *at, unsigned region, size_t page)
{
	const volatile uint64_t *p = (const volatile uint64_t *)(at + page * PAGE);

	return p[0] == word(region, page, 1) && p[PAGE / 8 - 1] == word(region, page, 2);
}

static unsigned char *make(size_t len, unsigned region)
{
	unsigned char *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	zdtm_must(at != MAP_FAILED);
	for (size_t i = 0; i < len / PAGE; i++)
		fill(at, region, i);
	return at;
}

static void check_pages(const char *who, const unsigned char *at, unsigned region, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		if (!zdtm_check(right(at, region, i), "%s: page %zu of region %u is %llx", who, i, region,
		                *(const unsigned long long *)(at + i * PAGE)))
			return;
}

static void check_zero(const char *who, const unsigned char *at, size_t pages)
{
	for (size_t i = 0; i < pages * PAGE; i += 512)
		if (!zdtm_check(!at[i], "%s: byte %zu is %d", who, i, at[i]))
			return;
}

static int go; /* futexes and locks would be in the memory that is looked at */

/* Each in an order of its own. */
static void *look(void *arg)
{
	size_t n = size / PAGE, step = 2 * (size_t)(uintptr_t)arg + 101, at = (size_t)(uintptr_t)arg * n / THREADS;

	while (!__atomic_load_n(&go, __ATOMIC_ACQUIRE))
		zdtm_nap();
	while (n % step == 0)
		step += 2;
	for (size_t i = 0; i < n; i++, at = (at + step) % n)
		if (!right(big, 1, at)) {
			check_pages("a thread", big, 1, at, at + 1);
			break;
		}
	return NULL;
}

/* ---- what is done to it meanwhile ---- */

static void fork_and_look(int depth)
{
	pid_t pid = fork();
	int status;

	zdtm_check(pid >= 0, "fork: %s", strerror(errno));
	if (pid > 0) {
		waitpid(pid, &status, 0);
		zdtm_check(!status, "a child ended with %x", status);
		return;
	}
	if (depth)
		fork_and_look(depth - 1);
	check_pages("a child", dropped, 4, 0, 64);
	check_pages("a child", big, 1, (size_t)depth * 1000, size / PAGE);
	_exit(0);
}

static void execute(void)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		execl("/bin/true", "true", NULL);
		_exit(9);
	}
	waitpid(pid, &status, 0);
	zdtm_check(!status, "a program ended with %x", status);
}

/* To a larger place, so that its new end has never been; what is mapped in the old one is new. */
static void move(void)
{
	size_t len = 8 * MIB;
	unsigned char *place = mmap(NULL, 2 * len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *old = moved, *new;

	check_pages("before it moves", moved, 2, 100, 200);
	moved = mremap(moved, len, len + MIB, MREMAP_MAYMOVE | MREMAP_FIXED, place);
	zdtm_check(moved == place, "mremap: %s", strerror(errno));
	new = mmap(old, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	check_zero("in the place of what moved", new, 512);
	check_pages("moved", moved, 2, 0, len / PAGE);
	check_zero("behind what moved", moved + len, 256);
}

static void unmap(void)
{
	unsigned char *new;

	munmap(cut + MIB, 3 * MIB);
	new = mmap(cut + 2 * MIB, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	check_zero("mapped anew", new, MIB / PAGE);
	check_pages("before what was unmapped", cut, 3, 0, MIB / PAGE);
	check_pages("behind what was unmapped", cut, 3, 4 * MIB / PAGE, 8 * MIB / PAGE);
}

static void drop(void)
{
	madvise(dropped + MIB, 2 * MIB, MADV_DONTNEED);
	madvise(dropped + 5 * MIB + PAGE, 7 * PAGE, MADV_DONTNEED);
	check_zero("dropped", dropped + MIB, 2 * MIB / PAGE);
	check_zero("dropped in between", dropped + 5 * MIB + PAGE, 7);
	check_pages("not dropped", dropped, 4, 0, MIB / PAGE);
	check_pages("not dropped", dropped, 4, 3 * MIB / PAGE, 5 * MIB / PAGE + 1);
	check_pages("not dropped", dropped, 4, 5 * MIB / PAGE + 8, 8 * MIB / PAGE);
}

/* Every third page was never touched. */
static void look_at_holes(void)
{
	for (size_t i = 0; i < 8 * MIB / PAGE; i++) {
		if (i % 3)
			check_pages("between holes", holes, 5, i, i + 1);
		else
			check_zero("a hole", holes + i * PAGE, 1);
	}
}

/* The kernel reads and writes it: a missing page is no EFAULT. */
static void call_with_it(void)
{
	static char bytes[PAGE];
	int p[2];

	zdtm_check(!pipe(p), "pipe: %s", strerror(errno));
	for (size_t i = 0; i < 8 * MIB / PAGE; i += 37) {
		zdtm_check(write(p[1], fixed + i * PAGE, PAGE) == PAGE, "write of page %zu: %s", i, strerror(errno));
		zdtm_check(read(p[0], bytes, PAGE) == PAGE && right((unsigned char *)bytes, 6, 0) == !i,
		           "page %zu by a pipe", i);
	}
	check_pages("read-only", fixed, 6, 0, 8 * MIB / PAGE);
	close(p[0]);
	close(p[1]);
}

static void setup(void)
{
	big = make(size, 1);
	moved = make(8 * MIB, 2);
	cut = make(8 * MIB, 3);
	dropped = make(8 * MIB, 4);
	fixed = make(8 * MIB, 6);
	mprotect(fixed, 8 * MIB, PROT_READ);
	holes = mmap(NULL, 8 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	madvise(holes, 8 * MIB, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < 8 * MIB / PAGE; i++)
		if (i % 3)
			fill(holes, 5, i);
}

static void do_all(void)
{
	__atomic_store_n(&go, 1, __ATOMIC_RELEASE);
	fork_and_look(2);
	move();
	execute();
	unmap();
	drop();
	fork_and_look(1);
	look_at_holes();
	call_with_it();
}

/* A program of its own, that shares no page with the first one. */
static int second(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setup();
	zdtm_touch("second");
	zdtm_wait();
	do_all();
	check_pages("the second program", big, 1, 0, size / PAGE);
	return 0;
}

int main(int argc, char **argv)
{
	char second_name[] = "second", *args[] = { argv[0], second_name, NULL };
	pthread_t thread[THREADS];
	extern char **environ;
	int status;
	pid_t pid;

	if (argc > 1 && !strcmp(argv[1], "second"))
		return second();
	if (argc > 1)
		size = strtoul(argv[1], NULL, 10) * MIB;
	zdtm_must(!posix_spawn(&pid, "/proc/self/exe", NULL, NULL, args, environ));
	setup();
	for (size_t i = 0; i < THREADS; i++)
		zdtm_must(!pthread_create(&thread[i], NULL, look, (void *)i));
	while (access(zdtm_path("second"), F_OK))
		zdtm_nap();
	zdtm_ready();
	zdtm_wait();
	do_all();
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	zdtm_check(waitpid(pid, &status, 0) == pid && !status, "the second program ended with %x", status);
	zdtm_pass();
}
