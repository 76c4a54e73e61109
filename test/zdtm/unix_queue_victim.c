/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Queues of unix sockets under fault campaigns: each time the program is asked it reads all that waits, looks at the
 * sockets' options, and fills the queues anew.
 *
 * zdtm: victim points random
 * zdtm: needs-root
 */
#include "unix_queue.h"

static int stream[2], packet[2], dgram[2], file;
static pid_t gone;

static void fill(void)
{
	put(stream[0], "nobody");
	set(stream[1], SO_PASSCRED, 1);
	put(stream[0], "me");
	put_fds(stream[0], "fd", &file, 1);
	gone = put_by_other(stream[0], "gone", 1234);
	set(stream[1], SO_PASSCRED, 0);
	zdtm_must(send(stream[1], "back!", 5, MSG_OOB) == 5);
	put(packet[0], "");
	put_fds(packet[0], "itself", &packet[1], 1);
	put(packet[0], "last");
	put(dgram[0], "one");
	put(dgram[1], "other");
}

static void options_are(int fd, int peek_off)
{
	zdtm_check(get(fd, SO_PASSCRED) == 0, "SO_PASSCRED is %d", get(fd, SO_PASSCRED));
	zdtm_check(get(fd, SO_PEEK_OFF) == peek_off, "SO_PEEK_OFF is %d", get(fd, SO_PEEK_OFF));
	zdtm_check(get(fd, SO_OOBINLINE) == 0, "SO_OOBINLINE is %d", get(fd, SO_OOBINLINE));
}

static void check(void)
{
	char c = 0;
	int fd;

	options_are(stream[0], -1);
	options_are(stream[1], -1);
	options_are(packet[1], -1);
	options_are(dgram[1], -1);
	set(stream[1], SO_PASSCRED, 1);
	expect(stream[1], "nobody", "without credentials");
	sent_by(0, 65534);
	zdtm_check(take(stream[1], 2) == 2 && !strcmp(taken.text, "me"), "ours: '%s'", taken.text);
	sent_by(getpid(), 0);
	expect(stream[1], "fd", "with a file");
	zdtm_check(taken.n_fds == 1 && lseek(taken.fds[0], 0, SEEK_CUR) == 3, "%d descriptors", taken.n_fds);
	close(taken.fds[0]);
	expect(stream[1], "gone", "of one who is gone");
	sent_by(gone, 1234);
	expect_nothing(stream[1]);
	set(stream[1], SO_PASSCRED, 0);
	zdtm_check(recv(stream[0], &c, 1, MSG_OOB | MSG_DONTWAIT) == 1 && c == '!', "the out-of-band byte");
	expect(stream[0], "back", "the other way");
	expect(packet[1], "", "an empty one");
	expect(packet[1], "itself", "in its own queue");
	zdtm_check((fd = taken.n_fds == 1 ? taken.fds[0] : -1) >= 0, "%d descriptors", taken.n_fds);
	expect(fd, "last", "by the one that was in flight");
	close(fd);
	expect(dgram[1], "one", "a datagram");
	expect(dgram[0], "other", "a datagram back");
}

int main(void)
{
	zdtm_must(!socketpair(AF_UNIX, SOCK_STREAM, 0, stream) && !socketpair(AF_UNIX, SOCK_SEQPACKET, 0, packet));
	zdtm_must(!socketpair(AF_UNIX, SOCK_DGRAM, 0, dgram));
	zdtm_must((file = open("file", O_RDWR | O_CREAT, 0600)) >= 0 && write(file, "abc", 3) == 3);
	fill();
	zdtm_ready();
	while (zdtm_asked()) {
		check();
		fill();
		zdtm_answer();
	}
	check();
	zdtm_pass();
}
