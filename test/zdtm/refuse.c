/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A dump that has to refuse lists every reason in the whole tree, and leaves the tree alone: a Landlock ruleset in one
 * task, a socket and a file whose name was deleted, another is left that does not count (it looks like the tool's), in
 * another.
 *
 * zdtm: refuse fd 100: .*Landlock ruleset
 * zdtm: refuse fd 102: .*(deleted|unlinked|removed)
 */
#include <linux/landlock.h>
#include <sys/socket.h>

#include "zdtm.h"

int main(void)
{
	struct landlock_ruleset_attr landlock = { .handled_access_fs = LANDLOCK_ACCESS_FS_READ_FILE };
	pid_t kid;
	int fd, status;
	char c;

	zdtm_must((fd = syscall(SYS_landlock_create_ruleset, &landlock, sizeof(landlock), 0)) >= 0 &&
	          dup2(fd, 100) == 100);
	close(fd);
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		int sv[2];

		close(100);
		zdtm_must(!socketpair(AF_UNIX, SOCK_STREAM, 0, sv) && dup2(sv[0], 101) == 101);
		close(sv[0]);
		zdtm_must((fd = open("away", O_RDWR | O_CREAT, 0600)) >= 0 && write(fd, "still here", 10) == 10);
		zdtm_must(dup2(fd, 102) == 102 && !link("away", ".criu.other") && !unlink("away"));
		close(fd);
		zdtm_ready();
		zdtm_wait();
		zdtm_check(write(101, "x", 1) == 1 && read(sv[1], &c, 1) == 1, "the socket");
		zdtm_check(lseek(102, 0, SEEK_CUR) == 10, "the file's offset");
		_exit(0);
	}
	zdtm_wait();
	zdtm_check(fcntl(100, F_GETFD) >= 0, "the ruleset is gone");
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_pass();
}
