/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A write lease on a file that is mapped as well, which no restored mapping leaves room for, is refused by name; the
 * dump does not break it.
 *
 * zdtm: dump -l
 * zdtm: refuse mapped: a write lease on a file that is mapped as well
 */
#include <sys/mman.h>

#include "zdtm.h"

static volatile sig_atomic_t told;

static void on_break(int sig)
{
	told = sig;
}

int main(void)
{
	char page[4096] = "text";
	int fd = open("mapped", O_RDWR | O_CREAT, 0600);
	char *mem;

	zdtm_must(fd >= 0 && write(fd, page, sizeof(page)) == sizeof(page));
	mem = mmap(NULL, sizeof(page), PROT_READ, MAP_PRIVATE, fd, 0);
	zdtm_must(mem != MAP_FAILED && !strcmp(mem, page));
	signal(SIGIO, on_break);
	zdtm_must(!fcntl(fd, F_SETLEASE, F_WRLCK));
	zdtm_ready();
	zdtm_wait();
	zdtm_check(!told && fcntl(fd, F_GETLEASE) == F_WRLCK, "the lease is %d, signal %d has come",
	           fcntl(fd, F_GETLEASE), (int)told);
	zdtm_pass();
}
