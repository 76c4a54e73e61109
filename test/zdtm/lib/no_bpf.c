/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For LD_PRELOAD: a kernel that does not let its memory be read. NO_BPF has letters: b: bpf(2) is EPERM, t: the kernel
 * does not describe its structures (/sys/kernel/btf/vmlinux).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int without(char what)
{
	const char *letters = getenv("NO_BPF");

	return letters && strchr(letters, what);
}

static long call(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
	                 : "=a"(ret)
	                 : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
	                 : "rcx", "r11", "memory");
	if (ret < 0 && ret > -4096) {
		errno = (int)-ret;
		return -1;
	}
	return ret;
}

long syscall(long nr, ...)
{
	long a[6];
	va_list args;

	va_start(args, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(args, long);
	va_end(args);
	if (nr == SYS_bpf && without('b')) {
		errno = EPERM;
		return -1;
	}
	return call(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int open64(const char *path, int flags, ...)
{
	va_list args;
	mode_t mode;

	va_start(args, flags);
	mode = va_arg(args, mode_t);
	va_end(args);
	if (without('t') && !strcmp(path, "/sys/kernel/btf/vmlinux")) {
		errno = ENOENT;
		return -1;
	}
	return openat(AT_FDCWD, path, flags, mode);
}
