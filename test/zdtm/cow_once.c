/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * MIB of memory that was filled before KIDS children were forked, each of which has a child of its own. Each has
 * written to some pages, given some back; the last ones have moved a piece and protected half. In sum it is enough for
 * being stored once by itself.
 *
 * zdtm: victim points random
 */
#include <sys/mman.h>

#include "zdtm.h"

#define KIDS  3
#define MIB   40UL
#define PAGE  4096UL
#define PAGES (MIB * 256)

static unsigned char *mem, *moved, *apart, *kept;

/* What page i holds at first; every 97th is zeros. */
static unsigned first(size_t i)
{
	return i % 97 ? (unsigned)(i * 2654435761U) | 1 : 0;
}

static int has(const unsigned char *page, unsigned value)
{
	const unsigned *w = (const void *)page;

	return w[0] == value && w[PAGE / 8] == value && w[PAGE / 4 - 1] == value;
}

static void fill(unsigned char *page, unsigned value)
{
	for (size_t k = 0; k < PAGE / 4; k++)
		((unsigned *)(void *)page)[k] = value;
}

/* A task of number `who` (0: the first) has its own pages where i % 64 is who; gave back where i % 64 is who + 16. */
static void differ(int who)
{
	for (size_t i = 0; i < PAGES; i++) {
		if (i % 64 == (size_t)who)
			fill(mem + i * PAGE, 0x1000000U + (unsigned)who);
		if (who && i % 64 == (size_t)who + 16)
			madvise(mem + i * PAGE, PAGE, MADV_DONTNEED);
	}
}

static unsigned expected(const int *line, int n, size_t i)
{
	unsigned value = first(i);

	for (int k = 0; k < n; k++) {
		if (i % 64 == (size_t)line[k])
			value = 0x1000000U + (unsigned)line[k];
		else if (line[k] && i % 64 == (size_t)line[k] + 16)
			value = 0;
	}
	return value;
}

/* line: numbers of those it descends from, and its own. */
static void look(const int *line, int n)
{
	for (size_t i = 0; i < PAGES; i++)
		zdtm_check(has(mem + i * PAGE, expected(line, n, i)), "task %d: page %zu differs", line[n - 1], i);
	for (size_t i = 0; i < 256; i++)
		zdtm_check(has(apart + i * PAGE, first(i)), "task %d: page %zu that is apart", line[n - 1], i);
	for (size_t i = 0; i < 256; i++)
		zdtm_check(has(moved + i * PAGE, first(i)), "task %d: page %zu that was moved", line[n - 1], i);
	for (size_t i = 0; i < 256; i++)
		zdtm_check(has(kept + i * PAGE, first(i)), "task %d: page %zu that is kept", line[n - 1], i);
}

static void await_verify(void)
{
	while (access(zdtm_path("verify"), F_OK))
		zdtm_nap();
}

/* A child, whose child has half of the memory without write permission and the piece elsewhere. */
static void child(int k)
{
	int line[] = { k, k + 4 }, status;
	pid_t pid;

	differ(k);
	pid = fork();
	zdtm_must(pid >= 0);
	if (!pid) {
		differ(k + 4);
		zdtm_must(!mprotect(mem + PAGES / 2 * PAGE, PAGES / 2 * PAGE, PROT_READ));
		moved = mremap(moved, 256 * PAGE, 256 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, moved + (64UL << 20));
		zdtm_must(moved != MAP_FAILED);
		/* The copy that a snapshot makes has it not. */
		zdtm_must(!madvise(kept, 256 * PAGE, MADV_DONTFORK));
		zdtm_touch(k == 1 ? "1" : k == 2 ? "2" : "3");
		await_verify();
		look(line, 2);
		_exit(0);
	}
	await_verify();
	look(line, 1);
	zdtm_must(waitpid(pid, &status, 0) == pid && !status);
	_exit(0);
}

int main(void)
{
	pid_t kids[KIDS];
	int status;

	mem = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	moved = mmap(NULL, 256 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	apart = mmap(NULL, 256 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	kept = mmap(NULL, 256 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	zdtm_must(mem != MAP_FAILED && moved != MAP_FAILED && apart != MAP_FAILED && kept != MAP_FAILED);
	for (size_t i = 0; i < PAGES; i++)
		fill(mem + i * PAGE, first(i));
	for (size_t i = 0; i < 256; i++) {
		fill(moved + i * PAGE, first(i));
		fill(apart + i * PAGE, first(i));
		fill(kept + i * PAGE, first(i));
	}
	for (int k = 0; k < KIDS; k++) {
		kids[k] = fork();
		zdtm_must(kids[k] >= 0);
		if (!kids[k])
			child(k + 1);
	}
	differ(60);
	/* At restore children cannot inherit that piece: it is filled from this task's pages. */
	zdtm_must(!madvise(apart, 256 * PAGE, MADV_DONTFORK));
	while (access(zdtm_path("1"), F_OK) || access(zdtm_path("2"), F_OK) || access(zdtm_path("3"), F_OK))
		zdtm_nap();
	zdtm_ready();
	for (; zdtm_asked(); zdtm_answer())
		look((int[]) { 60 }, 1);
	look((int[]) { 60 }, 1);
	for (int k = 0; k < KIDS; k++)
		zdtm_check(waitpid(kids[k], &status, 0) == kids[k] && !status, "child %d: status %x", k + 1, status);
	zdtm_pass();
}
