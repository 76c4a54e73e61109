/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What madvise, mlock and mmap said of ranges: the runner compares VmFlags; here that they work. A stack that grows
 * down, on and on.
 *
 * zdtm: mode snapshot
 * zdtm: iters 3
 */
#include <sys/mman.h>

#include "zdtm.h"

#define MB (1 << 20)

static unsigned char *map(int flags, size_t len)
{
	unsigned char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	zdtm_must(p != MAP_FAILED);
	memset(p, 0x33, len);
	return p;
}

static long locked(void)
{
	char line[200];
	long kb = -1;
	FILE *f = fopen("/proc/self/status", "re");

	zdtm_must(f);
	while (fgets(line, sizeof(line), f))
		sscanf(line, "VmLck: %ld kB", &kb);
	fclose(f);
	return kb;
}

int main(void)
{
	static const int advices[] = { MADV_DONTFORK, MADV_DONTDUMP,   MADV_WIPEONFORK, MADV_SEQUENTIAL,
		                       MADV_RANDOM,   MADV_NOHUGEPAGE, MADV_HUGEPAGE };
	unsigned char *p, *down, *lock, *onfault, *ranges[7];
	long kb;
	pid_t kid;
	int status;

	for (int i = 0; i < 7; i++) {
		ranges[i] = map(0, MB);
		zdtm_must(!madvise(ranges[i], MB, advices[i]));
	}
	lock = map(0, MB);
	zdtm_must(!mlock(lock, MB / 2));
	onfault = map(MAP_NORESERVE, MB);
	zdtm_must(!syscall(SYS_mlock2, onfault, MB, 1)); /* MLOCK_ONFAULT */
	p = mmap(NULL, 16 * MB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	zdtm_must(p != MAP_FAILED && !munmap(p, 16 * MB));
	down = mmap(p + 12 * MB, 2 * 4096, PROT_READ | PROT_WRITE,
	            MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED, -1, 0);
	zdtm_must(down != MAP_FAILED);
	down[0] = 0x44;
	down[-4096] = 0x45; /* it grew once before */
	down[8191] = 0x46;
	kb = locked();
	zdtm_ready();
	zdtm_wait();
	zdtm_check(locked() == kb, "locked were %ld kB, are %ld", kb, locked());
	zdtm_check(down[0] == 0x44 && down[-4096] == 0x45 && down[8191] == 0x46, "the growing stack's contents");
	down[-2 * 4096] = 0x47;
	down[-3 * 4096] = 0x48;
	zdtm_check(down[-3 * 4096] == 0x48, "it does not grow");
	for (int i = 0; i < 7; i++)
		zdtm_check(ranges[i][5] == 0x33 && ranges[i][MB - 1] == 0x33, "range %d differs", i);
	zdtm_must((kid = fork()) >= 0);
	if (!kid)
		_exit(ranges[2][5] ? 1 : ranges[5][5] == 0x33 ? 0 : 2);
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "wipe on fork: %x", status);
	zdtm_must((kid = fork()) >= 0);
	if (!kid)
		_exit(ranges[0][5]);
	zdtm_check(waitpid(kid, &status, 0) == kid && (status & 0x7f) == SIGSEGV, "don't fork: %x", status);
	zdtm_pass();
}
