/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Sealed mappings (mseal): of every kind, a part of one, locked, with advice, in a child as well. They keep their
 * bytes, and cannot be unmapped, moved, or given another protection; what lies beside them can.
 *
 * zdtm: flavour ns
 * zdtm: iters 3
 */
#include <sys/mman.h>

#include "zdtm.h"
#include "zdtm_until.h"

#define MSEAL 462
#define PAGE  4096UL
#define N     8

static char *sealed[N];
static int n_sealed;

static char *map(int prot, int flags, int fd)
{
	char *p = mmap(NULL, 4 * PAGE, prot, flags, fd, 0);

	zdtm_must(p != MAP_FAILED);
	return p;
}

/* Every page begins with a letter of its own, where it can be written. */
static void seal(char *p, int write, int prot)
{
	for (int i = 0; write && i < 4; i++)
		p[i * PAGE] = 'a' + n_sealed + i;
	zdtm_must(!mprotect(p, 4 * PAGE, prot) && !syscall(MSEAL, p, 4 * PAGE, 0));
	sealed[n_sealed++] = p;
}

static void look(const char *who)
{
	for (int k = 0; k < n_sealed; k++) {
		char *p = sealed[k];
		int i;

		for (i = 0; i < 4; i++)
			zdtm_check(k == 2 || p[i * PAGE] == 'a' + k + i, "%s: mapping %d, page %d", who, k, i);
		zdtm_check(munmap(p, PAGE) < 0 && errno == EPERM, "%s: mapping %d can be unmapped", who, k);
		zdtm_check(mprotect(p, PAGE, PROT_EXEC) < 0 && errno == EPERM, "%s: mapping %d: mprotect", who, k);
		zdtm_check(mremap(p, PAGE, 2 * PAGE, MREMAP_MAYMOVE) == MAP_FAILED && errno == EPERM,
		           "%s: mapping %d: mremap", who, k);
	}
}

int main(void)
{
	int fd = open(zdtm_path("file"), O_RDWR | O_CREAT, 0600), mem = memfd_create("sealed", 0), rw, status;
	char *p;
	pid_t kid;

	if (syscall(MSEAL, 0, 0, 0) && errno == ENOSYS)
		zdtm_skip("this kernel has no mseal()");
	rw = PROT_READ | PROT_WRITE;
	zdtm_must(fd >= 0 && mem >= 0 && !ftruncate(fd, 4 * PAGE) && !ftruncate(mem, 4 * PAGE));
	seal(map(rw, MAP_PRIVATE | MAP_ANONYMOUS, -1), 1, PROT_READ);
	seal(map(rw, MAP_PRIVATE | MAP_ANONYMOUS, -1), 1, rw);
	seal(map(rw, MAP_PRIVATE | MAP_ANONYMOUS, -1), 1, PROT_NONE);
	seal(map(rw, MAP_PRIVATE, fd), 1, PROT_READ);
	seal(map(rw, MAP_SHARED | MAP_ANONYMOUS, -1), 1, rw);
	seal(map(rw, MAP_SHARED, mem), 1, PROT_READ);
	p = map(rw, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	zdtm_must(!mlock(p, 4 * PAGE) && !madvise(p, 4 * PAGE, MADV_DONTDUMP));
	seal(p, 1, PROT_READ);
	/* Half of a mapping; the other can go. */
	p = mmap(NULL, 8 * PAGE, rw, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	zdtm_must(p != MAP_FAILED);
	p[4 * PAGE] = 'z';
	seal(p, 1, rw);
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		zdtm_up();
		zdtm_wait();
		look("child");
		_exit(0);
	}
	zdtm_until_up(1);
	zdtm_ready();
	zdtm_wait();
	look("parent");
	zdtm_check(p[4 * PAGE] == 'z' && !munmap(p + 4 * PAGE, 4 * PAGE), "what lies beside it");
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_pass();
}
