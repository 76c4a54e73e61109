/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * More of io_uring that cannot come back, each refused by its name: requests in flight that wait for all before them
 * (IOSQE_IO_DRAIN), connect, send without copying, come again and again, have received a part; a ring in the program's
 * own memory, and one with completions for which there was no place. The rings go on.
 *
 * zdtm: dump --timeout 1 --tcp-established
 * zdtm: allow fd 10?/Sq*  any  the thread that polls goes on
 * zdtm: refuse fd 100: io_uring: 6 requests are in flight, .*: let them end, or cancel them, before the dump
 * zdtm: refuse fd 100: io_uring: .*, 2 that do not wait for an event: for others before them \(IOSQE_IO_DRAIN\)
 * zdtm: refuse fd 106: io_uring: .*opcode 6: waits for all before it \(IOSQE_IO_DRAIN\)
 * zdtm: refuse fd 105: io_uring: .*opcode 16: cannot be submitted again
 * zdtm: refuse fd 100: io_uring: .*opcode 47: cannot be submitted again
 * zdtm: refuse fd 100: io_uring: .*opcode 11: a timeout that comes again and again \(IORING_TIMEOUT_MULTISHOT\)
 * zdtm: refuse fd 100: io_uring: .*opcode 27: a part has been received \(MSG_WAITALL\)
 * zdtm: refuse fd 101: io_uring in the program's own memory \(IORING_SETUP_NO_MMAP\) .*; .* before the dump
 * zdtm: refuse fd 102: io_uring has completions for which there was no place; read them before the dump
 */
#include <linux/io_uring.h>
#include <linux/time_types.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "zdtm.h"

#define SEND_ZC           47         /* IORING_OP_SEND_ZC */
#define NO_MMAP           (1U << 14) /* IORING_SETUP_NO_MMAP */
#define TIMEOUT_MULTISHOT (1U << 6)  /* IORING_TIMEOUT_MULTISHOT */

static struct ring {
	struct io_uring_params p;
	unsigned char *rings;
	struct io_uring_sqe *sqes;
	int fd;
} first, connecting, draining, crowded;

static unsigned *at(const struct ring *r, unsigned offset)
{
	return (unsigned *)(void *)(r->rings + offset);
}

static void put(struct ring *r, const struct io_uring_sqe *e)
{
	unsigned tail = *at(r, r->p.sq_off.tail), n = tail & *at(r, r->p.sq_off.ring_mask);

	r->sqes[n] = *e;
	at(r, r->p.sq_off.array)[n] = n;
	__atomic_store_n(at(r, r->p.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
}

static void submit(struct ring *r, const struct io_uring_sqe *e)
{
	put(r, e);
	zdtm_must(syscall(SYS_io_uring_enter, r->fd, 1, 0, 0, NULL, 0) == 1);
}

/* Takes the next completion; 0: there is none. */
static int take_next(struct ring *r, unsigned *data, int *res)
{
	unsigned head = *at(r, r->p.cq_off.head);
	struct io_uring_cqe *c = (void *)(r->rings + r->p.cq_off.cqes);

	if (__atomic_load_n(at(r, r->p.cq_off.tail), __ATOMIC_ACQUIRE) == head)
		return 0;
	c += head & *at(r, r->p.cq_off.ring_mask);
	*data = (unsigned)c->user_data;
	*res = c->res;
	__atomic_store_n(at(r, r->p.cq_off.head), head + 1, __ATOMIC_RELEASE);
	return 1;
}

static void map_ring(struct ring *r, int number, unsigned entries)
{
	r->fd = (int)syscall(SYS_io_uring_setup, entries, &r->p);
	if (r->fd < 0)
		zdtm_skip("io_uring_setup: %s", strerror(errno));
	zdtm_must(dup2(r->fd, number) == number);
	close(r->fd);
	r->fd = number;
	r->rings = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, number, IORING_OFF_SQ_RING);
	r->sqes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, number, IORING_OFF_SQES);
	zdtm_must(r->rings != MAP_FAILED && r->sqes != MAP_FAILED);
}

static void make_own_memory(int number)
{
	unsigned char *own =
	    mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	struct io_uring_params p = { .flags = NO_MMAP };
	int fd;

	zdtm_must(own != MAP_FAILED);
	memcpy((char *)&p.cq_off + 32, &own, sizeof(own)); /* cq_off.user_addr */
	own += 4096;
	memcpy((char *)&p.sq_off + 32, &own, sizeof(own));
	fd = (int)syscall(SYS_io_uring_setup, 8, &p);
	if (fd < 0)
		zdtm_skip("io_uring_setup with IORING_SETUP_NO_MMAP: %s", strerror(errno));
	zdtm_must(dup2(fd, number) == number);
	close(fd);
}

/* One more than the ring has places for. */
static void make_crowd(void)
{
	map_ring(&crowded, 102, 2);
	for (unsigned i = 0; i <= crowded.p.cq_entries; i++)
		submit(&crowded, &(struct io_uring_sqe) { .opcode = IORING_OP_NOP, .user_data = i });
}

static void tcp_pair(int sv[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0);

	zdtm_must(!bind(l, (struct sockaddr *)&a, len) && !listen(l, 1) &&
	          !getsockname(l, (struct sockaddr *)&a, &len));
	sv[0] = socket(AF_INET, SOCK_STREAM, 0);
	zdtm_must(!connect(sv[0], (struct sockaddr *)&a, len) && (sv[1] = accept(l, NULL, NULL)) >= 0);
	close(l);
}

static char bulk[1 << 20];

/* Nobody answers: its listener has as many as it takes. */
static void connect_for_ever(void)
{
	static struct sockaddr_in a = { .sin_family = AF_INET };
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0), fd;

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	zdtm_must(!bind(l, (struct sockaddr *)&a, len) && !listen(l, 0) &&
	          !getsockname(l, (struct sockaddr *)&a, &len));
	fd = socket(AF_INET, SOCK_STREAM, 0);
	zdtm_must(!connect(fd, (struct sockaddr *)&a, len));
	map_ring(&connecting, 105, 8);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	submit(&connecting,
	       &(struct io_uring_sqe) { .opcode = IORING_OP_CONNECT, .fd = fd, .addr = (uintptr_t)&a, .off = len });
}

int main(void)
{
	static struct __kernel_timespec hour = { 3600, 0 };
	static char room[100];
	int event = eventfd(0, 0), sv[2], tcp[2];
	unsigned n, seen = 0;
	int res;

	zdtm_must(event >= 0 && !socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
	map_ring(&first, 100, 8);
	tcp_pair(tcp);
	while (send(tcp[0], bulk, sizeof(bulk), MSG_DONTWAIT) > 0)
		;
	submit(&first, &(struct io_uring_sqe) {
	                   .opcode = IORING_OP_POLL_ADD, .fd = event, .poll32_events = POLLIN, .user_data = 1 });
	submit(&first, &(struct io_uring_sqe) { .opcode = IORING_OP_TIMEOUT,
	                                        .fd = -1,
	                                        .addr = (uintptr_t)&hour,
	                                        .len = 1,
	                                        .timeout_flags = TIMEOUT_MULTISHOT,
	                                        .user_data = 2 });
	submit(&first, &(struct io_uring_sqe) { .opcode = IORING_OP_RECV,
	                                        .fd = sv[0],
	                                        .addr = (uintptr_t)room,
	                                        .len = sizeof(room),
	                                        .msg_flags = MSG_WAITALL,
	                                        .user_data = 3 });
	zdtm_must(write(sv[1], "half", 4) == 4);
	submit(&first,
	       &(struct io_uring_sqe) {
	           .opcode = SEND_ZC, .fd = tcp[0], .addr = (uintptr_t)bulk, .len = sizeof(bulk), .user_data = 4 });
	submit(&first, &(struct io_uring_sqe) { .opcode = IORING_OP_NOP, .flags = IOSQE_IO_DRAIN, .user_data = 5 });
	make_own_memory(101);
	make_crowd();
	connect_for_ever();
	map_ring(&draining, 106, 8);
	submit(&draining, &(struct io_uring_sqe) { .opcode = IORING_OP_POLL_ADD,
	                                           .flags = IOSQE_IO_DRAIN,
	                                           .fd = eventfd(0, 0),
	                                           .poll32_events = POLLIN });
	zdtm_ready();
	zdtm_wait();
	zdtm_check(write(event, &(uint64_t) { 1 }, 8) == 8 && write(sv[1], room, 96) == 96, "events");
	for (int i = 0; i < 1000 && (seen & 0xa) != 0xa; i++, usleep(1000)) {
		syscall(SYS_io_uring_enter, first.fd, 0, 0, IORING_ENTER_GETEVENTS, NULL, 0);
		while (take_next(&first, &n, &res))
			seen |= (n == 1 && res == POLLIN) || (n == 3 && res == 100) ? 1U << n : 0;
	}
	zdtm_check((seen & 0xa) == 0xa, "of the requests that waited these have ended: %x", seen);
	zdtm_pass();
}
