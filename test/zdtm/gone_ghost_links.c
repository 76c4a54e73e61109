/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * --ghost-links: a file of which no name can be found, though it has one, comes back as a file of its own; nothing is
 * written beside the other.
 *
 * zdtm: flavour ns
 * zdtm: restores 3
 * zdtm: dump --ghost-links
 * zdtm: allow fd [34]/ino  any  another file
 */
#include "zdtm.h"

int main(void)
{
	char buf[20] = "";
	struct stat st, named;
	int dry, fd;

	zdtm_must(open("file", O_RDWR | O_CREAT, 0600) == 3 && write(3, "contents", 8) == 8);
	zdtm_must(open("file", O_RDONLY) == 4 && !link("file", ".criu.test") && !unlink("file"));
	zdtm_ready();
	zdtm_wait();
	zdtm_must(!fstat(3, &st) && !stat(".criu.test", &named));
	dry = st.st_ino == named.st_ino;
	zdtm_check(dry || st.st_nlink == 0, "%lu names", st.st_nlink);
	zdtm_check(named.st_nlink == 1, "the other has %lu names", named.st_nlink);
	zdtm_check(pwrite(3, "C", 1, 0) == 1 && pread(4, buf, 19, 0) == 8 && !strcmp(buf, "Contents"), "\"%s\"", buf);
	zdtm_check((fd = open(".criu.test", O_RDONLY)) >= 0 && read(fd, buf, 1) == 1 && (dry || *buf == 'c'),
	           "the other");
	zdtm_check(access("file", F_OK), "the old name is there");
	zdtm_pass();
}
