/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A memfd of huge pages, by a descriptor and mapped, on a machine that need not have any: nothing is in it. What is
 * written into huge pages is in hugetlb.py.
 *
 * zdtm: flavour ns
 * zdtm: iters 3
 */
#include <sys/mman.h>

#include "zdtm.h"

#define SIZE (4L << 20)

int main(void)
{
	int fd = memfd_create("huge", MFD_HUGETLB);
	struct stat st;
	void *p;

	if (fd < 0)
		zdtm_skip("this kernel has no huge pages: %s", strerror(errno));
	zdtm_must(!ftruncate(fd, SIZE) && dup2(fd, 9) == 9);
	p = mmap(NULL, SIZE, PROT_READ, MAP_SHARED | MAP_NORESERVE, 9, 0);
	zdtm_must(p != MAP_FAILED);
	close(fd);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(!fstat(9, &st) && st.st_size == SIZE && st.st_blksize == 2 << 20, "size %ld, pages of %ld",
	           st.st_size, (long)st.st_blksize);
	zdtm_check(!munmap(p, 2 << 20) && munmap((char *)p + (2 << 20), 4096) < 0, "it is not in huge pages");
	zdtm_pass();
}
