/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A victim with deleted files, FIFOs, links, directories: a dump that is killed leaves them, a restore that is killed
 * leaves no name and no file.
 *
 * zdtm: victim points random
 * zdtm: restores 20
 * zdtm: allow fd [345678]/ino  any  a new inode
 * zdtm: allow fd [4]/link  any  shown as "#" and the number of the inode
 */
#include <sys/mman.h>

#include "zdtm.h"

static int no_name(void)
{
	struct stat st;

	return stat(zdtm_path("file"), &st) && stat(zdtm_path("mapped"), &st);
}

static void look(const char *map)
{
	char buf[16] = "";
	struct stat st, in;

	zdtm_check(pread(3, buf, 15, 0) == 7 && !strcmp(buf, "deleted"), "the deleted file: \"%s\"", buf);
	memset(buf, 0, sizeof(buf));
	zdtm_check(pread(4, buf, 15, 0) == 7 && !strcmp(buf, "tmpfile"), "the temporary file: \"%s\"", buf);
	zdtm_check(!strcmp(map, "mapped"), "the mapped one: \"%s\"", map);
	zdtm_check(!fstat(3, &st) && !st.st_nlink && no_name(), "a name is there");
	zdtm_check(!fstat(5, &st) && S_ISFIFO(st.st_mode) && !fstat(6, &st) && S_ISLNK(st.st_mode), "FIFO or symlink");
	zdtm_check(!fstat(7, &st) && S_ISDIR(st.st_mode) && !fstatat(8, "..", &in, 0) && st.st_ino == in.st_ino,
	           "directories");
}

int main(void)
{
	char *map;
	int fd;

	zdtm_must(open("file", O_RDWR | O_CREAT, 0600) == 3 && write(3, "deleted", 7) == 7 && !unlink("file"));
	fd = open(".", O_RDWR | O_TMPFILE, 0600);
	if (fd < 0)
		zdtm_skip("no O_TMPFILE here");
	zdtm_must(fd == 4 && write(4, "tmpfile", 7) == 7);
	zdtm_must((fd = open("mapped", O_RDWR | O_CREAT, 0600)) == 5 && write(fd, "mapped", 6) == 6);
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	zdtm_must(map != MAP_FAILED && !close(fd) && !unlink("mapped"));
	zdtm_must(!mkfifo("fifo", 0600) && open("fifo", O_RDWR) == 5 && !unlink("fifo"));
	zdtm_must(!symlink("fifo", "link") && open("link", O_PATH | O_NOFOLLOW) == 6 && !unlink("link"));
	zdtm_must(!mkdir("dir", 0700) && !mkdir("dir/in", 0700) && open("dir", O_RDONLY) == 7);
	zdtm_must(open("dir/in", O_PATH) == 8 && !rmdir("dir/in") && !rmdir("dir"));
	zdtm_ready();
	while (zdtm_asked()) {
		look(map);
		zdtm_answer();
	}
	look(map);
	zdtm_pass();
}
