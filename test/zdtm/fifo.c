/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Named pipes with data in them: opened for reading and for writing by two processes, for both by one, with
 * O_NONBLOCK; a name that is opened again afterwards meets the same pipe. Whom it signals, and how; locks on it.
 *
 * zdtm: flavour ns
 * zdtm: dump --file-locks
 * zdtm: restore --file-locks
 * zdtm: restores 3
 */
#include "zdtm.h"

int main(void)
{
	int both, rd, wr, other, status;
	struct flock lock = { .l_type = F_WRLCK, .l_start = 5, .l_len = 2 };
	struct flock second = { .l_type = F_WRLCK, .l_start = 50, .l_len = 2 };
	char buf[100000];
	pid_t kid;

	zdtm_must(!mkfifo("one", 0600) && !mkfifo("two", 0600));
	zdtm_must((both = open("one", O_RDWR)) >= 0 && write(both, "hello", 5) == 5);
	zdtm_must((rd = open("two", O_RDONLY | O_NONBLOCK)) >= 0 && (wr = open("two", O_WRONLY)) >= 0);
	zdtm_must(fcntl(wr, F_SETPIPE_SZ, 131072) == 131072);
	memset(buf, 'q', sizeof(buf));
	zdtm_must(write(wr, buf, sizeof(buf)) == sizeof(buf));
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		close(rd);
		close(both);
		zdtm_wait();
		zdtm_check(write(wr, "end", 3) == 3, "child writes");
		_exit(0);
	}
	close(wr);
	zdtm_must(!fcntl(both, F_SETOWN, -getpgrp()) && !fcntl(both, F_SETSIG, SIGURG));
	zdtm_must(!fcntl(both, F_SETFL, O_ASYNC) && !fcntl(both, F_OFD_SETLK, &lock) && !fcntl(both, F_SETLK, &second));
	zdtm_ready();
	zdtm_wait();
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_check(fcntl(both, F_GETOWN) == -getpgrp() && fcntl(both, F_GETSIG) == SIGURG, "whom it signals: %d, %d",
	           fcntl(both, F_GETOWN), fcntl(both, F_GETSIG));
	zdtm_check(fcntl(both, F_GETFL) & O_ASYNC, "O_ASYNC is lost");
	zdtm_check((other = open(zdtm_path("one"), O_RDWR)) >= 0, "opening it");
	zdtm_check(fcntl(other, F_OFD_SETLK, &lock) == -1 && errno == EAGAIN, "the OFD lock is lost");
	zdtm_check(fcntl(other, F_OFD_SETLK, &second) == -1 && errno == EAGAIN, "the POSIX lock is lost");
	zdtm_check(read(both, buf, 100) == 5 && !memcmp(buf, "hello", 5), "bytes of the first");
	zdtm_check(fcntl(rd, F_GETPIPE_SZ) == 131072 && fcntl(rd, F_GETFL) & O_NONBLOCK, "size or flags");
	for (size_t n = 0; n < sizeof(buf);) {
		ssize_t r = read(rd, buf + n, sizeof(buf) - n);

		if (!zdtm_check(r > 0, "%zu bytes of %zu came", n, sizeof(buf)))
			break;
		n += r;
	}
	zdtm_check(buf[0] == 'q' && buf[sizeof(buf) - 1] == 'q', "bytes of the second");
	zdtm_check(read(rd, buf, 10) == 3 && !memcmp(buf, "end", 3) && read(rd, buf, 10) == 0, "what the child wrote");
	zdtm_check((other = open(zdtm_path("one"), O_WRONLY | O_NONBLOCK)) >= 0 && write(other, "again", 5) == 5,
	           "reopen");
	zdtm_check(read(both, buf, 100) == 5 && !memcmp(buf, "again", 5), "another pipe has that name now");
	zdtm_pass();
}
