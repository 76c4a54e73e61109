/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a task has may lie above its limits, which were lowered later: descriptors, memory, locked memory, processes,
 * stack.
 *
 * zdtm: restores 2
 * zdtm: needs-root
 */
#include <sys/mman.h>
#include <sys/resource.h>

#include "zdtm.h"

static void lower(int what, rlim_t to)
{
	struct rlimit l;

	zdtm_must(!getrlimit(what, &l));
	l.rlim_cur = to;
	zdtm_must(!setrlimit(what, &l));
}

static void is(int what, rlim_t to)
{
	struct rlimit l;

	zdtm_check(!getrlimit(what, &l) && l.rlim_cur == to, "limit %d is %lu, not %lu", what, l.rlim_cur, to);
}

int main(void)
{
	unsigned char *p = mmap(NULL, 8 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = open("/dev/null", O_RDWR);

	zdtm_must(p != MAP_FAILED && fd >= 0 && dup2(fd, 900) == 900);
	memset(p, 7, 8 << 20);
	zdtm_must(!mlock(p, 1 << 20));
	lower(RLIMIT_NOFILE, 8);
	lower(RLIMIT_AS, 1 << 20);
	lower(RLIMIT_DATA, 4096);
	lower(RLIMIT_MEMLOCK, 4096);
	lower(RLIMIT_STACK, 16384);
	lower(RLIMIT_FSIZE, 1000000);
	lower(RLIMIT_NPROC, 1);
	lower(RLIMIT_SIGPENDING, 0);
	lower(RLIMIT_CPU, 600);
	zdtm_ready();
	zdtm_wait();
	is(RLIMIT_NOFILE, 8);
	is(RLIMIT_AS, 1 << 20);
	is(RLIMIT_DATA, 4096);
	is(RLIMIT_MEMLOCK, 4096);
	is(RLIMIT_STACK, 16384);
	is(RLIMIT_FSIZE, 1000000);
	is(RLIMIT_NPROC, 1);
	is(RLIMIT_SIGPENDING, 0);
	is(RLIMIT_CPU, 600);
	zdtm_check(fcntl(900, F_GETFD) >= 0, "descriptor 900 is gone");
	zdtm_check(p[0] == 7 && p[(8 << 20) - 1] == 7, "memory differs");
	zdtm_pass();
}
