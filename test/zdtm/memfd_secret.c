/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory of memfd_secret, which nothing but its task reads: by a descriptor and mapped, mapped alone, shared with a
 * child, of some size, never given a size; read-only in the parent and writable in the child.
 *
 * zdtm: mode snapshot
 * zdtm: flavour ns
 * zdtm: iters 3
 */
#include <sys/mman.h>
#include <sys/uio.h>

#include "zdtm.h"
#include "zdtm_until.h"

#define PAGE 4096UL
#define BIG  (50 * PAGE)

static int make(unsigned long size)
{
	int fd = syscall(SYS_memfd_secret, 0);

	if (fd < 0)
		zdtm_skip("no memfd_secret: %s", strerror(errno));
	zdtm_must(!size || !ftruncate(fd, size));
	return fd;
}

static unsigned char *map(int fd, unsigned long size, int prot)
{
	unsigned char *p = mmap(NULL, size, prot, MAP_SHARED, fd, 0);

	zdtm_must(p != MAP_FAILED);
	return p;
}

/* Whether the kernel reads it for others: it must not. */
static int can_be_read(unsigned char *p)
{
	unsigned char byte;
	struct iovec local = { &byte, 1 }, remote = { p, 1 };

	return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1;
}

int main(void)
{
	int fd = make(3 * PAGE), empty = make(0), gone = make(BIG), status;
	unsigned char *both = map(fd, 3 * PAGE, PROT_READ | PROT_WRITE),
	              *alone = map(gone, BIG, PROT_READ | PROT_WRITE);
	struct stat st;
	pid_t kid;

	close(gone);
	for (unsigned long i = 0; i < BIG; i++)
		alone[i] = (unsigned char)(i * 7 + i / PAGE);
	strcpy((char *)both + 2 * PAGE, "key");
	zdtm_must(!fchmod(fd, 0640));
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		zdtm_up();
		zdtm_wait();
		zdtm_check(!strcmp((char *)both + 2 * PAGE, "key"), "child: the key");
		both[PAGE] = 'k';
		_exit(0);
	}
	zdtm_must(!mprotect(both, 3 * PAGE, PROT_READ));
	zdtm_until_up(1);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_check(!strcmp((char *)both + 2 * PAGE, "key") && !both[0] && both[PAGE] == 'k', "what is shared");
	for (unsigned long i = 0; i < BIG; i++)
		if (!zdtm_check(alone[i] == (unsigned char)(i * 7 + i / PAGE), "byte %lu is %x", i, alone[i]))
			break;
	zdtm_check(!can_be_read(both) && !can_be_read(alone), "it is ordinary memory");
	zdtm_check(!fstat(fd, &st) && st.st_size == 3 * PAGE && (st.st_mode & 0777) == 0640, "size %ld, mode %o",
	           st.st_size, st.st_mode);
	zdtm_check(map(fd, 3 * PAGE, PROT_READ)[PAGE] == 'k', "the descriptor is of other memory");
	zdtm_check(!ftruncate(empty, PAGE), "one that was never given a size cannot be given one");
	zdtm_pass();
}
