/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory with a protection key, where the processor has them.
 *
 * zdtm: refuse mapping .*: protection keys \(pkey_mprotect\)
 */
#include <sys/mman.h>

#include "zdtm.h"

int main(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int key = (int)syscall(SYS_pkey_alloc, 0, 0);

	if (key < 0)
		zdtm_skip("no protection keys here: pkey_alloc: %s", strerror(errno));
	zdtm_must(p != MAP_FAILED && !syscall(SYS_pkey_mprotect, p, 4096, PROT_READ | PROT_WRITE, key));
	zdtm_ready();
	zdtm_wait();
	zdtm_check(!syscall(SYS_pkey_mprotect, p, 4096, PROT_READ, key), "the key is gone");
	zdtm_pass();
}
