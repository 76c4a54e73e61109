/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Requests of io_uring in flight, three rounds: polls (one of them of a descriptor that is closed under its number and
 * open under another), accept, receive and read of sockets, pipes, an eventfd and a terminal, timeouts (relative,
 * absolute, of a link, of a count of completions), waits for a futex and for an epoll, by two threads and, in other
 * rings, by the only thread that may (SINGLE_ISSUER, DEFER_TASKRUN), by the ring's own thread (SQPOLL), and with large
 * entries. The ring has had completions that were not asked for, and several of one request. Each request ends once,
 * with its result, when what it waits for has come, and not before; timeouts not before their time.
 *
 * zdtm: iters 3
 * zdtm: dump --tcp-established
 * zdtm: restore --tcp-established
 * zdtm: allow fd ?/C*  any  a timeout may end between the looks
 * zdtm: allow fd ?/ *  any  a timeout may end between the looks; a read of a socket comes back as a receive
 */
#include <arpa/inet.h>
#include <linux/futex.h>
#include <linux/io_uring.h>
#include <linux/time_types.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "zdtm.h"
#include "zdtm_until.h"

#define OP_FUTEX_WAIT 51
#define OP_EPOLL_WAIT 59
#define FOREVER       1000 /* s */
#define SHORT         2
#define REST          40 /* s: a timeout that is looked at, not waited for */

enum {
	R_POLL = 1,
	R_POLL_CLOSED,
	R_ACCEPT,
	R_RECV,
	R_RECV_TCP,
	R_READ_TCP,
	R_READ_PIPE,
	R_READ_EVENT,
	R_TIMEOUT,
	R_TIMEOUT_ABS,
	R_TIMEOUT_COUNT,
	R_TIMEOUT_SHORT,
	R_FUTEX,
	R_EPOLL,
	R_TTY,
	R_POLL_MULTI,
	R_ACCEPT_MULTI,
	R_MESSAGE,
	R_VECTOR,
	R_LINKED, /* and its timeout the next number */
	R_LINKED_TIME,
	N_REQUESTS
};

static struct ring {
	const char *name;
	unsigned flags;
	struct io_uring_params p;
	unsigned char *rings, *sqes;
	int fd;
} main_ring = { .name = "plain" },
  single = { .name = "single", .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN },
  polling = { .name = "polling", .flags = IORING_SETUP_SQPOLL },
  large = { .name = "large", .flags = IORING_SETUP_SQE128 | IORING_SETUP_CQE32 }, other = { .name = "thread" };

static int multi_event, multi_listener, event, closed_event, sockets[2], tcp[2], tcp_read[2], pipes[2], read_event,
    epoll_fd, epoll_event, listener, tty;
static int single_pipe[2], polling_pipe[2], large_pipe[2], other_pipe[2], master;
static char recv_buf[8], tcp_buf[8], tcp_read_buf[8], pipe_buf[8], event_buf[8], tty_buf[8], small_buf[4][8];
static char message_buf[2][4], vector_buf[2][4], linked_buf[8];
static struct iovec message_iov[2] = { { message_buf[0], 2 }, { message_buf[1], 4 } };
static struct iovec vector_iov[2] = { { vector_buf[0], 3 }, { vector_buf[1], 4 } };
static struct sockaddr_un message_name;
static struct msghdr message = {
	.msg_name = &message_name, .msg_namelen = sizeof(message_name), .msg_iov = message_iov, .msg_iovlen = 2
};
static int dgrams[2], vector_pipe[2], linked_pipe[2];
static struct epoll_event epoll_result;
static unsigned futex_word = 7;
static struct timespec began;
static int has_futex, has_epoll, has_skip;

static unsigned *at(const struct ring *r, unsigned offset)
{
	return (unsigned *)(void *)(r->rings + offset);
}

static size_t sqe_size(const struct ring *r)
{
	return r->flags & IORING_SETUP_SQE128 ? 128 : 64;
}

static void set_up(struct ring *r)
{
	size_t cqe = r->flags & IORING_SETUP_CQE32 ? 32 : 16, len;

	r->p.flags = r->flags;
	r->p.sq_thread_idle = 50;
	r->fd = (int)syscall(SYS_io_uring_setup, 8, &r->p);
	if (r->fd < 0)
		zdtm_skip("io_uring_setup with flags %x: %s", r->flags, strerror(errno));
	len = r->p.cq_off.cqes + r->p.cq_entries * cqe;
	if (len < r->p.sq_off.array + r->p.sq_entries * 4)
		len = r->p.sq_off.array + r->p.sq_entries * 4;
	r->rings = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQ_RING);
	r->sqes = mmap(NULL, r->p.sq_entries * sqe_size(r), PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQES);
	zdtm_must(r->rings != MAP_FAILED && r->sqes != MAP_FAILED);
}

static void submit(struct ring *r, struct io_uring_sqe e)
{
	unsigned tail = *at(r, r->p.sq_off.tail), n = tail & *at(r, r->p.sq_off.ring_mask);
	unsigned flags = r->flags & IORING_SETUP_SQPOLL ? IORING_ENTER_SQ_WAKEUP : 0;

	memset(r->sqes + n * sqe_size(r), 0, sqe_size(r));
	memcpy(r->sqes + n * sqe_size(r), &e, sizeof(e));
	at(r, r->p.sq_off.array)[n] = n;
	__atomic_store_n(at(r, r->p.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
	zdtm_must(syscall(SYS_io_uring_enter, r->fd, 1, 0, flags, NULL, 0) == 1);
	while (__atomic_load_n(at(r, r->p.sq_off.head), __ATOMIC_ACQUIRE) != tail + 1)
		usleep(100);
}

/* The next completion, waited for so many milliseconds. 0: none came. */
static int next(struct ring *r, int ms, unsigned long long *data, int *res)
{
	unsigned head = *at(r, r->p.cq_off.head), n = head & *at(r, r->p.cq_off.ring_mask);
	const struct io_uring_cqe *c;

	for (int i = 0; __atomic_load_n(at(r, r->p.cq_off.tail), __ATOMIC_ACQUIRE) == head; i++) {
		syscall(SYS_io_uring_enter, r->fd, 0, 0, IORING_ENTER_GETEVENTS, NULL, 0);
		if (i >= ms)
			return 0;
		usleep(1000);
	}
	c = (const void *)(r->rings + r->p.cq_off.cqes + n * (r->flags & IORING_SETUP_CQE32 ? 32 : 16));
	*data = c->user_data;
	*res = c->res;
	__atomic_store_n(at(r, r->p.cq_off.head), head + 1, __ATOMIC_RELEASE);
	return 1;
}

static void expect(struct ring *r, unsigned data, int res)
{
	unsigned long long got = 0;
	int got_res = 0;

	if (zdtm_check(next(r, 10000, &got, &got_res), "%s: no completion of request %u", r->name, data))
		zdtm_check(got == data && got_res == res, "%s: completion %llu of %d instead of %u of %d", r->name, got,
		           got_res, data, res);
}

static void expect_none(struct ring *r)
{
	unsigned long long got = 0;
	int res = 0;

	zdtm_check(!next(r, 50, &got, &res), "%s: completion %llu of %d, which nothing made", r->name, got, res);
}

static void read_one(struct ring *r, unsigned data, int fd, void *buf)
{
	submit(r, (struct io_uring_sqe) { .opcode = IORING_OP_READ,
	                                  .fd = fd,
	                                  .addr = (uintptr_t)buf,
	                                  .len = 8,
	                                  .off = -1ULL,
	                                  .user_data = data });
}

static void time_one(unsigned data, long s, long ns, unsigned flags, unsigned count)
{
	struct __kernel_timespec ts = { .tv_sec = s, .tv_nsec = ns };

	submit(&main_ring, (struct io_uring_sqe) { .opcode = IORING_OP_TIMEOUT,
	                                           .fd = -1,
	                                           .addr = (uintptr_t)&ts,
	                                           .len = 1,
	                                           .timeout_flags = flags,
	                                           .off = count,
	                                           .user_data = data });
}

/* A pair of connected TCP sockets. */
static void connect_pair(int pair[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(a);
	int l = socket(AF_INET, SOCK_STREAM, 0);

	zdtm_must(l >= 0 && !bind(l, (void *)&a, len) && !listen(l, 1) && !getsockname(l, (void *)&a, &len));
	pair[0] = socket(AF_INET, SOCK_STREAM, 0);
	zdtm_must(pair[0] >= 0 && !connect(pair[0], (void *)&a, len) && (pair[1] = accept(l, NULL, NULL)) >= 0);
	close(l);
}

/* So that what was submitted and what has completed differ. */
static void make_uneven(struct ring *r)
{
	unsigned long long data;
	int res;

	for (unsigned i = 0; i < 13; i++)
		submit(r, (struct io_uring_sqe) {
		              .opcode = IORING_OP_NOP, .flags = IOSQE_CQE_SKIP_SUCCESS, .user_data = 1000 });
	has_skip = !next(r, 5, &data, &res);
	while (next(r, 0, &data, &res))
		;
}

static const struct sockaddr_un multi_name = { .sun_family = AF_UNIX, .sun_path = "multi" };

static void open_all(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct epoll_event e = { .events = EPOLLIN, .data.u32 = 55 };

	zdtm_must((event = eventfd(0, 0)) >= 0 && (closed_event = eventfd(0, 0)) >= 0 &&
	          (read_event = eventfd(0, 0)) >= 0 && (epoll_event = eventfd(0, 0)) >= 0 &&
	          (epoll_fd = epoll_create1(0)) >= 0);
	zdtm_must(!epoll_ctl(epoll_fd, EPOLL_CTL_ADD, epoll_event, &e));
	zdtm_must(!socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) && !pipe(pipes) && !pipe(single_pipe) &&
	          !pipe(polling_pipe) && !pipe(large_pipe) && !pipe(other_pipe));
	zdtm_must(!socketpair(AF_UNIX, SOCK_DGRAM, 0, dgrams) && !pipe(vector_pipe) && !pipe(linked_pipe));
	zdtm_must((multi_event = eventfd(0, 0)) >= 0);
	multi_listener = socket(AF_UNIX, SOCK_STREAM, 0);
	zdtm_must(multi_listener >= 0 && !bind(multi_listener, (void *)&multi_name, sizeof(multi_name)) &&
	          !listen(multi_listener, 5));
	listener = socket(AF_INET, SOCK_STREAM, 0);
	zdtm_must(listener >= 0 && !bind(listener, (void *)&a, sizeof(a)) && !listen(listener, 5));
	connect_pair(tcp);
	connect_pair(tcp_read);
	master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
	zdtm_must(master >= 0 && !grantpt(master) && !unlockpt(master));
	tty = open(ptsname(master), O_RDWR | O_NOCTTY);
	zdtm_must(tty >= 0);
}

static void submit_new(void)
{
	struct ring *r = &main_ring;
	unsigned long long data;
	int res;

	submit(r, (struct io_uring_sqe) { .opcode = OP_FUTEX_WAIT,
	                                  .fd = 2 | 128,
	                                  .addr = (uintptr_t)&futex_word,
	                                  .off = 7,
	                                  .addr3 = 0xffffffff,
	                                  .user_data = R_FUTEX });
	has_futex = !next(r, 5, &data, &res);
	submit(r, (struct io_uring_sqe) { .opcode = OP_EPOLL_WAIT,
	                                  .fd = epoll_fd,
	                                  .addr = (uintptr_t)&epoll_result,
	                                  .len = 1,
	                                  .user_data = R_EPOLL });
	has_epoll = !next(r, 5, &data, &res);
}

/* Two that come again and again: once now, before the dump, and again after it. */
static void use_multi(void)
{
	uint64_t one = 1;

	for (int i = 0; i < 2; i++) {
		int client = socket(AF_UNIX, SOCK_STREAM, 0), accepted = -1;
		unsigned long long data = 0;

		zdtm_check(write(multi_event, &one, 8) == 8, "write");
		expect(&main_ring, R_POLL_MULTI, POLLIN);
		zdtm_check(read(multi_event, &one, 8) == 8 && one == 1, "read");
		zdtm_check(!connect(client, (void *)&multi_name, sizeof(multi_name)), "connect: %s", strerror(errno));
		zdtm_check(next(&main_ring, 10000, &data, &accepted) && data == R_ACCEPT_MULTI && accepted >= 0,
		           "accept: %llu %d", data, accepted);
		close(accepted);
		close(client);
		expect_none(&main_ring);
	}
}

/* A read and the timeout that ends it: submitted together. */
static void submit_linked(void)
{
	static const struct __kernel_timespec ts = { .tv_sec = FOREVER };
	struct ring *r = &main_ring;
	struct io_uring_sqe e[2] = {
		{ .opcode = IORING_OP_READ,
		  .flags = IOSQE_IO_LINK,
		  .fd = linked_pipe[0],
		  .addr = (uintptr_t)linked_buf,
		  .len = 8,
		  .off = -1ULL,
		  .user_data = R_LINKED },
		{ .opcode = IORING_OP_LINK_TIMEOUT,
		  .fd = -1,
		  .addr = (uintptr_t)&ts,
		  .len = 1,
		  .user_data = R_LINKED_TIME },
	};
	unsigned tail = *at(r, r->p.sq_off.tail);

	for (unsigned i = 0; i < 2; i++) {
		unsigned n = (tail + i) & *at(r, r->p.sq_off.ring_mask);

		memcpy(r->sqes + n * sqe_size(r), &e[i], sizeof(e[i]));
		at(r, r->p.sq_off.array)[n] = n;
	}
	__atomic_store_n(at(r, r->p.sq_off.tail), tail + 2, __ATOMIC_RELEASE);
	zdtm_must(syscall(SYS_io_uring_enter, r->fd, 2, 0, 0, NULL, 0) == 2);
}

static void submit_vectors(void)
{
	submit(&main_ring, (struct io_uring_sqe) { .opcode = IORING_OP_RECVMSG,
	                                           .fd = dgrams[0],
	                                           .addr = (uintptr_t)&message,
	                                           .len = 1,
	                                           .user_data = R_MESSAGE });
	submit(&main_ring, (struct io_uring_sqe) { .opcode = IORING_OP_READV,
	                                           .fd = vector_pipe[0],
	                                           .addr = (uintptr_t)vector_iov,
	                                           .len = 2,
	                                           .off = -1ULL,
	                                           .user_data = R_VECTOR });
}

static void look_at_vectors(void)
{
	unsigned long long data[2] = { 0, 0 };
	int res[2] = { 0, 0 };

	zdtm_check(write(dgrams[1], "mnopqr", 6) == 6, "write");
	expect(&main_ring, R_MESSAGE, 6);
	zdtm_check(!memcmp(message_buf[0], "mn\0", 3) && !memcmp(message_buf[1], "opqr", 4) && !message.msg_namelen,
	           "the message");
	zdtm_check(write(vector_pipe[1], "abcde", 5) == 5, "write");
	expect(&main_ring, R_VECTOR, 5);
	zdtm_check(!memcmp(vector_buf[0], "abc\0", 4) && !memcmp(vector_buf[1], "de\0", 3), "the vector");
	zdtm_check(write(linked_pipe[1], "link", 4) == 4, "write");
	for (int i = 0; i < 2; i++)
		zdtm_check(next(&main_ring, 10000, &data[i], &res[i]), "of a link: completion %d", i);
	zdtm_check(data[0] + data[1] == R_LINKED + R_LINKED_TIME && res[0] + res[1] == 4 - ECANCELED &&
	               !memcmp(linked_buf, "link", 4),
	           "a link: %llu %d, %llu %d", data[0], res[0], data[1], res[1]);
}

static void submit_all(void)
{
	struct ring *r = &main_ring;

	submit(r, (struct io_uring_sqe) {
	              .opcode = IORING_OP_POLL_ADD, .fd = event, .poll32_events = POLLIN, .user_data = R_POLL });
	submit(r, (struct io_uring_sqe) { .opcode = IORING_OP_POLL_ADD,
	                                  .fd = closed_event,
	                                  .poll32_events = POLLIN,
	                                  .user_data = R_POLL_CLOSED });
	submit(r,
	       (struct io_uring_sqe) {
	           .opcode = IORING_OP_ACCEPT, .fd = listener, .accept_flags = SOCK_CLOEXEC, .user_data = R_ACCEPT });
	submit(r, (struct io_uring_sqe) { .opcode = IORING_OP_RECV,
	                                  .fd = sockets[0],
	                                  .addr = (uintptr_t)recv_buf,
	                                  .len = 8,
	                                  .user_data = R_RECV });
	submit(r, (struct io_uring_sqe) { .opcode = IORING_OP_RECV,
	                                  .fd = tcp[0],
	                                  .addr = (uintptr_t)tcp_buf,
	                                  .len = 8,
	                                  .user_data = R_RECV_TCP });
	submit(r, (struct io_uring_sqe) { .opcode = IORING_OP_POLL_ADD,
	                                  .fd = multi_event,
	                                  .poll32_events = POLLIN,
	                                  .len = IORING_POLL_ADD_MULTI,
	                                  .user_data = R_POLL_MULTI });
	submit(r, (struct io_uring_sqe) { .opcode = IORING_OP_ACCEPT,
	                                  .fd = multi_listener,
	                                  .ioprio = IORING_ACCEPT_MULTISHOT,
	                                  .user_data = R_ACCEPT_MULTI });
	time_one(R_TIMEOUT_COUNT, FOREVER, 0, 0, 6); /* four come now, two after the restore */
	use_multi();
	submit_vectors();
	submit_linked();
	read_one(r, R_READ_TCP, tcp_read[0], tcp_read_buf);
	read_one(r, R_READ_PIPE, pipes[0], pipe_buf);
	read_one(r, R_READ_EVENT, read_event, event_buf);
	read_one(r, R_TTY, tty, tty_buf);
	zdtm_must(!clock_gettime(CLOCK_MONOTONIC, &began));
	time_one(R_TIMEOUT, REST, 0, 0, 0);
	time_one(R_TIMEOUT_ABS, began.tv_sec + FOREVER, 0, IORING_TIMEOUT_ABS, 0);
	time_one(R_TIMEOUT_SHORT, SHORT, 0, 0, 0);
	submit_new();
	read_one(&single, 1, single_pipe[0], small_buf[0]);
	read_one(&polling, 2, polling_pipe[0], small_buf[1]);
	read_one(&large, 3, large_pipe[0], small_buf[2]);
	zdtm_must(dup2(closed_event, 200) == 200 && !close(closed_event));
	closed_event = 200;
}

static void *waiting_thread(void *arg)
{
	read_one(&other, 4, other_pipe[0], small_buf[3]);
	zdtm_up();
	for (;;)
		pause();
	return arg;
}

/* What the futex, the poll and all others wait for. */
static void make_ready(void)
{
	struct sockaddr_in a;
	socklen_t len = sizeof(a);
	uint64_t one = 1;
	int client = socket(AF_INET, SOCK_STREAM, 0), accepted = -1;
	unsigned long long data;

	zdtm_check(write(event, &one, 8) == 8, "write");
	expect(&main_ring, R_POLL, POLLIN);
	zdtm_check(write(closed_event, &one, 8) == 8, "write");
	expect(&main_ring, R_POLL_CLOSED, POLLIN);
	expect(&main_ring, R_TIMEOUT_COUNT, 0);
	zdtm_check(!getsockname(listener, (void *)&a, &len) && !connect(client, (void *)&a, len), "connect");
	zdtm_check(next(&main_ring, 10000, &data, &accepted) && data == R_ACCEPT && accepted >= 0, "accept: %llu %d",
	           data, accepted);
	zdtm_check(fcntl(accepted, F_GETFD) == FD_CLOEXEC, "the accepted one");
	zdtm_check(write(sockets[1], "unix", 4) == 4, "write");
	expect(&main_ring, R_RECV, 4);
	zdtm_check(write(tcp[1], "tcp12", 5) == 5, "write");
	expect(&main_ring, R_RECV_TCP, 5);
	zdtm_check(write(tcp_read[1], "tcp123", 6) == 6, "write");
	expect(&main_ring, R_READ_TCP, 6);
	zdtm_check(write(pipes[1], "pipe", 4) == 4, "write");
	expect(&main_ring, R_READ_PIPE, 4);
	zdtm_check(write(read_event, &one, 8) == 8, "write");
	expect(&main_ring, R_READ_EVENT, 8);
	zdtm_check(write(master, "abc\n", 4) == 4, "write");
	expect(&main_ring, R_TTY, 4);
	zdtm_check(!memcmp(recv_buf, "unix", 4) && !memcmp(tcp_buf, "tcp12", 5) && !memcmp(tcp_read_buf, "tcp123", 6) &&
	               !memcmp(pipe_buf, "pipe", 4) && !memcmp(event_buf, &one, 8) && !memcmp(tty_buf, "abc\n", 4),
	           "what was read");
	if (has_futex) {
		zdtm_check(syscall(SYS_futex, &futex_word, FUTEX_WAKE_PRIVATE, 10, NULL, NULL, 0) == 1, "FUTEX_WAKE");
		expect(&main_ring, R_FUTEX, 0);
	}
	if (has_epoll) {
		zdtm_check(write(epoll_event, &one, 8) == 8, "write");
		expect(&main_ring, R_EPOLL, 1);
		zdtm_check(epoll_result.data.u32 == 55, "epoll");
	}
}

static void read_others(void)
{
	struct {
		struct ring *r;
		int to, data;
	} all[] = { { &single, single_pipe[1], 1 },
		    { &polling, polling_pipe[1], 2 },
		    { &large, large_pipe[1], 3 },
		    { &other, other_pipe[1], 4 } };

	for (int i = 0; i < 4; i++) {
		expect_none(all[i].r);
		zdtm_check(write(all[i].to, "xyz", 3) == 3, "write");
		expect(all[i].r, (unsigned)all[i].data, 3);
		zdtm_check(!memcmp(small_buf[i], "xyz", 3), "%s: what was read", all[i].r->name);
		expect_none(all[i].r);
	}
}

/* The timeouts: how much is left is seen by taking them away: what was not over ends with -ECANCELED. */
static void look_at_time(void)
{
	struct timespec now;
	int over;

	clock_gettime(CLOCK_MONOTONIC, &now);
	over = now.tv_sec - began.tv_sec >= REST;
	for (unsigned i = R_TIMEOUT; i <= R_TIMEOUT_ABS && !over; i++) {
		unsigned long long data[2] = { 0, 0 };
		int res[2] = { 1, 1 };

		submit(&main_ring, (struct io_uring_sqe) {
		                       .opcode = IORING_OP_TIMEOUT_REMOVE, .fd = -1, .addr = i, .user_data = 500 });
		zdtm_check(next(&main_ring, 5000, &data[0], &res[0]) && next(&main_ring, 5000, &data[1], &res[1]),
		           "timeout %u", i);
		zdtm_check(data[0] + data[1] == 500 + i && res[0] + res[1] == -ECANCELED,
		           "timeout %u: %llu %d, %llu %d", i, data[0], res[0], data[1], res[1]);
	}
}

static long since_begin(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - began.tv_sec) * 1000 + (now.tv_nsec - began.tv_nsec) / 1000000;
}

int main(void)
{
	pthread_t thread;
	long before;

	set_up(&main_ring);
	set_up(&single);
	set_up(&polling);
	set_up(&large);
	set_up(&other);
	open_all();
	make_uneven(&main_ring);
	submit_all();
	zdtm_must(!pthread_create(&thread, NULL, waiting_thread, NULL));
	zdtm_until_up(1);
	zdtm_ready();
	zdtm_wait();
	before = since_begin();
	expect(&main_ring, R_TIMEOUT_SHORT, -ETIME);
	zdtm_check(since_begin() >= SHORT * 1000 &&
	               since_begin() < 1000 + (before > SHORT * 1000 ? before : SHORT * 1000),
	           "the short timeout after %ld ms, looked for at %ld", since_begin(), before);
	expect_none(&main_ring);
	make_ready();
	expect_none(&main_ring);
	use_multi();
	look_at_vectors();
	read_others();
	look_at_time();
	expect_none(&main_ring);
	zdtm_check(!*at(&main_ring, main_ring.p.sq_off.dropped) && !*at(&main_ring, main_ring.p.cq_off.overflow),
	           "dropped, overflow");
	zdtm_pass();
}
