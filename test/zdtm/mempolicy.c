/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory policies of mappings, mbind(2): private and shared ones, parts of them, and a child that shares the pages and
 * has other policies than its parent has by now.
 *
 * zdtm: iters 3
 */
#include <linux/mempolicy.h>
#include <sys/mman.h>

#include "zdtm.h"
#include "zdtm_until.h"

#define PAGE 4096
#define N    16

static char *private, *shared, *file;

static int set(char *at, size_t pages, int mode, unsigned long nodes)
{
	return syscall(SYS_mbind, at, pages * PAGE, mode, nodes ? &nodes : NULL, nodes ? 64 : 0, 0);
}

/* Of all pages of the three mappings. */
static void look(char *s)
{
	char *const all[] = { private, shared, file };

	*s = 0;
	for (int k = 0; k < 3; k++)
		for (int i = 0; i < N; i++) {
			unsigned long nodes[16] = { 0 };
			int mode = -1;

			syscall(SYS_get_mempolicy, &mode, nodes, 1024, all[k] + i * PAGE, MPOL_F_ADDR);
			s += sprintf(s, "%x/%lx ", mode, nodes[0]);
		}
}

static void compare(const char *who, const char *before)
{
	char now[1200];

	look(now);
	zdtm_check(!strcmp(now, before), "%s: was %s, is %s", who, before, now);
	for (int i = 0; i < N; i++)
		zdtm_check(private[i * PAGE] == (i % 3 ? i : 0), "%s: page %d", who, i);
}

static void child(void)
{
	char before[1200];

	zdtm_must(!set(private, 2, MPOL_DEFAULT, 0) && !set(private + 9 * PAGE, 2, MPOL_PREFERRED, 1));
	look(before);
	zdtm_up();
	zdtm_wait();
	compare("child", before);
	_exit(0);
}

int main(void)
{
	char before[1200];
	int fd, status;
	pid_t kid;

	private = mmap(NULL, N * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	shared = mmap(NULL, N * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	zdtm_must((fd = open("/proc/self/exe", O_RDONLY)) >= 0);
	file = mmap(NULL, N * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	close(fd);
	zdtm_must(private != MAP_FAILED && shared != MAP_FAILED && file != MAP_FAILED);
	if (set(private, 4, MPOL_BIND, 1) && errno == ENOSYS)
		zdtm_skip("the kernel has no NUMA");
	for (int i = 0; i < N; i++)
	private[i * PAGE] = i % 3 ? i : 0;
	zdtm_must(!set(private + 6 * PAGE, 2, MPOL_INTERLEAVE | MPOL_F_STATIC_NODES, 3));
	zdtm_must(!set(private + 8 * PAGE, 1, MPOL_LOCAL, 0) || errno == EINVAL);
	zdtm_must(!set(shared + 3 * PAGE, 3, MPOL_PREFERRED, 1) && !set(file, 1, MPOL_BIND, 1));
	zdtm_must(!mprotect(private + 10 * PAGE, 2 * PAGE, PROT_READ));
	zdtm_must((kid = fork()) >= 0);
	if (!kid)
		child();
	zdtm_until_up(1);
	zdtm_must(!set(private + 12 * PAGE, 2, MPOL_BIND, 1) && !set(private + 6 * PAGE, 1, MPOL_DEFAULT, 0));
	look(before);
	zdtm_ready();
	zdtm_wait();
	compare("parent", before);
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_pass();
}
