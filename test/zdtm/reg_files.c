/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Regular files and directories: offsets, flags, O_APPEND, O_PATH, dup and inheritance (one offset), two opens of one
 * file (two offsets), numbers with gaps up to 1,000 and beyond, close-on-exec, owner and signal.
 *
 * zdtm: flavour ns
 * zdtm: restores 3
 */
#include <dirent.h>
#include <sys/resource.h>

#include "zdtm.h"

static off_t at(int fd)
{
	return lseek(fd, 0, SEEK_CUR);
}

int main(void)
{
	int a, b, d, app, path, dir, rd, far, status;
	struct stat st, st2;
	struct dirent *e;
	DIR *listing;
	pid_t kid;

	zdtm_must((a = open("file", O_RDWR | O_CREAT | O_TRUNC, 0600)) >= 0);
	zdtm_must(write(a, "0123456789", 10) == 10 && lseek(a, 4, SEEK_SET) == 4);
	zdtm_must((b = open("file", O_RDONLY | O_NOATIME)) >= 0 && lseek(b, 7, SEEK_SET) == 7);
	zdtm_must((d = dup(a)) >= 0);
	zdtm_must((app = open("log", O_WRONLY | O_APPEND | O_CREAT, 0644)) >= 0 && write(app, "one\n", 4) == 4);
	zdtm_must((path = open("file", O_PATH)) >= 0);
	zdtm_must((dir = open(".", O_RDONLY | O_DIRECTORY)) >= 0);
	zdtm_must((rd = open("/bin/sh", O_RDONLY | O_CLOEXEC)) >= 0);
	zdtm_must((far = dup2(a, 777)) == 777);
	zdtm_must(fcntl(b, F_DUPFD_CLOEXEC, 1015) == 1015);
	zdtm_must(!fcntl(rd, F_SETOWN, getpid()) && !fcntl(rd, F_SETSIG, SIGRTMIN + 3));
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		zdtm_wait();
		while (at(a) != 5)
			zdtm_nap();
		zdtm_check(lseek(a, 6, SEEK_SET) == 6, "child: lseek");
		_exit(0);
	}
	zdtm_ready();
	zdtm_wait();
	zdtm_check(at(a) == 4 && at(b) == 7 && at(d) == 4, "offsets %ld %ld %ld", at(a), at(b), at(d));
	zdtm_check(lseek(d, 5, SEEK_SET) == 5 && at(a) == 5 && at(far) == 5, "dup does not share the offset");
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_check(at(a) == 6 && at(b) == 7, "the child does not share the offset: %ld %ld", at(a), at(b));
	zdtm_check((fcntl(b, F_GETFL) & (O_NOATIME | O_ACCMODE)) == (O_NOATIME | O_RDONLY), "flags %x",
	           fcntl(b, F_GETFL));
	zdtm_check((fcntl(app, F_GETFL) & (O_APPEND | O_ACCMODE)) == (O_APPEND | O_WRONLY), "flags %x",
	           fcntl(app, F_GETFL));
	zdtm_check(write(app, "two\n", 4) == 4 && at(app) == 8, "append");
	zdtm_check(fcntl(path, F_GETFL) & O_PATH, "O_PATH: %x", fcntl(path, F_GETFL));
	zdtm_check(read(path, &st, 1) == -1 && errno == EBADF, "O_PATH can be read");
	zdtm_check(!fstat(path, &st) && !fstat(a, &st2) && st.st_ino == st2.st_ino, "O_PATH is another file");
	zdtm_check(fcntl(rd, F_GETFD) == FD_CLOEXEC && fcntl(1015, F_GETFD) == FD_CLOEXEC && !fcntl(far, F_GETFD),
	           "close-on-exec");
	zdtm_check(at(1015) == 7, "descriptor 1015");
	zdtm_check(fcntl(rd, F_GETOWN) == getpid() && fcntl(rd, F_GETSIG) == SIGRTMIN + 3, "owner %d signal %d",
	           fcntl(rd, F_GETOWN), fcntl(rd, F_GETSIG));
	listing = fdopendir(dir);
	status = 0;
	while (listing && (e = readdir(listing)))
		status += !strcmp(e->d_name, "file") || !strcmp(e->d_name, "log");
	zdtm_check(status == 2, "the directory has %d of 2", status);
	zdtm_pass();
}
