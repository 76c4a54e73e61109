/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * /dev/zero, mapped privately and shared, with and without a descriptor, in a child as well; and memory that the kernel
 * may drop (MAP_DROPPABLE), which reads as zeros or as it was, and is wiped in a child.
 *
 * zdtm: flavour ns
 * zdtm: iters 3
 */
#include <sys/mman.h>

#include "zdtm.h"
#include "zdtm_until.h"

#define PAGE      4096UL
#define DROPPABLE 8

static char *map(int prot, int flags, int fd)
{
	char *p = mmap(NULL, 4 * PAGE, prot, flags, fd, 0);

	zdtm_must(p != MAP_FAILED);
	return p;
}

int main(void)
{
	int rw = PROT_READ | PROT_WRITE, fd = open("/dev/zero", O_RDWR), status;
	char *private, *shared, *read_only, *drop = NULL, byte = 1;
	pid_t kid;

	zdtm_must(fd >= 0);
	private = map(rw, MAP_PRIVATE, fd);
	shared = map(rw, MAP_SHARED, fd);
	read_only = map(PROT_READ, MAP_PRIVATE, fd);
	private[PAGE] = 'p';
	shared[2 * PAGE] = 's';
	zdtm_must(!read_only[PAGE]);
	if (mmap(NULL, PAGE, rw, DROPPABLE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED) {
		drop = map(rw, DROPPABLE | MAP_ANONYMOUS, -1);
		drop[0] = 'd';
	}
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		close(fd);
		private[2 * PAGE] = 'k';
		zdtm_up();
		zdtm_wait();
		zdtm_check(private[PAGE] == 'p' && private[2 * PAGE] == 'k' && !private[0], "child: private memory");
		zdtm_check(!drop || !drop[0], "child: what may be dropped was not wiped: %x", drop[0]);
		shared[0] = 'k';
		_exit(0);
	}
	zdtm_until_up(1);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_check(private[PAGE] == 'p' && !private[0] && !private[2 * PAGE], "private memory");
	zdtm_check(shared[2 * PAGE] == 's' && shared[0] == 'k' && !shared[PAGE], "shared memory");
	zdtm_check(!read_only[0] && !read_only[3 * PAGE], "what was only read");
	zdtm_check(read(fd, &byte, 1) == 1 && !byte, "the descriptor");
	if (drop) {
		zdtm_check(drop[0] == 'd' || !drop[0], "what may be dropped holds %x", drop[0]);
		drop[PAGE] = 'e'; /* it can be written, and a child does not get it */
		zdtm_must((kid = fork()) >= 0);
		if (!kid)
			_exit(drop[PAGE] != 0);
		zdtm_check(waitpid(kid, &status, 0) == kid && !status, "it is not wiped on fork: %x", status);
	}
	zdtm_pass();
}
