/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * For LD_PRELOAD: a kernel that knows less of guard pages than this one. OLDER_GUARDS has letters: s: PAGEMAP_SCAN does
 * not know them (before 6.16), n: there is no PAGEMAP_SCAN (before 6.7), p: /proc/PID/pagemap does not either
 * (before 6.15), f: and shows no place in swap (without CAP_SYS_ADMIN), v: VmFlags do not tell, i: none can be
 * installed (before 6.13).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SCAN  0xc0606610UL
#define GUARD (1ULL << 8)

ssize_t pread64(int fd, void *buf, size_t len, off_t at);

static int older(char what)
{
	const char *letters = getenv("OLDER_GUARDS");

	return letters && strchr(letters, what);
}

static int is_of(int fd, const char *end)
{
	char path[40], link[100];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < (ssize_t)strlen(end))
		return 0;
	link[n] = 0;
	return !strcmp(link + n - strlen(end), end);
}

int ioctl(int fd, unsigned long request, ...)
{
	uint64_t *arg;
	va_list ap;

	va_start(ap, request);
	arg = va_arg(ap, uint64_t *);
	va_end(ap);
	if (request == SCAN && older('n')) {
		errno = ENOTTY;
		return -1;
	}
	/* category_mask, category_anyof_mask, return_mask */
	if (request == SCAN && older('s') && (arg[9] | arg[10] | arg[11]) & GUARD) {
		errno = EINVAL;
		return -1;
	}
	return syscall(SYS_ioctl, fd, request, arg);
}

ssize_t pread(int fd, void *buf, size_t len, off_t at)
{
	ssize_t n = syscall(SYS_pread64, fd, buf, len, at);
	uint64_t *e = buf;

	if (n <= 0 || !older('p') || !is_of(fd, "/pagemap"))
		return n;
	for (ssize_t i = 0; i < n / 8; i++) {
		e[i] &= ~(1ULL << 58);
		if (older('f') && !(e[i] >> 63))
			e[i] &= ~0ULL << 55;
	}
	return n;
}

ssize_t pread64(int fd, void *buf, size_t len, off_t at)
{
	return pread(fd, buf, len, at);
}

ssize_t read(int fd, void *buf, size_t len)
{
	ssize_t n = syscall(SYS_read, fd, buf, len);

	if (n > 0 && older('v') && is_of(fd, "/smaps"))
		for (char *p = buf; (p = memmem(p, (char *)buf + n - p, " gu ", 4)); p += 3)
			memcpy(p, "   ", 3);
	return n;
}

int madvise(void *p, size_t len, int advice)
{
	if (advice == 102 && older('i')) {
		errno = EINVAL;
		return -1;
	}
	return syscall(SYS_madvise, p, len, advice);
}
