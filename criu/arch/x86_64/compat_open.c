/* SPDX-License-Identifier: GPL-2.0-only */
/* A call of 32-bit programs by criu itself: what it points to lies below 4 GiB. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

#include "arch/arch_compat.h"
#include "arch_page.h"
#include "common.h"

int arch_compat_reopen(int fd, int flags)
{
	char *path = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	long ret;

	if (path == MAP_FAILED)
		return -errno;
	snprintf(path, PAGE_SIZE, "/proc/self/fd/%d", fd);
	__asm__ volatile("int $0x80"
	                 : "=a"(ret)
	                 : "a"(COMPAT_NR_OPENAT), "b"((long)AT_FDCWD), "c"(path), "d"((long)flags), "S"(0L)
	                 : "memory", "r8", "r9", "r10", "r11");
	munmap(path, PAGE_SIZE);
	return (int)ret;
}
