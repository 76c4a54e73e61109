/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Many small neighbours in private memory: with pages and without, writable, protected since, never writable, without
 * swap reservation, and in a child that has some of them from its parent. A restore maps many of them by one call. The
 * runner compares the list of mappings and what counts as committed.
 *
 * zdtm: iters 2
 */
#include <sys/mman.h>

#include "zdtm.h"

#define PAGE   4096UL
#define SHAPES 9
#define TIMES  40

/* What becomes of a page, one after the other. */
static const struct {
	int prot, flags;
	int full; /* has contents */
} shape[SHAPES] = {
	{ PROT_READ | PROT_WRITE, 0, 1 },      { PROT_NONE, 0, 0 },  { PROT_READ, 0, 1 },
	{ PROT_READ | PROT_WRITE, 0, 0 },      { PROT_READ, 0, 0 },  { PROT_NONE, 0, 1 },
	{ PROT_READ | PROT_WRITE, 0x4000, 1 }, { PROT_WRITE, 0, 1 }, { PROT_NONE, -1, 0 }, /* 0x4000: MAP_NORESERVE */
};

static unsigned char *page_at(unsigned char *p, int i)
{
	return p + (size_t)i * PAGE;
}

static void make_pages(unsigned char *p, int from, int to, int seed)
{
	for (int i = from; i < to; i++) {
		int k = i % SHAPES, flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED;
		unsigned char *at = page_at(p, i);

		if (shape[k].flags < 0) { /* never writable */
			zdtm_must(mmap(at, PAGE, PROT_NONE, flags, -1, 0) == at);
			continue;
		}
		if (shape[k].flags)
			zdtm_must(mmap(at, PAGE, PROT_READ | PROT_WRITE, flags | shape[k].flags, -1, 0) == at);
		if (shape[k].full)
			memset(at, seed + i, PAGE);
		zdtm_must(!mprotect(at, PAGE, shape[k].prot));
	}
}

static void check_pages(unsigned char *p, int from, int to, int seed)
{
	for (int i = from; i < to; i++) {
		int k = i % SHAPES;
		unsigned char *at = page_at(p, i), want = shape[k].full ? (unsigned char)(seed + i) : 0;

		if (!(shape[k].prot & PROT_READ))
			zdtm_must(!mprotect(at, PAGE, PROT_READ));
		for (size_t b = 0; b < PAGE; b += 511)
			if (!zdtm_check(at[b] == want, "page %d, byte %zu: %d instead of %d", i, b, at[b], want))
				return;
	}
}

int main(void)
{
	int n = SHAPES * TIMES, status;
	unsigned char *p = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t pid;

	zdtm_must(p != MAP_FAILED);
	make_pages(p, 0, n, 1);
	pid = fork();
	zdtm_must(pid >= 0);
	if (!pid) { /* the first half is its parent's, the second its own */
		zdtm_must(mmap(page_at(p, n / 2), n / 2 * PAGE, PROT_READ | PROT_WRITE,
		               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == page_at(p, n / 2));
		make_pages(p, n / 2, n, 7);
		zdtm_ready();
		zdtm_wait();
		check_pages(p, 0, n / 2, 1);
		check_pages(p, n / 2, n, 7);
		_exit(0);
	}
	zdtm_wait();
	check_pages(p, 0, n, 1);
	zdtm_check(waitpid(pid, &status, 0) == pid && !status, "the child: %x", status);
	zdtm_pass();
}
