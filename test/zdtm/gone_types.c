/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Deleted files that are no regular ones: a FIFO with bytes in it, read here and written in another task; devices; a
 * symbolic link (O_PATH); directories, one in another, open and as working directory and root, one replaced by another
 * of its name, one renamed.
 *
 * zdtm: needs-root
 * zdtm: iters 2
 * zdtm: restores 20
 * zdtm: allow fd [34][0-9]/ino  any  a new inode
 * zdtm: allow fd 38/link  any  somebody else has its name
 * zdtm: no-userns makes devices
 */
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "zdtm.h"

#define READ    30 /* of the FIFO */
#define WRITE   31
#define NODE    32 /* a FIFO by its path */
#define DEVICE  33
#define BLOCK   34 /* O_PATH */
#define SYMLINK 35
#define DIR     36
#define INNER   37 /* in it */
#define OLD     38 /* replaced */
#define MOVED   39
#define EMPTY   40 /* a FIFO with two ends in one descriptor */

static void at(int number, const char *path, int flags)
{
	int fd = open(path, flags);

	zdtm_must(fd >= 0 && dup2(fd, number) == number && !close(fd));
}

static void setup(void)
{
	struct timespec times[2] = { { 1000000000, 1 }, { 1100000000, 2 } };

	zdtm_must(!mkfifo("fifo", 0620) && !mkfifo("node", 0604) && !mkfifo("empty", 0600));
	at(READ, "fifo", O_RDONLY | O_NONBLOCK);
	at(WRITE, "fifo", O_WRONLY);
	at(NODE, "node", O_PATH);
	at(EMPTY, "empty", O_RDWR);
	zdtm_must(write(WRITE, "in the queue", 12) == 12);
	zdtm_must(!mknod("zero", S_IFCHR | 0666, makedev(1, 5)) && !mknod("block", S_IFBLK | 0640, makedev(7, 77)));
	at(DEVICE, "zero", O_RDWR);
	at(BLOCK, "block", O_PATH);
	zdtm_must(!symlink("to nowhere \xff\n", "symlink") && !lchown("symlink", 12, 34));
	at(SYMLINK, "symlink", O_PATH | O_NOFOLLOW);
	zdtm_must(!mkdir("dir", 0750) && !mkdir("dir/inner", 0701) && !mkdir("old", 0711) && !mkdir("old/sub", 0700));
	at(DIR, "dir", O_RDONLY | O_DIRECTORY);
	at(INNER, "dir/inner", O_RDONLY);
	at(OLD, "old", O_PATH);
	zdtm_must(!fchown(INNER, 56, 78) && !futimens(INNER, times));
	fsetxattr(INNER, "user.test", "of a directory", 14, 0);
	zdtm_must(!mkdir("moved", 0700));
	at(MOVED, "moved", O_RDONLY);
	zdtm_must(!rename("moved", "old/moved") && !rename("old/moved", "moved again"));
}

static void delete (void)
{
	zdtm_must(!unlink("fifo") && !unlink("node") && !unlink("empty") && !unlink("zero") && !unlink("block"));
	zdtm_must(!unlink("symlink") && !rmdir("old/sub") && !rmdir("old") && !mkdir("old", 0700));
	zdtm_must(!rmdir("dir/inner") && !rmdir("dir"));
}

static void gone(int fd, mode_t mode, uid_t uid, gid_t gid)
{
	struct stat st;

	zdtm_must(!fstat(fd, &st));
	zdtm_check(st.st_mode == mode && st.st_uid == uid && st.st_gid == gid && st.st_nlink == 0,
	           "fd %d: mode %o instead of %o, of %d.%d, %lu names", fd, st.st_mode, mode, st.st_uid, st.st_gid,
	           st.st_nlink);
}

static void look(void)
{
	char buf[64] = "";
	struct stat st, up;

	gone(READ, S_IFIFO | 0620, 0, 0);
	gone(NODE, S_IFIFO | 0604, 0, 0);
	gone(DEVICE, S_IFCHR | 0666, 0, 0);
	gone(BLOCK, S_IFBLK | 0640, 0, 0);
	gone(SYMLINK, S_IFLNK | 0777, 12, 34);
	gone(DIR, S_IFDIR | 0750, 0, 0);
	gone(INNER, S_IFDIR | 0701, 56, 78);
	gone(OLD, S_IFDIR | 0711, 0, 0);
	zdtm_check(read(DEVICE, buf, 3) == 3 && !buf[0] && write(DEVICE, buf, 3) == 3, "the device");
	zdtm_check(!fstat(BLOCK, &st) && st.st_rdev == makedev(7, 77), "the block device: %lx", st.st_rdev);
	zdtm_check(readlinkat(SYMLINK, "", buf, 63) == 13 && !memcmp(buf, "to nowhere \xff\n", 13), "the symlink: %s",
	           buf);
	zdtm_check(!fstat(INNER, &st) && st.st_mtim.tv_sec == 1100000000 && st.st_mtim.tv_nsec == 2, "times");
	zdtm_check(fgetxattr(INNER, "user.test", buf, 64) == 14 || errno == ENOTSUP, "an attribute: %s",
	           strerror(errno));
	zdtm_check(!fstat(DIR, &st) && !fstatat(INNER, "..", &up, 0) && st.st_ino == up.st_ino, "it was in the other");
	zdtm_check(mkdirat(DIR, "new", 0700) == -1 && errno == ENOENT, "a removed directory: %s", strerror(errno));
	zdtm_check(!stat(zdtm_path("old"), &st) && !fstat(OLD, &up) && st.st_ino != up.st_ino, "the replaced one");
	zdtm_check(!stat(zdtm_path("moved again"), &st) && !fstat(MOVED, &up) && st.st_ino == up.st_ino, "the renamed");
	zdtm_check(access(zdtm_path("dir"), F_OK) && access(zdtm_path("fifo"), F_OK), "a name is there");
}

static void child(void)
{
	struct stat st, here;

	zdtm_check(!stat(".", &here) && !fstat(INNER, &st) && st.st_ino == here.st_ino, "child: the cwd is another");
	zdtm_check(!stat("/", &here) && !fstat(DIR, &st) && st.st_ino == here.st_ino, "child: the root is another");
	zdtm_check(!getcwd((char[100]) { 0 }, 100) && errno == ENOENT, "child: getcwd: %s", strerror(errno));
	zdtm_check(write(WRITE, ", and more", 10) == 10, "child: the FIFO");
	_exit(0);
}

int main(void)
{
	char buf[64] = "", byte;
	int status = 0, p[2], q[2];
	pid_t kid;

	umask(0);
	setup();
	umask(022);
	zdtm_must(!pipe(p) && !pipe(q) && (kid = fork()) >= 0);
	if (!kid) {
		close(READ);
		close(p[1]);
		zdtm_must(!chroot("dir") && !fchdir(INNER) && write(q[1], "r", 1) == 1);
		close(q[0]);
		close(q[1]);
		while (read(p[0], &byte, 1) != 1)
			;
		child();
	}
	close(p[0]);
	close(WRITE);
	zdtm_must(read(q[0], &byte, 1) == 1 && !close(q[0]) && !close(q[1]));
	delete ();
	zdtm_ready();
	zdtm_wait();
	look();
	zdtm_check(read(READ, buf, 63) == 12 && !strcmp(buf, "in the queue"), "the FIFO: \"%s\"", buf);
	zdtm_check(write(p[1], "x", 1) == 1 && waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_check(read(READ, buf, 63) == 10 && !memcmp(buf, ", and more", 10), "the FIFO, then: \"%s\"", buf);
	zdtm_check(read(READ, buf, 63) == 0, "the FIFO has a writer");
	zdtm_check(write(EMPTY, "e", 1) == 1 && read(EMPTY, buf, 1) == 1 && *buf == 'e', "the other FIFO");
	zdtm_pass();
}
