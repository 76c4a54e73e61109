/* SPDX-License-Identifier: GPL-2.0-only */
/* A ring of io_uring as the kernel shows it, its memory, mapped here, and its way from the beginning to where it was.
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/agent.h"
#include "arch_page.h"
#include "fd/uring.h"
#include "lib/clock.h"
#include "proc/fdinfo.h"

#define THREAD_WAITS 10000 /* ms */
#define SENDS        64U

/* The lines "op=6, task_works=0" behind PollList. */
static void read_polls(const char *text, struct uring_numbers *n)
{
	const char *at = strstr(text, "PollList:");
	size_t len = 0;

	while (at && (at = strstr(at, "op=")) && len < sizeof(n->polls) - 16) {
		len += (size_t)snprintf(n->polls + len, sizeof(n->polls) - len, "%s%ld", len ? " " : "",
		                        strtol(at + 3, NULL, 10));
		at += 3;
	}
}

int uring_read_numbers(const char *text, struct uring_numbers *n)
{
	const char *thread = fdinfo_value(text, "SqThread"), *overflow = strstr(text, "CqOverflowList:");

	if (fdinfo_number(text, "SqMask", 16, &n->sq_mask) || fdinfo_number(text, "CqMask", 16, &n->cq_mask) ||
	    fdinfo_number(text, "CachedSqHead", 10, &n->submitted) ||
	    fdinfo_number(text, "CachedCqTail", 10, &n->completed) || fdinfo_number(text, "UserFiles", 10, &n->files) ||
	    fdinfo_number(text, "UserBufs", 10, &n->buffers) || !thread || !overflow)
		return -EINVAL;
	n->has_thread = *thread != '-';
	n->has_overflow = strstr(overflow, "user_data");
	read_polls(text, n);
	return 0;
}

int uring_layout(uint32_t sq_entries, uint32_t cq_entries, uint32_t flags, struct io_uring_params *p)
{
	int fd;

	memset(p, 0, sizeof(*p));
	p->flags = IORING_SETUP_CQSIZE | flags;
	p->cq_entries = cq_entries;
	fd = (int)syscall(SYS_io_uring_setup, sq_entries, p);
	if (fd < 0)
		return -errno;
	close(fd);
	return p->sq_entries == sq_entries && p->cq_entries == cq_entries ? 0 : -ERANGE;
}

static uint8_t *map_part(int fd, size_t len, uint64_t offset)
{
	void *at = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, (off_t)offset);

	return at == MAP_FAILED ? NULL : at;
}

/* Kernels of today map more than a ring has, and what is not there is SIGBUS: but EFAULT for a system call. */
static bool is_there(const uint8_t *at)
{
	_cleanup_close_ int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	/* The last byte of a number that the eventfd does not take is read all the same. */
	const uint8_t *number = at + PAGE_SIZE - sizeof(uint64_t);

	return write(fd, number, sizeof(uint64_t)) >= 0 || errno != EFAULT;
}

/* Whether there is more than a plain ring has. */
static bool is_longer(int fd, size_t len, size_t longer, uint64_t offset)
{
	uint8_t *at;
	bool longer_here;

	longer = round_up(longer, PAGE_SIZE);
	at = longer > len ? map_part(fd, longer, offset) : NULL;
	longer_here = at && is_there(at + longer - PAGE_SIZE);
	if (at)
		munmap(at, longer);
	return longer_here;
}

/* For less than there is, a kernel of today says EFAULT. */
static int map_error(void)
{
	return errno == EFAULT ? -EOPNOTSUPP : -errno;
}

/* The rings, or without the array, which may make them a page shorter. */
static int map_rings(struct uring_view *v, size_t with, size_t without)
{
	v->rings_len = round_up(MAX(with, without), PAGE_SIZE);
	v->rings = map_part(v->fd, v->rings_len, IORING_OFF_SQ_RING);
	if (v->rings && is_there(v->rings + v->rings_len - PAGE_SIZE))
		return 0;
	if (!v->rings && errno != EINVAL)
		return map_error();
	if (v->rings)
		munmap(v->rings, v->rings_len);
	v->no_array = true;
	v->rings_len = round_up(without, PAGE_SIZE);
	v->rings = map_part(v->fd, v->rings_len, IORING_OFF_SQ_RING);
	if (v->rings && !is_there(v->rings + v->rings_len - PAGE_SIZE))
		return -EFAULT;
	return v->rings ? 0 : map_error();
}

static size_t cqe_size(const struct uring_view *v)
{
	return sizeof(struct io_uring_cqe) * (v->p.flags & IORING_SETUP_CQE32 ? 2 : 1);
}

static size_t sqe_size(const struct uring_view *v)
{
	return sizeof(struct io_uring_sqe) * (v->p.flags & IORING_SETUP_SQE128 ? 2 : 1);
}

static int map_known(struct uring_view *v, size_t array, size_t cqes)
{
	v->no_array = v->p.flags & URING_SETUP_NO_SQARRAY;
	v->rings_len = round_up(v->no_array ? cqes : MAX(array, cqes), PAGE_SIZE);
	v->rings = map_part(v->fd, v->rings_len, IORING_OFF_SQ_RING);
	if (v->rings)
		v->sqes = map_part(v->fd, v->sqes_len, IORING_OFF_SQES);
	return v->sqes ? 0 : -errno;
}

int uring_view_map(struct uring_view *v)
{
	const struct io_uring_params *p = &v->p;
	size_t cqes = p->cq_off.cqes + p->cq_entries * cqe_size(v);
	size_t array = p->sq_off.array + p->sq_entries * sizeof(uint32_t);
	int err;

	v->sqes_len = round_up(p->sq_entries * sqe_size(v), PAGE_SIZE);
	if (v->flags_known)
		return map_known(v, array, cqes);
	err = map_rings(v, array, cqes);
	if (!err)
		v->sqes = map_part(v->fd, v->sqes_len, IORING_OFF_SQES);
	if (!err && (!v->sqes || !is_there(v->sqes + v->sqes_len - PAGE_SIZE)))
		err = v->sqes ? -EFAULT : map_error();
	if (!err &&
	    (is_longer(v->fd, v->sqes_len, v->sqes_len * 2, IORING_OFF_SQES) ||
	     is_longer(v->fd, v->rings_len, cqes + p->cq_entries * sizeof(struct io_uring_cqe), IORING_OFF_SQ_RING)))
		err = -EOPNOTSUPP;
	return err;
}

void uring_view_unmap(struct uring_view *v)
{
	if (v->rings)
		munmap(v->rings, v->rings_len);
	if (v->sqes)
		munmap(v->sqes, v->sqes_len);
	v->rings = v->sqes = NULL;
}

static long enter_ring(const struct uring_view *v, uint32_t n, unsigned flags)
{
	struct batch *b;
	int op, err;

	if (!v->agent) {
		long done = syscall(SYS_io_uring_enter, v->fd, n, 0, flags, NULL, 0);

		return done < 0 ? -errno : done;
	}
	b = agent_batch(v->agent, "submitting to an io_uring");
	op = batch_ask(b, SYS_io_uring_enter, (uint64_t)v->number, n, 0, flags);
	err = batch_run(b);
	return err ?: batch_ret(b, op);
}

void uring_view_put(const struct uring_view *v, uint32_t at, const struct io_uring_sqe *e)
{
	uint32_t place = at & (v->p.sq_entries - 1);

	memset(v->sqes + place * sqe_size(v), 0, sqe_size(v));
	memcpy(v->sqes + place * sqe_size(v), e, sizeof(*e));
	if (!v->no_array)
		uring_word(v, v->p.sq_off.array)[place] = place;
	__atomic_store_n(uring_word(v, v->p.sq_off.tail), at + 1, __ATOMIC_RELEASE);
}

int uring_view_submit(const struct uring_view *v, uint32_t head, uint32_t n)
{
	bool has_thread = v->flags_known && v->p.flags & IORING_SETUP_SQPOLL;
	const uint32_t *at = uring_word(v, v->p.sq_off.head);
	int64_t until = clock_now_ms() + THREAD_WAITS;
	long done = enter_ring(v, n, IORING_ENTER_GETEVENTS | (has_thread ? IORING_ENTER_SQ_WAKEUP : 0));

	if (done < 0)
		return (int)done;
	while (__atomic_load_n(at, __ATOMIC_ACQUIRE) != head + n) {
		if (!has_thread)
			return -EPROTO;
		if (clock_now_ms() > until)
			return -ETIMEDOUT;
		sched_yield();
	}
	return 0;
}

/* Entries that do nothing; with `skip` they have no completions. */
static void fill_with_nothing(const struct uring_view *v, bool skip)
{
	for (uint32_t i = 0; i < v->p.sq_entries; i++) {
		struct io_uring_sqe nop = { .opcode = IORING_OP_NOP, .flags = skip ? IOSQE_CQE_SKIP_SUCCESS : 0 };

		memset(v->sqes + i * sqe_size(v), 0, sqe_size(v));
		memcpy(v->sqes + i * sqe_size(v), &nop, sizeof(nop));
		if (!v->no_array)
			uring_word(v, v->p.sq_off.array)[i] = i;
	}
}

static int await_completions(const struct uring_view *v, uint32_t tail)
{
	int64_t until = clock_now_ms() + THREAD_WAITS;

	while (__atomic_load_n(uring_word(v, v->p.cq_off.tail), __ATOMIC_ACQUIRE) != tail) {
		if (clock_now_ms() > until)
			return -EPROTO;
		sched_yield();
	}
	return 0;
}

static int submit_nothing(struct uring_view *v, uint32_t *at, uint32_t n, bool skip)
{
	uint32_t once = skip ? v->p.sq_entries : MIN(v->p.sq_entries, v->p.cq_entries);
	int err = 0;

	fill_with_nothing(v, skip);
	for (uint32_t end = *at + n; !err && *at != end;) {
		uint32_t some = MIN(end - *at, once);

		__atomic_store_n(uring_word(v, v->p.sq_off.tail), *at + some, __ATOMIC_RELEASE);
		err = uring_view_submit(v, *at, some);
		if (!err && !skip)
			err = await_completions(v, *at + some);
		*at += some;
		if (!skip)
			__atomic_store_n(uring_word(v, v->p.cq_off.head), *at, __ATOMIC_RELEASE);
	}
	return err;
}

/* Completions without requests of the ring's own: another ring sends them. */
static int send_completions(struct uring_view *v, uint32_t at, uint32_t n)
{
	struct uring_view h = { .flags_known = true };
	int err = uring_layout(SENDS, SENDS, 0, &h.p), fd;
	uint32_t tail = 0;

	if (err || !n)
		return err;
	h.fd = fd = (int)syscall(SYS_io_uring_setup, SENDS, &h.p);
	err = fd < 0 ? -errno : uring_view_map(&h);
	for (uint32_t i = 0; !err && i < SENDS; i++) {
		struct io_uring_sqe e = { .opcode = URING_OP_MSG_RING, .flags = IOSQE_CQE_SKIP_SUCCESS, .fd = v->fd };

		memcpy(h.sqes + i * sizeof(e), &e, sizeof(e));
		uring_word(&h, h.p.sq_off.array)[i] = i;
	}
	for (uint32_t end = at + n; !err && at != end;) {
		uint32_t some = MIN(end - at, MIN((uint32_t)SENDS, v->p.cq_entries));

		tail += some;
		__atomic_store_n(uring_word(&h, h.p.sq_off.tail), tail, __ATOMIC_RELEASE);
		err = uring_view_submit(&h, tail - some, some);
		at += some;
		if (!err && v->agent)
			err = (int)MIN(enter_ring(v, 0, IORING_ENTER_GETEVENTS), 0);
		err = err ?: await_completions(v, at);
		__atomic_store_n(uring_word(v, v->p.cq_off.head), at, __ATOMIC_RELEASE);
	}
	uring_view_unmap(&h);
	if (fd >= 0)
		close(fd);
	return err;
}

int uring_advance(struct uring_view *v, uint32_t submitted, uint32_t completed)
{
	uint32_t at = 0, both = MIN(submitted, completed);
	int err = submit_nothing(v, &at, both, false);

	if (!err)
		err = submit_nothing(v, &at, submitted - both, true);
	return err ?: send_completions(v, both, completed - both);
}
