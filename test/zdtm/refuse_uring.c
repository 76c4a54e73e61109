/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rings of io_uring that cannot come back are refused by name, all at once: requests in flight that cannot be submitted
 * again (a poll for many events of a file that is ready, one that is linked to another, a write that waits for room, a
 * poll of a descriptor that is closed), a registered file that the process has no descriptor of, buffers provided one
 * by one, restrictions, a personality, a polling thread of two rings, a registered buffer in whose place other memory
 * is, and a mapping of a ring that is closed. The rings go on.
 *
 * zdtm: dump --timeout 1
 * zdtm: allow fd 10?/Sq*  any  the thread that polls goes on
 * zdtm: refuse fd 100: io_uring: 5 requests are in flight, of these wait opcodes
 * zdtm: refuse fd 100: io_uring: .*opcode 6: a poll for many events .* of a file that is ready
 * zdtm: refuse fd 100: io_uring: .*opcode 6: is linked to another
 * zdtm: refuse fd 100: io_uring: .*opcode 23: cannot be submitted again
 * zdtm: refuse fd 100: io_uring: .*opcode 6: of a file that is closed
 * zdtm: refuse fd 101: io_uring whose polling thread serves another one too
 * zdtm: refuse fd 102: io_uring with a registered file .place 0. of which the process has no descriptor
 * zdtm: refuse fd 103: io_uring with restrictions
 * zdtm: refuse fd 104: io_uring with personalities
 * zdtm: refuse fd 105: io_uring with buffers that were handed to it one by one
 * zdtm: refuse fd 109: io_uring with a registered buffer .place 0. whose memory is not mapped any more
 * zdtm: refuse an io_uring of which no process has a descriptor
 */
#include <linux/io_uring.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "zdtm.h"

static struct ring {
	struct io_uring_params p;
	unsigned char *rings;
	struct io_uring_sqe *sqes;
	int fd;
} first, second;

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

static int is_next(struct ring *r, unsigned data, int res)
{
	unsigned head = *at(r, r->p.cq_off.head);
	struct io_uring_cqe *c = (void *)(r->rings + r->p.cq_off.cqes);

	if (__atomic_load_n(at(r, r->p.cq_off.tail), __ATOMIC_ACQUIRE) == head)
		return 0;
	c += head & *at(r, r->p.cq_off.ring_mask);
	if (c->user_data != data || c->res != res)
		return 0;
	__atomic_store_n(at(r, r->p.cq_off.head), head + 1, __ATOMIC_RELEASE);
	return 1;
}

static int make(int number, unsigned flags, unsigned entries)
{
	struct io_uring_params p = { .flags = flags };
	int fd = (int)syscall(SYS_io_uring_setup, entries, &p);

	if (fd < 0)
		zdtm_skip("io_uring_setup with flags %x: %s", flags, strerror(errno));
	zdtm_must(dup2(fd, number) == number);
	close(fd);
	return number;
}

static void map_ring(struct ring *r, int number)
{
	r->fd = (int)syscall(SYS_io_uring_setup, 8, &r->p);
	if (r->fd < 0)
		zdtm_skip("io_uring_setup: %s", strerror(errno));
	zdtm_must(dup2(r->fd, number) == number);
	close(r->fd);
	r->fd = number;
	r->rings = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, number, IORING_OFF_SQ_RING);
	r->sqes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, number, IORING_OFF_SQES);
	zdtm_must(r->rings != MAP_FAILED && r->sqes != MAP_FAILED);
}

/* Those that wait: for `polled`, for nothing, and for room in the pipe. */
static void submit_all(int polled, int full)
{
	static char page[65536];
	int closed = eventfd(1, 0), ready = eventfd(1, 0);
	struct io_uring_sqe e[] = {
		{ .opcode = IORING_OP_POLL_ADD,
		  .fd = ready,
		  .poll32_events = POLLIN,
		  .len = IORING_POLL_ADD_MULTI,
		  .user_data = 1 },
		{ .opcode = IORING_OP_POLL_ADD, .fd = closed, .poll32_events = POLLPRI, .user_data = 2 },
		{ .opcode = IORING_OP_WRITE,
		  .fd = full,
		  .addr = (uintptr_t)page,
		  .len = 4096,
		  .off = -1ULL,
		  .user_data = 3 },
		{ .opcode = IORING_OP_POLL_ADD,
		  .flags = IOSQE_IO_LINK,
		  .fd = polled,
		  .poll32_events = POLLIN,
		  .user_data = 4 },
		{ .opcode = IORING_OP_NOP, .user_data = 5 },
	};

	zdtm_must(write(full, page, sizeof(page)) == sizeof(page));
	for (size_t i = 0; i < sizeof(e) / sizeof(*e); i++)
		put(&first, &e[i]);
	zdtm_must(syscall(SYS_io_uring_enter, first.fd, 5, 0, 0, NULL, 0) == 5 && !close(closed));
}

static void go_on(int polled, int pipe_end)
{
	static char page[65536];
	unsigned seen = 0;

	zdtm_check(write(polled, &(uint64_t) { 1 }, 8) == 8 && read(pipe_end, page, sizeof(page)) == sizeof(page),
	           "events");
	for (int i = 0; i < 1000 && seen != 0x3a; i++, usleep(1000)) {
		syscall(SYS_io_uring_enter, first.fd, 0, 0, IORING_ENTER_GETEVENTS, NULL, 0);
		for (unsigned k = 1; k <= 5; k++)
			if (is_next(&first, k, k == 3 ? 4096 : k == 5 ? 0 : POLLIN))
				seen |= 1U << k;
	}
	zdtm_check(seen == 0x3a, "of the requests that waited these have ended: %x", seen);
}

int main(void)
{
	int event = eventfd(0, 0), closed = eventfd(0, 0), full[2], other;
	static char memory[8192] __attribute__((aligned(4096)));
	struct io_uring_restriction only = { .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_NOP };
	struct io_uring_params p = { .flags = IORING_SETUP_SQPOLL | IORING_SETUP_ATTACH_WQ };
	struct iovec iov = { NULL, 4096 };
	void *mapped;

	zdtm_must(event >= 0 && closed >= 0);
	map_ring(&first, 100);
	map_ring(&second, 105);
	zdtm_must(!pipe(full));
	submit_all(event, full[1]);
	other = make(101, IORING_SETUP_SQPOLL, 8);
	p.wq_fd = (unsigned)other;
	zdtm_must(syscall(SYS_io_uring_setup, 8, &p) >= 0);
	zdtm_must(!syscall(SYS_io_uring_register, make(102, 0, 8), IORING_REGISTER_FILES, &closed, 1) &&
	          !close(closed));
	zdtm_must(!syscall(SYS_io_uring_register, make(103, IORING_SETUP_R_DISABLED, 8), IORING_REGISTER_RESTRICTIONS,
	                   &only, 1));
	zdtm_must(syscall(SYS_io_uring_register, make(104, 0, 8), IORING_REGISTER_PERSONALITY, NULL, 0) > 0);
	put(&second,
	    &(struct io_uring_sqe) {
	        .opcode = IORING_OP_PROVIDE_BUFFERS, .fd = 2, .addr = (uintptr_t)memory, .len = 100, .buf_group = 77 });
	zdtm_must(syscall(SYS_io_uring_enter, 105, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) == 1);
	iov.iov_base = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	zdtm_must(iov.iov_base != MAP_FAILED &&
	          !syscall(SYS_io_uring_register, make(109, 0, 8), IORING_REGISTER_BUFFERS, &iov, 1));
	zdtm_must(mmap(iov.iov_base, 4096, PROT_READ | PROT_WRITE,
	               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_POPULATE, -1, 0) == iov.iov_base);
	make(106, 0, 8);
	mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 106, IORING_OFF_SQ_RING);
	zdtm_must(mapped != MAP_FAILED && !close(106));
	zdtm_ready();
	zdtm_wait();
	go_on(event, full[0]);
	zdtm_pass();
}
