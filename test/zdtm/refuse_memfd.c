/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A memfd of huge pages, by a descriptor and mapped.
 *
 * zdtm: refuse fd 9: /memfd:huge .*MFD_HUGETLB
 * zdtm: refuse mapping .*memfd:huge .*huge pages
 */
#include <sys/mman.h>

#include "zdtm.h"

int main(void)
{
	int fd = memfd_create("huge", MFD_HUGETLB);

	if (fd < 0)
		zdtm_skip("this kernel has no huge pages: %s", strerror(errno));
	zdtm_must(!ftruncate(fd, 2 << 20) && dup2(fd, 9) == 9);
	/* None has to be there. */
	zdtm_must(mmap(NULL, 2 << 20, PROT_READ, MAP_SHARED | MAP_NORESERVE, 9, 0) != MAP_FAILED);
	close(fd);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(fcntl(9, F_GETFD) >= 0, "the descriptor is gone");
	zdtm_pass();
}
