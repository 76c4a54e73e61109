/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rings of io_uring that cannot come back are refused by name, all at once: a poll in flight (which ends afterwards), a
 * polling thread, registered files and buffers, an eventfd, provided buffers, an eventfd that only one thread may ask
 * for, one that is not enabled, one with large entries, and a mapping that a child has inherited. A thread of the
 * kernel's in the process (iou-wrk) is no hindrance, and the rings go on.
 *
 * zdtm: dump --timeout 1
 * zdtm: allow fd 101/Sq*T[hi]*  any  the thread that polls goes on
 * zdtm: refuse fd 100: io_uring: 1 requests are in flight .*, of these wait opcodes 6
 * zdtm: refuse fd 101: io_uring with a polling thread
 * zdtm: refuse fd 102: io_uring with registered files
 * zdtm: refuse fd 103: io_uring with registered files
 * zdtm: refuse fd 104: io_uring with a registered eventfd
 * zdtm: refuse fd 105: io_uring with buffers provided
 * zdtm: refuse fd 106: io_uring with a registered eventfd
 * zdtm: refuse fd 107: io_uring was set up disabled
 * zdtm: refuse fd 108: io_uring with large entries
 * zdtm: refuse an io_uring of which this process has no descriptor
 */
#include <linux/io_uring.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "zdtm.h"
#include "zdtm_until.h"

static struct ring {
	struct io_uring_params p;
	unsigned char *rings;
	struct io_uring_sqe *sqes;
	int fd;
} first;

static unsigned *at(const struct ring *r, unsigned offset)
{
	return (unsigned *)(void *)(r->rings + offset);
}

static long submit(struct ring *r, const struct io_uring_sqe *e, unsigned wait)
{
	unsigned tail = *at(r, r->p.sq_off.tail), n = tail & *at(r, r->p.sq_off.ring_mask);

	r->sqes[n] = *e;
	at(r, r->p.sq_off.array)[n] = n;
	__atomic_store_n(at(r, r->p.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
	return syscall(SYS_io_uring_enter, r->fd, 1, wait, IORING_ENTER_GETEVENTS, NULL, 0);
}

static int is_next(struct ring *r, unsigned data, int res)
{
	unsigned head = *at(r, r->p.cq_off.head);
	struct io_uring_cqe *c = (void *)(r->rings + r->p.cq_off.cqes);

	if (__atomic_load_n(at(r, r->p.cq_off.tail), __ATOMIC_ACQUIRE) == head)
		return 0;
	c += head & *at(r, r->p.cq_off.ring_mask);
	__atomic_store_n(at(r, r->p.cq_off.head), head + 1, __ATOMIC_RELEASE);
	return c->user_data == data && c->res == res;
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

static void map_first(void)
{
	first.fd = (int)syscall(SYS_io_uring_setup, 8, &first.p);
	if (first.fd < 0)
		zdtm_skip("io_uring_setup: %s", strerror(errno));
	zdtm_must(dup2(first.fd, 100) == 100);
	close(first.fd);
	first.fd = 100;
	first.rings = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 100, IORING_OFF_SQ_RING);
	first.sqes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 100, IORING_OFF_SQES);
	zdtm_must(first.rings != MAP_FAILED && first.sqes != MAP_FAILED);
}

/* By a worker thread. */
static int read_one(int file, unsigned data)
{
	char buf[3] = { 0 };
	struct io_uring_sqe e = { .opcode = IORING_OP_READ,
		                  .flags = IOSQE_ASYNC,
		                  .fd = file,
		                  .addr = (uintptr_t)buf,
		                  .len = 3,
		                  .user_data = data };

	return submit(&first, &e, 1) == 1 && is_next(&first, data, 3) && !memcmp(buf, "abc", 3);
}

int main(void)
{
	int file = open("file", O_RDWR | O_CREAT, 0600), event = eventfd(0, 0), status;
	static char memory[8192] __attribute__((aligned(4096)));
	struct iovec iov = { memory, sizeof(memory) };
	struct io_uring_buf_reg group = { .ring_addr = (uintptr_t)memory, .ring_entries = 4, .bgid = 77 };
	struct io_uring_sqe poll = {
		.opcode = IORING_OP_POLL_ADD, .fd = event, .poll32_events = POLLIN, .user_data = 9
	};
	pid_t child;

	zdtm_must(file >= 0 && event >= 0 && write(file, "abc", 3) == 3);
	map_first();
	zdtm_must((child = fork()) >= 0);
	if (!child) {
		close(100);
		zdtm_up();
		zdtm_wait();
		_exit(0);
	}
	zdtm_must(read_one(file, 5) && submit(&first, &poll, 0) == 1);
	make(101, IORING_SETUP_SQPOLL, 8);
	zdtm_must(!syscall(SYS_io_uring_register, make(102, 0, 8), IORING_REGISTER_FILES, &event, 1));
	zdtm_must(!syscall(SYS_io_uring_register, make(103, 0, 8), IORING_REGISTER_BUFFERS, &iov, 1));
	zdtm_must(!syscall(SYS_io_uring_register, make(104, 0, 8), IORING_REGISTER_EVENTFD, &event, 1));
	zdtm_must(!syscall(SYS_io_uring_register, make(105, 0, 8), IORING_REGISTER_PBUF_RING, &group, 1));
	zdtm_must(!syscall(SYS_io_uring_register, make(106, IORING_SETUP_SINGLE_ISSUER, 8), IORING_REGISTER_EVENTFD,
	                   &event, 1));
	make(107, IORING_SETUP_R_DISABLED, 8);
	make(108, IORING_SETUP_SQE128 | IORING_SETUP_CQE32, 256);
	zdtm_until_up(1);
	zdtm_ready();
	zdtm_wait();
	zdtm_check(write(event, &(uint64_t) { 1 }, 8) == 8 && is_next(&first, 9, POLLIN), "the poll");
	for (unsigned i = 0; i < 50; i++)
		zdtm_check(read_one(file, 100 + i), "read %u", i);
	zdtm_check(syscall(SYS_io_uring_register, 104, IORING_UNREGISTER_EVENTFD, NULL, 0) == 0, "the eventfd");
	zdtm_check(waitpid(child, &status, 0) == child && !status, "the child: %x", status);
	zdtm_pass();
}
