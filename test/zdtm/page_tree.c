/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A parent with 3 children, which hold 100 MiB and more in all the ways that pages are dumped: of each its own, what
 * the children have from the parent, what all share, a memfd, pages of zeros in between. Each compares every word of
 * what it sees. (page_server.py sends it elsewhere.)
 *
 * zdtm: restores 2
 * zdtm: victim points random
 */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "zdtm.h"

#define KIDS   3
#define MIB    (1UL << 20)
#define OWN    (24 * MIB)
#define COPIED (8 * MIB)
#define SHARED (12 * MIB)
#define FILED  (4 * MIB)
#define WORDS  512 /* in a page */

struct talk {
	int asked, wrong, answers;
};

static struct talk *talk;
static uint64_t *own, *copied, *shared, *filed;

/* Every 16th page is zeros. */
static uint64_t word(uint64_t whose, size_t i)
{
	return i / WORDS % 16 == 15 ? 0 : (whose << 48) + i * 0x9e3779b97f4aULL + 1;
}

static void fill(uint64_t *mem, size_t size, uint64_t whose)
{
	for (size_t i = 0; i < size / 8; i++)
		if (word(whose, i))
			mem[i] = word(whose, i);
}

static int differs(const uint64_t *mem, size_t size, uint64_t whose)
{
	for (size_t i = 0; i < size / 8; i++)
		if (mem[i] != word(whose, i))
			return 1;
	return 0;
}

static int wrong(uint64_t whose)
{
	return differs(own, OWN, whose) | differs(copied, COPIED, 10) << 1 | differs(shared, SHARED, 11) << 2 |
	       differs(filed, FILED, 12) << 3;
}

static void *map(size_t size, int flags, int fd)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, fd < 0 ? flags | MAP_ANONYMOUS : flags, fd, 0);

	zdtm_must(at != MAP_FAILED);
	return at;
}

static void child(uint64_t k)
{
	int seen = 0;

	fill(own, OWN, k);
	__atomic_add_fetch(&talk->answers, 1, __ATOMIC_SEQ_CST);
	for (;;) {
		while (__atomic_load_n(&talk->asked, __ATOMIC_SEQ_CST) == seen)
			zdtm_nap();
		seen++;
		__atomic_or_fetch(&talk->wrong, wrong(k) << 4 * k, __ATOMIC_SEQ_CST);
		__atomic_add_fetch(&talk->answers, 1, __ATOMIC_SEQ_CST);
	}
}

static void wait_for_answers(void)
{
	for (int i = 0; i < 3000 && __atomic_load_n(&talk->answers, __ATOMIC_SEQ_CST) < KIDS; i++)
		zdtm_nap();
	zdtm_check(talk->answers == KIDS, "%d of %d children answer", talk->answers, KIDS);
	talk->answers = 0;
}

static void look(void)
{
	int ours = wrong(0);

	talk->asked++;
	wait_for_answers();
	zdtm_check(!ours && !talk->wrong, "memory differs: 0x%x, of the children 0x%x", ours, talk->wrong);
}

int main(void)
{
	pid_t kids[KIDS];
	int fd = memfd_create("page_tree", MFD_CLOEXEC), status;

	zdtm_must(fd >= 0 && !ftruncate(fd, FILED));
	talk = map(4096, MAP_SHARED, -1);
	own = map(OWN, MAP_PRIVATE, -1);
	copied = map(COPIED, MAP_PRIVATE, -1);
	shared = map(SHARED, MAP_SHARED, -1);
	filed = map(FILED, MAP_SHARED, fd);
	fill(copied, COPIED, 10);
	fill(shared, SHARED, 11);
	fill(filed, FILED, 12);
	for (int k = 0; k < KIDS; k++) {
		kids[k] = fork();
		zdtm_must(kids[k] >= 0);
		if (!kids[k])
			child((uint64_t)k + 1);
	}
	fill(own, OWN, 0);
	wait_for_answers();
	zdtm_ready();
	while (zdtm_asked()) {
		look();
		zdtm_answer();
	}
	look();
	for (int k = 0; k < KIDS; k++)
		zdtm_check(!kill(kids[k], SIGKILL) && waitpid(kids[k], &status, 0) == kids[k], "child %d is gone", k);
	zdtm_pass();
}
