/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Mappings of files: private with some pages changed (only those may differ from the file), shared (writes reach the
 * file, before and after), read-only, one that begins inside the file and ends beyond it, the program's own data.
 *
 * zdtm: flavour ns
 * zdtm: restores 2
 */
#include <sys/mman.h>

#include "zdtm.h"

#define PAGE  4096
#define PAGES 64

static unsigned char *map(int fd, int prot, int flags, int first, int pages)
{
	unsigned char *p = mmap(NULL, pages * PAGE, prot, flags, fd, (off_t)first * PAGE);

	zdtm_must(p != MAP_FAILED);
	return p;
}

static int file_backed(unsigned char *p)
{
	uint64_t e = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	(void)*(volatile unsigned char *)p;
	zdtm_must(fd >= 0 && pread(fd, &e, 8, (uintptr_t)p / PAGE * 8) == 8);
	close(fd);
	return !!(e & 1ULL << 61);
}

int main(void)
{
	unsigned char *priv, *shared, *ro, *tail, page[PAGE], c;
	int fd, rd;

	zdtm_must((fd = open("data", O_RDWR | O_CREAT, 0600)) >= 0);
	for (int i = 0; i < PAGES; i++) {
		memset(page, i + 1, PAGE);
		zdtm_must(write(fd, page, PAGE) == PAGE);
	}
	priv = map(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0, PAGES);
	shared = map(fd, PROT_READ | PROT_WRITE, MAP_SHARED, 0, PAGES);
	zdtm_must((rd = open("data", O_RDONLY)) >= 0);
	ro = map(rd, PROT_READ, MAP_SHARED, 3, 5);
	tail = map(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE, PAGES - 2, 4);
	close(fd);
	close(rd);
	for (int i = 0; i < PAGES; i += 7)
		priv[i * PAGE + 100] = 0xee;
	tail[50] = 0xdd;
	shared[5 * PAGE] = 0xcc;
	zdtm_must(!mprotect(priv + 7 * PAGE, PAGE, PROT_NONE));
	zdtm_ready();
	zdtm_wait();
	zdtm_check(!mprotect(priv + 7 * PAGE, PAGE, PROT_READ), "mprotect");
	for (int i = 0; i < PAGES; i++) {
		unsigned char first = i == 5 ? 0xcc : i + 1;

		zdtm_check(priv[i * PAGE] == first && priv[i * PAGE + 4095] == i + 1, "page %d: %x", i, priv[i * PAGE]);
		zdtm_check(priv[i * PAGE + 100] == (i % 7 ? i + 1 : 0xee), "page %d, byte 100: %x", i,
		           priv[i * PAGE + 100]);
		zdtm_check(file_backed(priv + i * PAGE) == !!(i % 7), "page %d: %s of the file", i,
		           i % 7 ? "not" : "still");
	}
	zdtm_check(tail[50] == 0xdd && tail[PAGE] == PAGES, "the end of the file");
	zdtm_check(ro[0] == 4 && ro[2 * PAGE] == 0xcc, "read-only shared");
	shared[6 * PAGE] = 0xbb;
	zdtm_check(ro[3 * PAGE] == 0xbb, "shared mappings do not see each other");
	zdtm_check((fd = open(zdtm_path("data"), O_RDONLY)) >= 0 && pread(fd, &c, 1, 6 * PAGE) == 1 && c == 0xbb,
	           "the file");
	zdtm_check(pread(fd, &c, 1, 0) == 1 && c == 1 && pread(fd, &c, 1, 100) == 1 && c == 1,
	           "the file has private bytes");
	zdtm_pass();
}
