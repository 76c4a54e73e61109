/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Files mapped private whose pages were written to with what they had: such pages are the task's own, whatever becomes
 * of the file. Others were changed, or never written to; so too in a child, which shares some pages with its parent and
 * has written again to others. Arguments: MiB of the file (48: what is equal, and what is shared, is enough for being
 * stored once by itself); "plain", "deleted" (the file has no name any more), "changed" (every page was), "alone"
 * (there is no child, but memory without a file).
 *
 * zdtm: victim points random
 */
#include <sys/mman.h>

#include "zdtm.h"

#define PAGE   4096UL
#define LITTLE 512UL /* pages of the small mappings */

/* What was done to page i: by the first task, then by the child. */
enum what { SAME, CHANGED, UNTOUCHED };

static unsigned char *mem, *shut, *tail, *anon;
static size_t pages;
static int fd, all_changed;

static enum what done(size_t i)
{
	return all_changed || i % 7 == 3 ? CHANGED : i % 11 == 5 ? UNTOUCHED : SAME;
}

static void content(size_t i, unsigned char *page)
{
	uint64_t *w = (void *)page;

	for (size_t k = 0; k < PAGE / 8; k++)
		w[k] = (i + 1) * 0x9e3779b97f4a7c15UL + k * k;
}

static void write_page(unsigned char *p, enum what what, unsigned char with)
{
	if (what == UNTOUCHED)
		return;
	*(volatile unsigned char *)p = *(volatile unsigned char *)p;
	if (what == CHANGED)
		p[100] ^= with;
}

/* 1: a page of the file; 0: the task's own. */
static int file_backed(const unsigned char *p)
{
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t e = 0;

	zdtm_must(pagemap >= 0 && pread(pagemap, &e, 8, (off_t)((uintptr_t)p / PAGE * 8)) == 8);
	close(pagemap);
	return !!(e & 1ULL << 61);
}

/* What of the second word of a page the file has now: somebody changes that at the end. */
static void look_at(unsigned char *p, size_t i, enum what what, unsigned char with, uint64_t extra, const char *whose)
{
	unsigned char page[PAGE];

	content(i, page);
	if (what == CHANGED)
		page[100] ^= with;
	if (what == UNTOUCHED)
		((uint64_t *)(void *)page)[1] += extra;
	zdtm_check(!memcmp(p, page, PAGE), "%s: page %zu differs (%d)", whose, i, what);
	zdtm_check(file_backed(p) == (what == UNTOUCHED), "%s: page %zu is %s the file's (%d)", whose, i,
	           file_backed(p) ? "" : "not", what);
}

static void look(uint64_t extra)
{
	for (size_t i = 0; i < pages; i++)
		look_at(mem + i * PAGE, i, done(i), 0xff, extra, "first task");
	zdtm_must(!mprotect(shut, LITTLE * PAGE, PROT_READ));
	for (size_t i = 0; i < LITTLE; i++)
		look_at(shut + i * PAGE, i + 3, SAME, 0, extra, "no access");
	zdtm_must(!mprotect(shut, LITTLE * PAGE, PROT_NONE));
	for (size_t i = 0; i < LITTLE; i++)
		look_at(tail + i * PAGE, pages - LITTLE + i, SAME, 0, extra, "tail");
	for (size_t i = 0; anon && i < pages; i++)
		zdtm_check(anon[i * PAGE + 7] == (unsigned char)(i | 1), "page %zu without a file", i);
}

/* Of the first task's pages: written to again, changed in another way, dropped, and most left. */
static enum what child_did(size_t i, int *how)
{
	*how = i % 16;
	return *how == 1   ? (done(i) == CHANGED ? CHANGED : SAME)
	       : *how == 2 ? CHANGED
	       : *how == 4 ? UNTOUCHED
	                   : done(i);
}

static void child_look(uint64_t extra)
{
	for (size_t i = 0; i < pages; i++) {
		int how;
		enum what what = child_did(i, &how);

		look_at(mem + i * PAGE, i, what, how == 2 ? (done(i) == CHANGED ? 0xff ^ 0x55 : 0x55) : 0xff, extra,
		        "child");
	}
}

static void await(const char *name)
{
	while (access(zdtm_path(name), F_OK))
		zdtm_nap();
}

static void child(void)
{
	for (size_t i = 0; i < pages; i++) {
		int how;

		child_did(i, &how);
		if (how == 1)
			write_page(mem + i * PAGE, SAME, 0);
		else if (how == 2)
			write_page(mem + i * PAGE, CHANGED, 0x55);
		else if (how == 4)
			zdtm_must(!madvise(mem + i * PAGE, PAGE, MADV_DONTNEED));
	}
	zdtm_touch("child");
	await("verify");
	child_look(0);
	zdtm_touch("child.looked");
	await("file.changed");
	child_look(7);
	_exit(0);
}

static void make_file(const char *how)
{
	unsigned char page[PAGE];

	zdtm_must((fd = open("data", O_RDWR | O_CREAT | O_TRUNC, 0600)) >= 0);
	for (size_t i = 0; i < pages; i++) {
		content(i, page);
		zdtm_must(write(fd, page, PAGE) == PAGE);
	}
	if (!strcmp(how, "deleted"))
		zdtm_must(!unlink("data"));
	all_changed = !strcmp(how, "changed");
}

static unsigned char *map(size_t first, size_t n)
{
	unsigned char *p = mmap(NULL, n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, (off_t)(first * PAGE));

	zdtm_must(p != MAP_FAILED);
	return p;
}

/* Every page of the file: a private mapping shows it where the task has no page of its own. */
static void change_file(void)
{
	for (size_t i = 0; i < pages; i++) {
		uint64_t w;

		zdtm_must(pread(fd, &w, 8, (off_t)(i * PAGE + 8)) == 8);
		w += 7;
		zdtm_must(pwrite(fd, &w, 8, (off_t)(i * PAGE + 8)) == 8);
	}
}

static pid_t begin_child(void)
{
	pid_t pid = fork();

	zdtm_must(pid >= 0);
	if (!pid)
		child();
	await("child");
	return pid;
}

static void fill_anon(void)
{
	anon = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	zdtm_must(anon != MAP_FAILED);
	for (size_t i = 0; i < pages; i++)
		anon[i * PAGE + 7] = (unsigned char)(i | 1);
}

int main(int argc, char **argv)
{
	const char *how = argc > 2 ? argv[2] : "plain";
	int status = 0;
	pid_t pid;

	pages = argc > 1 ? strtoul(argv[1], NULL, 10) << 8 : 48UL << 8;
	make_file(how);
	mem = map(0, pages);
	shut = map(3, LITTLE);
	tail = map(pages - LITTLE, LITTLE + 8); /* goes on behind the end */
	for (size_t i = 0; i < pages; i++)
		write_page(mem + i * PAGE, done(i), 0xff);
	for (size_t i = 0; i < LITTLE; i++) {
		write_page(shut + i * PAGE, SAME, 0);
		write_page(tail + i * PAGE, SAME, 0);
	}
	zdtm_must(!mprotect(shut, LITTLE * PAGE, PROT_NONE));
	if (!strcmp(how, "alone"))
		fill_anon();
	pid = anon ? 0 : begin_child();
	zdtm_ready();
	for (; zdtm_asked(); zdtm_answer())
		look(0);
	look(0);
	if (pid)
		await("child.looked");
	change_file();
	zdtm_touch("file.changed");
	look(7);
	zdtm_check(!pid || (waitpid(pid, &status, 0) == pid && !status), "child: status %x", status);
	zdtm_pass();
}
