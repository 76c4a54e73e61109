/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * 256 MiB, of which each SIGUSR1 writes to every hundredth page.
 */
#include <sys/mman.h>

#include "zdtm.h"

#define PAGE  4096UL
#define PAGES (256UL * 256)

static volatile sig_atomic_t asked;

static void ask(int sig)
{
	(void)sig;
	asked = 1;
}

int main(void)
{
	unsigned char *mem = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	unsigned long turns = 0;

	zdtm_must(mem != MAP_FAILED);
	signal(SIGUSR1, ask);
	madvise(mem, PAGES * PAGE, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < PAGES; i++)
		*(unsigned long *)(void *)(mem + i * PAGE) = i + 1;
	zdtm_ready();
	for (; access(zdtm_path("verify"), F_OK); zdtm_nap()) {
		if (!asked)
			continue;
		asked = 0;
		turns++;
		for (size_t i = 0; i < PAGES; i += 100)
			*(unsigned long *)(void *)(mem + i * PAGE) = i + turns * PAGES;
		zdtm_touch("written");
	}
	for (size_t i = 0; i < PAGES; i++) {
		unsigned long is = *(unsigned long *)(void *)(mem + i * PAGE), wanted = i + 1;

		if (turns && i % 100 == 0)
			wanted = i + turns * PAGES;
		if (!zdtm_check(is == wanted, "page %zu is %lu, not %lu", i, is, wanted))
			break;
	}
	zdtm_pass();
	return 0;
}
