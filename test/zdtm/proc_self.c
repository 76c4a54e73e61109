/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What /proc/self says: a command line and an environment that the program has overwritten and moved, the auxv, the
 * executable's link (the program is a copy of itself, in the test's directory), comm.
 *
 * zdtm: flavour ns
 * zdtm: restores 2
 */
#include <sys/mman.h>
#include <sys/prctl.h>

#include "zdtm.h"

static int slurp(const char *path, char *buf, int len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), n = 0, r;

	zdtm_must(fd >= 0);
	while ((r = read(fd, buf + n, len - n)) > 0)
		n += r;
	close(fd);
	return n;
}

static void copy_self(void)
{
	static char buf[4 << 20];
	int n = slurp("/proc/self/exe", buf, sizeof(buf)), fd = open("my copy", O_WRONLY | O_CREAT, 0755);

	zdtm_must(fd >= 0 && write(fd, buf, n) == n);
	close(fd);
}

int main(int argc, char **argv)
{
	static const char *const files[] = { "cmdline", "environ", "auxv", "comm", "personality" };
	static char before[5][20000], now[20000], exe[PATH_MAX], exe2[PATH_MAX];
	char path[64], *moved;
	int len[5], n;

	if (argc == 1) {
		copy_self();
		zdtm_must(!setenv("SOME_VARIABLE", "its value", 1));
		execl("my copy", "my copy", "an argument", "", "another one with\nnewline", NULL);
		zdtm_must(0);
	}
	moved = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	zdtm_must(moved != MAP_FAILED);
	strcpy(moved, "moved: arguments");
	memset(argv[1], 'X', strlen(argv[1]));
	prctl(PR_SET_MM, PR_SET_MM_ENV_START, moved, 0, 0); /* where it may */
	prctl(PR_SET_NAME, "renamed");
	for (int i = 0; i < 5; i++) {
		snprintf(path, sizeof(path), "/proc/self/%s", files[i]);
		len[i] = slurp(path, before[i], sizeof(before[i]));
	}
	zdtm_must((n = readlink("/proc/self/exe", exe, sizeof(exe) - 1)) > 0);
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < 5; i++) {
		snprintf(path, sizeof(path), "/proc/self/%s", files[i]);
		n = slurp(path, now, sizeof(now));
		zdtm_check(n == len[i] && !memcmp(now, before[i], n), "%s differs (%d bytes, %d)", path, len[i], n);
	}
	zdtm_check(readlink("/proc/self/exe", exe2, sizeof(exe2) - 1) > 0 && !strcmp(exe, exe2), "exe: %s", exe2);
	zdtm_check(!strcmp(getenv("SOME_VARIABLE"), "its value"), "environment");
	zdtm_pass();
}
