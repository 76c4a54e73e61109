/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Queues that cannot be dumped, each with its reason, and others beside them: a dump that fails leaves all of them,
 * their errors and their sockets' options as they were.
 *
 * zdtm: refuse fd \d+: an error is pending before the messages
 * zdtm: refuse fd \d+: an empty datagram waits in its queue that was peeked at
 * zdtm: refuse fd \d+: an out-of-band byte \(MSG_OOB\) waits in its queue next to a change of sender
 */
#include "unix_queue.h"

static void pair(int type, int p[2])
{
	zdtm_must(!socketpair(AF_UNIX, type, 0, p));
}

static void options_are(int fd, int passcred, int peek_off, int oobinline)
{
	zdtm_check(get(fd, SO_PASSCRED) == passcred, "SO_PASSCRED is %d", get(fd, SO_PASSCRED));
	zdtm_check(get(fd, SO_PEEK_OFF) == peek_off, "SO_PEEK_OFF is %d", get(fd, SO_PEEK_OFF));
	zdtm_check(get(fd, SO_OOBINLINE) == oobinline, "SO_OOBINLINE is %d", get(fd, SO_OOBINLINE));
}

int main(void)
{
	int error[2], empty[2], oob[2], stream[2], dgram[2], off[2];
	char c;

	pair(SOCK_SEQPACKET, error);
	put(error[0], "for you");
	put(error[1], "never read");
	close(error[0]);
	pair(SOCK_DGRAM, empty);
	put(empty[0], "");
	put(empty[0], "second");
	zdtm_must(recv(empty[1], &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0);
	pair(SOCK_STREAM, oob);
	put(oob[0], "nobody");
	set(oob[1], SO_PASSCRED, 1);
	zdtm_must(send(oob[0], "!", 1, MSG_OOB) == 1);
	put(oob[0], "me");
	pair(SOCK_STREAM, stream);
	put(stream[0], "nobody");
	set(stream[1], SO_PASSCRED, 1);
	put_fds(stream[0], "me", stream, 2);
	pair(SOCK_DGRAM, dgram);
	put(dgram[0], "first");
	put(dgram[0], "second");
	pair(SOCK_STREAM, off);
	put(off[0], "0123456789");
	set(off[1], SO_PEEK_OFF, 3);
	zdtm_ready();
	zdtm_wait();
	options_are(error[1], 0, -1, 0);
	options_are(empty[1], 0, -1, 0);
	options_are(oob[1], 1, -1, 0);
	options_are(stream[1], 1, -1, 0);
	options_are(off[1], 0, 3, 0);
	zdtm_check(take(error[1], 10) == -ECONNRESET, "the error is gone");
	expect(error[1], "for you", "behind the error");
	expect(empty[1], "", "the empty one");
	expect(empty[1], "second", "behind the empty one");
	zdtm_check(recv(oob[1], &c, 1, MSG_OOB | MSG_DONTWAIT) == 1 && c == '!', "the out-of-band byte");
	expect(oob[1], "nobody", "before the mark");
	expect(oob[1], "me", "behind the mark");
	expect(stream[1], "nobody", "of the stream");
	sent_by(0, 65534);
	expect(stream[1], "me", "of the stream");
	zdtm_check(taken.n_fds == 2, "%d descriptors in flight", taken.n_fds);
	sent_by(getpid(), 0);
	expect(dgram[1], "first", "datagrams");
	expect(dgram[1], "second", "datagrams");
	zdtm_check(recv(off[1], &c, 1, MSG_PEEK) == 1 && c == '3', "peeking goes on at '%c'", c);
	expect(off[1], "0123456789", "a queue with SO_PEEK_OFF");
	zdtm_pass();
}
