/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * --link-remap: files that have no name but one that is not looked at (it looks like a link of the tool's): they are
 * the same afterwards, by any number of restores, and a dump or restore that is killed leaves no name of them.
 *
 * zdtm: flavour ns
 * zdtm: victim points random
 * zdtm: restores 20
 * zdtm: dump --link-remap
 * zdtm: leaves .criu.*
 */
#include <sys/mman.h>

#include "zdtm.h"

static ino_t ino, mapped_ino, fifo_ino;

static void hide(const char *name, const char *as)
{
	zdtm_must(!link(name, as) && !unlink(name));
}

static ino_t ino_of(const char *name)
{
	struct stat st = { 0 };

	zdtm_check(!lstat(zdtm_path(name), &st), "%s: %s", name, strerror(errno));
	return st.st_ino;
}

static void look(const char *map)
{
	char buf[16] = "";
	struct stat st;

	zdtm_check(!fstat(3, &st) && st.st_ino == ino && ino_of(".criu.test") == ino, "another file: %lu", st.st_ino);
	zdtm_check(st.st_nlink >= 1, "%lu names", st.st_nlink);
	zdtm_check(pread(3, buf, 15, 0) == 6 && !strcmp(buf, "hidden"), "what is in it: \"%s\"", buf);
	zdtm_check(pread(4, buf, 15, 0) == 6 && !memcmp(buf, "hidden", 6), "the second");
	zdtm_check(!strcmp(map, "mapped") && ino_of(".criu.map") == mapped_ino, "the mapped one: \"%s\"", map);
	zdtm_check(!fstat(5, &st) && S_ISFIFO(st.st_mode) && st.st_ino == fifo_ino, "the FIFO: %o", st.st_mode);
	zdtm_check(access(zdtm_path("file"), F_OK) && access(zdtm_path("map"), F_OK), "an old name is there");
}

int main(void)
{
	struct stat st;
	char *map, byte;
	int fd;

	zdtm_must(open("file", O_RDWR | O_CREAT, 0600) == 3 && write(3, "hidden", 6) == 6);
	zdtm_must(open("file", O_RDONLY) == 4);
	hide("file", ".criu.test");
	zdtm_must(!mkfifo("fifo", 0600) && open("fifo", O_RDWR) == 5 && write(5, "x", 1) == 1);
	hide("fifo", ".criu.fifo");
	zdtm_must((fd = open("map", O_RDWR | O_CREAT, 0600)) == 6 && write(fd, "mapped", 6) == 6);
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	zdtm_must(map != MAP_FAILED && !fstat(fd, &st) && !close(fd));
	mapped_ino = st.st_ino;
	hide("map", ".criu.map");
	zdtm_must(!fstat(3, &st));
	ino = st.st_ino;
	zdtm_must(!fstat(5, &st));
	fifo_ino = st.st_ino;
	zdtm_ready();
	while (zdtm_asked()) {
		look(map);
		zdtm_answer();
	}
	look(map);
	map[0] = 'M';
	fd = open(".criu.map", O_RDONLY);
	zdtm_check(read(fd, &byte, 1) == 1 && byte == 'M', "it is mapped no more");
	zdtm_check(read(5, &byte, 1) == 1 && byte == 'x', "what was in the FIFO");
	zdtm_pass();
}
