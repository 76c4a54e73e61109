/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rings of io_uring with registered files (with a gap, a tag, a range for new ones), buffers and an eventfd,
 * which a thread has registered with itself too, and a request in flight that uses a registered file and one that reads
 * into a registered buffer; one that is not enabled yet; one whose thread polls, on a processor of its own choice; and
 * one that two processes have and a third has only mapped. Afterwards all of it is used, and the eventfd has counted
 * what completed, no more.
 *
 * zdtm: iters 3
 * zdtm: flavour ns
 * zdtm: allow fd ??/ *  any  a registered pipe has a new number
 */
#include <linux/io_uring.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "zdtm.h"
#include "zdtm_until.h"

#define PLACES 5
#define GAP    2
#define TAG    0x1234567890ULL

struct ring {
	struct io_uring_params p;
	unsigned char *rings;
	struct io_uring_sqe *sqes;
	int fd;
};

static struct ring r, shared, disabled, polling;
static int event, pipes[2], waiting[2], file;
static char *buffer;

static unsigned *at(const struct ring *g, unsigned offset)
{
	return (unsigned *)(void *)(g->rings + offset);
}

static void set_up(struct ring *g, unsigned flags)
{
	g->p.flags = flags;
	g->p.sq_thread_idle = 20;
	g->fd = (int)syscall(SYS_io_uring_setup, 8, &g->p);
	if (g->fd < 0)
		zdtm_skip("io_uring_setup with flags %x: %s", flags, strerror(errno));
	g->rings = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd, IORING_OFF_SQ_RING);
	g->sqes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd, IORING_OFF_SQES);
	zdtm_must(g->rings != MAP_FAILED && g->sqes != MAP_FAILED);
}

static int submit(struct ring *g, struct io_uring_sqe e)
{
	unsigned tail = *at(g, g->p.sq_off.tail), n = tail & *at(g, g->p.sq_off.ring_mask);
	unsigned flags = g->p.flags & IORING_SETUP_SQPOLL ? IORING_ENTER_SQ_WAKEUP : 0;

	g->sqes[n] = e;
	at(g, g->p.sq_off.array)[n] = n;
	__atomic_store_n(at(g, g->p.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
	return (int)syscall(SYS_io_uring_enter, g->fd, 1, 0, flags, NULL, 0);
}

/* The next completion is this one; waited for. */
static void expect(struct ring *g, unsigned long long data, int res)
{
	unsigned head = *at(g, g->p.cq_off.head);
	const struct io_uring_cqe *c = (void *)(g->rings + g->p.cq_off.cqes);

	for (int i = 0; i < 10000 && __atomic_load_n(at(g, g->p.cq_off.tail), __ATOMIC_ACQUIRE) == head; i++) {
		syscall(SYS_io_uring_enter, g->fd, 0, 0, IORING_ENTER_GETEVENTS, NULL, 0);
		usleep(1000);
	}
	if (!zdtm_check(*at(g, g->p.cq_off.tail) != head, "no completion of %llu", data))
		return;
	c += head & *at(g, g->p.cq_off.ring_mask);
	zdtm_check(c->user_data == data && c->res == res, "completion %llu of %d instead of %llu of %d",
	           (unsigned long long)c->user_data, c->res, data, res);
	__atomic_store_n(at(g, g->p.cq_off.head), head + 1, __ATOMIC_RELEASE);
}

static void expect_none(struct ring *g)
{
	zdtm_check(*at(g, g->p.cq_off.tail) == *at(g, g->p.cq_off.head), "a completion that nothing made");
}

static void register_all(void)
{
	int files[PLACES] = { pipes[0], file, -1, file, waiting[0] };
	struct iovec iov[] = { { buffer, 4096 }, { buffer + 4096, 100 } };
	uint64_t tags[PLACES] = { 0, TAG, 0, 0, 0 };
	struct io_uring_rsrc_register reg = { .nr = PLACES, .data = (uintptr_t)files, .tags = (uintptr_t)tags };
	struct io_uring_file_index_range range = { .off = GAP, .len = 1 };

	zdtm_must(!syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_FILES2, &reg, sizeof(reg)));
	zdtm_must(!syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_BUFFERS, iov, 2));
	zdtm_must(!syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_EVENTFD, &event, 1));
	if (syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_FILE_ALLOC_RANGE, &range, 0))
		zdtm_skip("IORING_REGISTER_FILE_ALLOC_RANGE: %s", strerror(errno));
}

static void use_fixed(unsigned place, unsigned buf, const char *want, unsigned data)
{
	struct io_uring_sqe e = { .opcode = IORING_OP_READ_FIXED,
		                  .flags = IOSQE_FIXED_FILE,
		                  .fd = (int)place,
		                  .addr = (uintptr_t)(buffer + 4096 * buf),
		                  .len = 4,
		                  .buf_index = (uint16_t)buf,
		                  .user_data = data };

	memset(buffer + 4096 * buf, 0, 8);
	zdtm_check(submit(&r, e) == 1, "io_uring_enter: %s", strerror(errno));
	expect(&r, data, 4);
	zdtm_check(!memcmp(buffer + 4096 * buf, want, 4), "place %u, buffer %u: %.4s", place, buf, buffer + 4096 * buf);
}

static void look_at_registered(void)
{
	struct io_uring_sqe out = { .opcode = IORING_OP_READ, .flags = IOSQE_FIXED_FILE, .fd = GAP, .user_data = 8 };
	struct io_uring_sqe open_in = { .opcode = IORING_OP_OPENAT,
		                        .fd = AT_FDCWD,
		                        .addr = (uintptr_t) "file",
		                        .file_index = IORING_FILE_INDEX_ALLOC,
		                        .user_data = 11 };
	struct io_uring_rsrc_update2 up = { .offset = 1, .nr = 1 };
	uint64_t count = 0;
	int none = -1;

	zdtm_check(write(waiting[1], "wait", 4) == 4, "write");
	expect(&r, 77, 4);
	zdtm_check(read(event, &count, 8) == 8 && count == 1, "the eventfd: %llu", (unsigned long long)count);
	zdtm_check(write(pipes[1], "pipe", 4) == 4, "write");
	use_fixed(0, 0, "pipe", 5);
	use_fixed(1, 1, "abcd", 6);
	use_fixed(3, 0, "abcd", 7);
	zdtm_check(submit(&r, out) == 1, "io_uring_enter");
	expect(&r, 8, -EBADF);
	zdtm_check(submit(&r, open_in) == 1, "io_uring_enter");
	expect(&r, 11, GAP); /* the only place of the range */
	use_fixed(GAP, 0, "abcd", 12);
	zdtm_check(read(event, &count, 8) == 8 && count == 6, "the eventfd: %llu", (unsigned long long)count);
	up.data = (uintptr_t)&none;
	zdtm_check(syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_FILES_UPDATE2, &up, sizeof(up)) == 1,
	           "update: %s", strerror(errno));
	expect(&r, TAG, 0);
	expect_none(&r);
}

#define RING_NUMBER 3

static void register_ring(void)
{
	struct io_uring_rsrc_update up = { .offset = RING_NUMBER, .data = (unsigned)r.fd };

	zdtm_must(syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_RING_FDS, &up, 1) == 1 &&
	          up.offset == RING_NUMBER);
}

/* Through the number that this thread has registered. */
static void use_number(void)
{
	unsigned tail = *at(&r, r.p.sq_off.tail), n = tail & *at(&r, r.p.sq_off.ring_mask);

	r.sqes[n] = (struct io_uring_sqe) { .opcode = IORING_OP_NOP, .user_data = 61 };
	at(&r, r.p.sq_off.array)[n] = n;
	__atomic_store_n(at(&r, r.p.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
	zdtm_check(syscall(SYS_io_uring_enter, RING_NUMBER, 1, 0, IORING_ENTER_REGISTERED_RING, NULL, 0) == 1,
	           "through the registered number: %s", strerror(errno));
	expect(&r, 61, 0);
	zdtm_check(syscall(SYS_io_uring_enter, RING_NUMBER + 1, 0, 0, IORING_ENTER_REGISTERED_RING, NULL, 0) < 0,
	           "another number is registered");
}

static void nop(struct ring *g, unsigned data)
{
	zdtm_check(submit(g, (struct io_uring_sqe) { .opcode = IORING_OP_NOP, .fd = -1, .user_data = data }) == 1,
	           "io_uring_enter: %s", strerror(errno));
	expect(g, data, 0);
}

/* Each of the two uses it, one after the other; the third looks at what the others leave. */
static pid_t start(int n, int to_parent[2])
{
	pid_t child = fork();

	zdtm_must(child >= 0);
	if (child)
		return child;
	if (n)
		close(shared.fd);
	zdtm_up();
	zdtm_wait();
	if (!n)
		nop(&shared, 31);
	else
		while (*at(&shared, shared.p.cq_off.tail) != *at(&shared, shared.p.cq_off.head) ||
		       *at(&shared, shared.p.cq_off.tail) != 2 + 1)
			usleep(1000);
	zdtm_check(write(to_parent[1], "x", 1) == 1, "write");
	_exit(0);
}

static unsigned long long number(const char *name)
{
	char path[64], line[256];
	unsigned long long value = ~0ULL;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", polling.fd);
	f = fopen(path, "r");
	zdtm_must(f != NULL);
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)))
			value = strtoull(line + strlen(name), NULL, 10);
	fclose(f);
	return value;
}

int main(void)
{
	int done[2], status;
	pid_t children[2];
	char x;

	zdtm_must(!pipe(pipes) && !pipe(waiting) && !pipe(done) && (event = eventfd(0, 0)) >= 0);
	zdtm_must((file = open("file", O_RDWR | O_CREAT, 0600)) >= 0 && write(file, "abcd", 4) == 4);
	buffer = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	zdtm_must(buffer != MAP_FAILED);
	set_up(&shared, 0);
	nop(&shared, 1);
	nop(&shared, 2);
	for (int i = 0; i < 2; i++)
		children[i] = start(i, done);
	set_up(&r, IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG);
	set_up(&disabled, IORING_SETUP_R_DISABLED);
	set_up(&polling, IORING_SETUP_SQPOLL | IORING_SETUP_SQ_AFF);
	nop(&polling, 41);
	register_all();
	register_ring();
	zdtm_must(submit(&r, (struct io_uring_sqe) { .opcode = IORING_OP_READ_FIXED,
	                                             .flags = IOSQE_FIXED_FILE,
	                                             .fd = 4,
	                                             .addr = (uintptr_t)(buffer + 4096),
	                                             .len = 50,
	                                             .buf_index = 1,
	                                             .user_data = 77 }) == 1);
	zdtm_until_up(2);
	zdtm_ready();
	zdtm_wait();
	expect_none(&r);
	look_at_registered();
	use_number();
	zdtm_check(syscall(SYS_io_uring_enter, disabled.fd, 0, 0, 0, NULL, 0) < 0 && errno == EBADFD, "it is enabled");
	zdtm_check(!syscall(SYS_io_uring_register, disabled.fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0), "enabling: %s",
	           strerror(errno));
	nop(&disabled, 21);
	nop(&polling, 42);
	usleep(200000);
	zdtm_check(*at(&polling, polling.p.sq_off.flags) & IORING_SQ_NEED_WAKEUP, "its thread does not sleep");
	zdtm_check(number("SqThreadCpu:") == 0, "its thread is on CPU %llu", number("SqThreadCpu:"));
	nop(&polling, 43);
	zdtm_check(read(done[0], &x, 1) == 1 && read(done[0], &x, 1) == 1, "children");
	nop(&shared, 51);
	for (int i = 0; i < 2; i++)
		zdtm_check(waitpid(children[i], &status, 0) == children[i] && !status, "a child: %x", status);
	zdtm_pass();
}
