/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory of many kinds, for what a checkpoint does with the bytes of pages: noise, text, zeros with pages in between,
 * pages far from one another, a huge page; private, shared, and in a memfd with holes; the private ones shared with
 * children, which have changed some pages. Each process knows the checksum of all that it sees. Argument: MiB of noise
 * and of text each (4).
 *
 * zdtm: mode snapshot
 * zdtm: restores 3
 * zdtm: flavour ns
 * zdtm: victim points random
 */
#include <sys/mman.h>
#include <sys/param.h>

#include "zdtm.h"

#define KIDS 3
#define PAGE 4096UL
#define MIB  (1UL << 20)

enum kind { NOISE, WORDS, SPARSE, FAR, HUGE, KINDS };
struct area {
	uint64_t *at;
	size_t len;
};

static struct area areas[3 * KINDS];
static size_t n_areas;
static struct shared {
	int ready, asked, bad, answered;
} * sh;
static uint64_t dice = 88172645463325252ULL;

static uint64_t roll(void)
{
	dice ^= dice << 13;
	dice ^= dice >> 7;
	return dice ^= dice << 17;
}

static void fill_page(uint64_t *page, enum kind kind)
{
	uint64_t word = roll();

	for (size_t i = 0; i < PAGE / 8; i++)
		page[i] = kind == WORDS ? word + i % 17 : roll();
}

static void fill(struct area *a, enum kind kind)
{
	for (size_t i = 0; i < a->len / PAGE; i++)
		if (kind == NOISE || kind == WORDS || (kind == SPARSE && roll() % 3) || (kind != SPARSE && !(i % 37)))
			fill_page(a->at + i * PAGE / 8, kind);
		else if (kind == SPARSE)
			a->at[i * PAGE / 8] = 0; /* there, and zeros */
}

static void add_area(enum kind kind, size_t len, int flags, int fd)
{
	struct area *a = &areas[n_areas++];

	zdtm_must(fd < 0 || !ftruncate(fd, (off_t)len));
	a->len = len;
	a->at = mmap(NULL, len, PROT_READ | PROT_WRITE, flags | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
	zdtm_must(a->at != MAP_FAILED);
	if (kind == HUGE)
		madvise(a->at, len, MADV_HUGEPAGE);
	fill(a, kind);
}

static uint64_t sum_all(void)
{
	uint64_t sum = 1;

	for (size_t k = 0; k < n_areas; k++)
		for (size_t i = 0; i < areas[k].len / 8; i++)
			sum = sum * 31 + areas[k].at[i];
	return sum;
}

/* Changes what only this process sees. */
static void kid(int number)
{
	uint64_t sum;
	int seen = 0;

	for (enum kind k = 0; k < KINDS; k++) /* the private ones come first */
		for (size_t i = (size_t)number; i < areas[k].len / PAGE; i += 23)
			areas[k].at[i * PAGE / 8 + 5] = roll() + (unsigned)number;
	sum = sum_all();
	__atomic_fetch_add(&sh->ready, 1, __ATOMIC_SEQ_CST);
	for (;; zdtm_nap()) {
		int asked = __atomic_load_n(&sh->asked, __ATOMIC_SEQ_CST);

		if (asked < 0)
			_exit(0);
		if (asked == seen)
			continue;
		seen = asked;
		if (sum_all() != sum)
			__atomic_fetch_add(&sh->bad, 1, __ATOMIC_SEQ_CST);
		__atomic_fetch_add(&sh->answered, 1, __ATOMIC_SEQ_CST);
	}
}

static void look(uint64_t sum)
{
	zdtm_check(sum_all() == sum, "the memory of the parent is another than it was");
	sh->answered = 0;
	__atomic_fetch_add(&sh->asked, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&sh->answered, __ATOMIC_SEQ_CST) < KIDS)
		zdtm_nap();
	zdtm_check(!sh->bad, "the memory of %d children is another than it was", sh->bad);
}

int main(int argc, char **argv)
{
	size_t much = MIB * (argc > 1 ? (size_t)atoi(argv[1]) : 4);
	const size_t sizes[KINDS] = { much, much, 3 * MIB + 5 * PAGE, 8 * MIB, 4 * MIB };
	uint64_t sum;

	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	zdtm_must(sh != MAP_FAILED);
	for (enum kind k = 0; k < KINDS; k++)
		add_area(k, sizes[k], MAP_PRIVATE, -1);
	for (enum kind k = 0; k < HUGE; k++) {
		add_area(k, MIN(sizes[k], 3 * MIB), MAP_SHARED, -1);
		add_area(k, MIN(sizes[k], 3 * MIB), MAP_SHARED, memfd_create("kinds", MFD_CLOEXEC));
	}
	sum = sum_all();
	for (int i = 0; i < KIDS; i++)
		if (!fork())
			kid(i);
	while (__atomic_load_n(&sh->ready, __ATOMIC_SEQ_CST) < KIDS)
		zdtm_nap();
	zdtm_ready();
	while (zdtm_asked()) {
		look(sum);
		zdtm_answer();
	}
	look(sum);
	__atomic_store_n(&sh->asked, -1, __ATOMIC_SEQ_CST);
	while (wait(NULL) > 0 || errno == EINTR)
		;
	zdtm_pass();
}
