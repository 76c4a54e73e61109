/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Queues of unix stream sockets: a mebibyte in several writes of which some was read, both directions, a peer that is
 * gone with bytes left behind, one that was shut down, senders that change, and an out-of-band byte.
 *
 * zdtm: needs-root
 * zdtm: iters 2
 * zdtm: no-userns forces the size of a buffer
 * zdtm: flavour pidns
 */
#include "unix_queue.h"

#define SIZE (1 << 20)

static char byte_at(int i)
{
	return i * 7 + i / 4099;
}

static void fill(int fd)
{
	static char bytes[SIZE];
	int v = 2 * SIZE;

	for (int i = 0; i < SIZE; i++)
		bytes[i] = byte_at(i);
	zdtm_must(!setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &v, sizeof(v)));
	for (int at = 0, n; at < SIZE; at += n) {
		n = SIZE - at < 123456 ? SIZE - at : 123456;
		zdtm_must(send(fd, bytes + at, n, MSG_DONTWAIT) == n);
	}
}

static void check_filled(int fd, int at)
{
	while (at < SIZE) {
		if (!zdtm_check(take(fd, 65000) > 0, "ends after %d bytes: %s", at, strerror(errno)))
			return;
		for (int i = 0; i < taken.n; i++, at++)
			if (!zdtm_check(taken.text[i] == byte_at(at), "byte %d differs", at))
				return;
	}
	expect_nothing(fd);
}

int main(void)
{
	int large[2], gone[2], shut[2], who[2], oob[2], sndbuf;
	pid_t other;
	char c = 0;

	zdtm_must(!socketpair(AF_UNIX, SOCK_STREAM, 0, large) && !socketpair(AF_UNIX, SOCK_STREAM, 0, gone));
	zdtm_must(!socketpair(AF_UNIX, SOCK_STREAM, 0, shut) && !socketpair(AF_UNIX, SOCK_STREAM, 0, who));
	zdtm_must(!socketpair(AF_UNIX, SOCK_STREAM, 0, oob));
	fill(large[0]);
	zdtm_must(recv(large[1], taken.text, 54321, 0) == 54321);
	put(large[1], "back");
	sndbuf = get(large[0], SO_SNDBUF);
	put(gone[0], "left behind");
	close(gone[0]);
	put(shut[0], "last words");
	zdtm_must(!shutdown(shut[0], SHUT_WR));
	put(who[0], "nobody");
	set(who[1], SO_PASSCRED, 1);
	put(who[0], "me");
	put(who[0], " and me");
	other = put_by_other(who[0], "other", 1234);
	put(who[0], "me again");
	put(oob[0], "before");
	zdtm_must(send(oob[0], "!", 1, MSG_OOB) == 1);
	put(oob[0], "after");
	zdtm_ready();
	zdtm_wait();
	zdtm_check(get(large[0], SO_SNDBUF) == sndbuf, "SO_SNDBUF is %d, not %d", get(large[0], SO_SNDBUF), sndbuf);
	check_filled(large[1], 54321);
	expect(large[0], "back", "the other direction");
	expect(gone[1], "left behind", "its writer is gone");
	zdtm_check(take(gone[1], 1) == 0, "no end after what its writer left");
	expect(shut[1], "last words", "shut down");
	zdtm_check(take(shut[1], 1) == 0, "no end after the shutdown");
	put(shut[1], "answer");
	expect(shut[0], "answer", "the way back from a socket that was shut down one way");
	expect(who[1], "nobody", "sent without credentials");
	sent_by(0, 65534);
	expect(who[1], "me and me", "two by one sender");
	sent_by(getpid(), 0);
	expect(who[1], "other", "by somebody who is gone");
	sent_by(other, 1234);
	expect(who[1], "me again", "by the first again");
	sent_by(getpid(), 0);
	zdtm_check(recv(oob[1], &c, 1, MSG_OOB | MSG_DONTWAIT) == 1 && c == '!', "the out-of-band byte is '%c'", c);
	expect(oob[1], "before", "before the mark");
	expect(oob[1], "after", "after the mark");
	zdtm_pass();
}
