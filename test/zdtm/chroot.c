/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A task with another root directory, and one whose cwd lies outside of it.
 *
 * zdtm: flavour ns
 * zdtm: needs-root
 * zdtm: restores 2
 */
#include "zdtm.h"

int main(void)
{
	char buf[PATH_MAX];
	struct stat st;
	pid_t kid;
	int status, fd;

	zdtm_must(!mkdir("inner", 0755) && (fd = open("inner/mark", O_RDWR | O_CREAT, 0600)) >= 0);
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		/* The test's own directory becomes the root, so that the harness can go on. */
		zdtm_must(!chroot(".") && !chdir("/inner"));
		zdtm_dir[0] = 0;
		zdtm_touch("kid");
		zdtm_wait();
		zdtm_check(getcwd(buf, sizeof(buf)) && !strcmp(buf, "/inner"), "cwd %s", buf);
		zdtm_check(!stat("/inner/mark", &st) && stat("/etc/passwd", &st), "not in the new root");
		zdtm_check(write(fd, "x", 1) == 1, "the file opened before");
		_exit(0);
	}
	while (access("kid", F_OK))
		zdtm_nap();
	zdtm_ready();
	zdtm_wait();
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_check(!stat("/etc/passwd", &st) && !stat("inner/mark", &st) && st.st_size == 1, "the parent's root");
	zdtm_pass();
}
