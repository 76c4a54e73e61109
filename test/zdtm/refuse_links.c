/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A dump that has made links (--link-remap) and is refused for another reason takes them away again.
 *
 * zdtm: dump --link-remap
 * zdtm: refuse fd 100: .*Landlock ruleset
 */
#include <linux/landlock.h>

#include "zdtm.h"

int main(void)
{
	struct landlock_ruleset_attr landlock = { .handled_access_fs = LANDLOCK_ACCESS_FS_READ_FILE };
	struct stat st;
	int fd;

	zdtm_must(open("file", O_RDWR | O_CREAT, 0600) == 3 && !link("file", ".criu.test") && !unlink("file"));
	zdtm_must((fd = syscall(SYS_landlock_create_ruleset, &landlock, sizeof(landlock), 0)) >= 0 &&
	          dup2(fd, 100) == 100);
	zdtm_must(!mkdir("dir", 0700) && open("dir/file", O_RDWR | O_CREAT, 0600) >= 0);
	zdtm_must(!link("dir/file", "dir/.criu.test") && !unlink("dir/file"));
	zdtm_ready();
	zdtm_wait();
	zdtm_check(!fstat(3, &st) && st.st_nlink == 1, "%lu names", st.st_nlink);
	zdtm_pass();
}
