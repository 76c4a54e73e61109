/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Files that were deleted and are open or mapped: one with two open files of their own positions and flags in two
 * tasks, mapped shared and private; mode, owner, times and attributes; one of 1 GiB with three blocks in it; an empty
 * one; one whose directory is gone too; one whose name somebody else has now; one that is only mapped; and an O_PATH.
 *
 * zdtm: flavour ns
 * zdtm: iters 2
 * zdtm: restores 2
 * zdtm: allow fd 3[0-9]/ino  any  a new inode
 * zdtm: allow fd 3[67]/link  any  its directory is gone, its name taken: another is shown
 */
#include <sys/mman.h>
#include <sys/xattr.h>

#include "zdtm.h"

#define BIG   (1LL << 30)
#define A     30 /* the first, for reading and writing */
#define B     31 /* the same, for appending */
#define BIG_1 32
#define EMPTY 33
#define PLAIN 34
#define WRITE 35 /* for writing alone */
#define NODIR 36
#define TAKEN 37

static char *shared, *private, *lonely;

static int made(int number, const char *name, int flags, mode_t mode)
{
	int fd = open(name, flags | O_CREAT, mode);

	zdtm_must(fd >= 0 && dup2(fd, number) == number && !close(fd));
	return number;
}

static int holds(int fd, off_t at, const char *want)
{
	char got[64] = "";

	return pread(fd, got, strlen(want), at) == (ssize_t)strlen(want) && !strcmp(got, want);
}

static void setup(void)
{
	struct timespec times[2] = { { 1000000000, 123456789 }, { 1100000000, 987654321 } };
	int fd;

	made(A, "a", O_RDWR, 0640);
	zdtm_must(!ftruncate(A, 3 * 4096) && pwrite(A, "first", 5, 0) == 5 && pwrite(A, "third", 5, 8192) == 5);
	fd = open("a", O_WRONLY | O_APPEND | O_NONBLOCK);
	zdtm_must(fd >= 0 && dup2(fd, B) == B && !close(fd) && lseek(A, 5, SEEK_SET) == 5);
	shared = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, A, 0);
	private = mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, A, 0);
	zdtm_must(shared != MAP_FAILED && private != MAP_FAILED);
	strcpy(shared + 4096, "through the mapping");
	strcpy(private + 8192, "for me alone");
	fsetxattr(A, "user.test", "value", 5, 0); /* where the file system has it */
	made(BIG_1, "big", O_RDWR, 0600);
	zdtm_must(!ftruncate(BIG_1, BIG) && pwrite(BIG_1, "begin", 5, 0) == 5);
	zdtm_must(pwrite(BIG_1, "middle", 6, BIG / 2 + 7) == 6 && pwrite(BIG_1, "end", 3, BIG - 3) == 3);
	made(EMPTY, "empty", O_RDONLY, 0404);
	made(PLAIN, "path", O_RDWR, 0600);
	zdtm_must(write(PLAIN, "by path", 7) == 7 && (fd = open("path", O_PATH)) >= 0 && dup2(fd, PLAIN) == PLAIN &&
	          !close(fd));
	made(WRITE, "write", O_WRONLY, 0200);
	zdtm_must(write(WRITE, "written", 7) == 7);
	zdtm_must(!mkdir("dir", 0700) && !mkdir("dir/in", 0700));
	made(NODIR, "dir/in/it", O_RDWR, 0600);
	zdtm_must(write(NODIR, "no directory", 12) == 12);
	made(TAKEN, "taken", O_RDWR, 0600);
	zdtm_must(write(TAKEN, "old", 3) == 3);
	zdtm_must((fd = open("mapped", O_RDWR | O_CREAT, 0600)) >= 0 && write(fd, "only mapped", 12) == 12);
	lonely = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
	zdtm_must(lonely != MAP_FAILED && !close(fd));
	zdtm_must(!unlink("a") && !unlink("big") && !unlink("empty") && !unlink("path") && !unlink("write"));
	zdtm_must(!unlink("dir/in/it") && !rmdir("dir/in") && !rmdir("dir") && !unlink("taken") && !unlink("mapped"));
	zdtm_must((fd = open("taken", O_WRONLY | O_CREAT | O_EXCL, 0600)) >= 0 && write(fd, "new", 3) == 3 &&
	          !close(fd));
	zdtm_must(!futimens(A, times));
}

static void in_child(void)
{
	zdtm_check(lseek(A, 0, SEEK_CUR) == 5, "child: position %ld", (long)lseek(A, 0, SEEK_CUR));
	zdtm_check(write(B, "tail", 4) == 4, "child: appending");
	shared[0] = 'F';
}

static void attributes(void)
{
	char value[10] = "";
	struct stat st;

	zdtm_must(!fstat(A, &st));
	zdtm_check((st.st_mode & 07777) == 0640 && st.st_nlink == 0, "mode %o, %lu names", st.st_mode, st.st_nlink);
	zdtm_check(st.st_uid == getuid() && st.st_gid == getgid(), "owner %u.%u", st.st_uid, st.st_gid);
	zdtm_check(st.st_mtim.tv_sec == 1100000000 && st.st_mtim.tv_nsec == 987654321, "changed at %ld.%09ld",
	           st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	zdtm_check(fgetxattr(A, "user.test", value, 9) < 0 ? errno == ENOTSUP : !strcmp(value, "value"),
	           "the attribute: %s", strerror(errno));
	zdtm_must(!fstat(EMPTY, &st));
	zdtm_check(st.st_size == 0 && (st.st_mode & 07777) == 0404, "the empty one: %ld, %o", (long)st.st_size,
	           st.st_mode);
	zdtm_must(!fstat(BIG_1, &st));
	zdtm_check(st.st_size == BIG && st.st_blocks < 2048, "the big one: %ld bytes in %ld blocks", (long)st.st_size,
	           (long)st.st_blocks);
}

static void contents(void)
{
	int fd;
	char path[32];

	zdtm_check(holds(A, 4096, "through the mapping") && holds(A, 8192, "third"), "what was in it");
	zdtm_check(!strcmp(private + 8192, "for me alone") && !strcmp(shared + 8192, "third"), "the mappings");
	zdtm_check(holds(BIG_1, 0, "begin") && holds(BIG_1, BIG / 2 + 7, "middle") && holds(BIG_1, BIG - 3, "end"),
	           "the big one");
	zdtm_check(!strcmp(lonely, "only mapped"), "the one that is mapped: \"%s\"", lonely);
	zdtm_check(holds(NODIR, 0, "no directory") && holds(TAKEN, 0, "old"), "without a place");
	zdtm_check((fd = open(zdtm_path("taken"), O_RDONLY)) >= 0 && holds(fd, 0, "new"), "who has the name now");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", PLAIN);
	zdtm_check((fd = open(path, O_RDONLY)) >= 0 && holds(fd, 0, "by path"), "the O_PATH one");
	zdtm_check((fcntl(PLAIN, F_GETFL) & O_PATH) && fcntl(WRITE, F_GETFL) & O_WRONLY, "flags");
	zdtm_check(pwrite(WRITE, "W", 1, 0) == 1, "the one for writing");
}

int main(void)
{
	int status;
	pid_t kid;
	char c;

	setup();
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		while (access(zdtm_path("go"), F_OK))
			zdtm_nap();
		in_child();
		_exit(0);
	}
	zdtm_ready();
	zdtm_wait();
	zdtm_check(access(zdtm_path("a"), F_OK) && access(zdtm_path("big"), F_OK) && access(zdtm_path("dir"), F_OK),
	           "a name is back");
	attributes();
	contents();
	zdtm_touch("go");
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_check(holds(A, 3 * 4096, "tail"), "what the child appended is not there");
	zdtm_check(shared[0] == 'F' && private[0] == 'F' && read(A, &c, 1) == 1 && c == 0, "it is not one file");
	zdtm_check(lseek(A, 0, SEEK_CUR) == 6, "position %ld", (long)lseek(A, 0, SEEK_CUR));
	zdtm_check((fcntl(B, F_GETFL) & (O_APPEND | O_NONBLOCK)) == (O_APPEND | O_NONBLOCK), "flags of the second");
	unlink(zdtm_path("go"));
	unlink(zdtm_path("taken"));
	zdtm_pass();
}
