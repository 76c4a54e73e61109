/* SPDX-License-Identifier: GPL-2.0-only */
/* A request in flight in a ring of io_uring, as the kernel keeps it, made into an entry that asks for the same. */
#include <linux/time_types.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "fd/uring_inside.h"
#include "uapi/io_uring_more.h"

/* The first bits of io_kiocb.flags are those of sqe.flags. */
#define SQE_FLAGS 0x7fULL

#define SECOND    1000000000ULL

static uint64_t part(const struct uring_kernel *k, struct uring_bytes b, enum uring_field f, size_t len)
{
	return uring_bytes_number(k, b, f, len);
}

static uint64_t pointer_of(const struct uring_kernel *k, struct uring_bytes b, enum uring_field f)
{
	return part(k, b, f, sizeof(uint64_t));
}

static uint32_t word_of(const struct uring_kernel *k, struct uring_bytes b, enum uring_field f)
{
	return (uint32_t)part(k, b, f, sizeof(uint32_t));
}

static void poll_again(const struct uring_kernel *k, struct uring_bytes req, struct uring_flying *f)
{
	uint32_t events = word_of(k, req, URING_REQ_EVENTS);

	if (!(events & EPOLLONESHOT))
		f->sqe.len |= IORING_POLL_ADD_MULTI;
	if (!(events & EPOLLET))
		f->sqe.len |= URING_POLL_ADD_LEVEL;
	f->sqe.poll32_events = events & ~((uint32_t)EPOLLONESHOT | (uint32_t)EPOLLET);
}

/* Begun again from its beginning, so nothing may have come yet. */
static void receive_again(const struct uring_kernel *k, struct uring_bytes req, struct uring_flying *f)
{
	uint16_t flags = (uint16_t)part(k, req, URING_SR_FLAGS, sizeof(uint16_t));

	f->sqe.addr = pointer_of(k, req, URING_SR_BUF);
	f->sqe.len = word_of(k, req, URING_SR_LEN);
	f->sqe.msg_flags = word_of(k, req, URING_SR_MSG_FLAGS) & ~(uint32_t)MSG_NOSIGNAL;
	f->sqe.ioprio = IORING_RECVSEND_POLL_FIRST;
	if (word_of(k, req, URING_SR_DONE))
		f->why = "a part has been received (MSG_WAITALL)";
	f->sqe.ioprio |= flags & (IORING_RECV_MULTISHOT | URING_RECV_BUNDLE);
	if (flags & IORING_RECV_MULTISHOT && f->opcode == IORING_OP_RECV)
		f->sqe.len = word_of(k, req, URING_SR_EACH);
	if (flags & ~(IORING_RECVSEND_POLL_FIRST | IORING_RECV_MULTISHOT | URING_RECV_BUNDLE) ||
	    word_of(k, req, URING_SR_TOTAL) || (flags & IORING_RECV_MULTISHOT && f->opcode != IORING_OP_RECV))
		f->why = "has flags that are not known";
}

/* By the description that the program has in its memory: the kernel's copy tells whether that is the same. */
static int message_again(struct uring_kernel *k, struct uring_bytes req, struct uring_flying *f)
{
	uint64_t async = pointer_of(k, req, URING_REQ_ASYNC);
	int err = async ? 0 : -EFAULT;

	receive_again(k, req, f);
	f->vector = async + (uint64_t)k->at[URING_MSG_ITER];
	err = err ?: kernel_read_number(k->view, async + (uint64_t)k->at[URING_MSG_NAME], sizeof(f->name), &f->name);
	err = err
	          ?: kernel_read_number(k->view, async + (uint64_t)k->at[URING_MSG_CONTROL], sizeof(f->control),
	                                &f->control);
	return err
	           ?: kernel_read_number(k->view, async + (uint64_t)k->at[URING_MSG_CONTROL_LEN],
	                                 sizeof(f->control_len), &f->control_len);
}

static int read_again(struct uring_kernel *k, struct uring_bytes req, struct uring_flying *f)
{
	uint64_t async = pointer_of(k, req, URING_REQ_ASYNC), done = 0;
	int err = async ? kernel_read_number(k->view, async + (uint64_t)k->at[URING_RW_DONE], sizeof(done), &done) : 0;

	f->is_read = true;
	f->sqe.off = pointer_of(k, req, URING_RW_POS);
	f->sqe.addr = pointer_of(k, req, URING_RW_ADDR);
	f->sqe.len = word_of(k, req, URING_RW_LEN);
	f->sqe.rw_flags = (int)word_of(k, req, URING_RW_FLAGS);
	if (done)
		f->why = "a part has been read";
	return err;
}

static void accept_again(const struct uring_kernel *k, struct uring_bytes req, struct uring_flying *f)
{
	f->sqe.addr = pointer_of(k, req, URING_ACCEPT_ADDR);
	f->sqe.addr2 = pointer_of(k, req, URING_ACCEPT_LEN);
	f->sqe.accept_flags = word_of(k, req, URING_ACCEPT_FLAGS);
	f->sqe.ioprio = (uint16_t)word_of(k, req, URING_ACCEPT_IOU);
	f->sqe.file_index = word_of(k, req, URING_ACCEPT_SLOT);
	if (f->sqe.file_index)
		f->why = "accepts into the registered files";
}

static uint64_t clock_now(const struct uring_kernel *k, uint32_t flags)
{
	struct timespec now;

	if (flags & IORING_TIMEOUT_BOOTTIME)
		return k->boottime;
	if (!(flags & IORING_TIMEOUT_REALTIME))
		return k->monotonic;
	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

/* The rest of its time. A time of the wall clock stays that time, which may be set. */
static int timeout_again(struct uring_kernel *k, const struct uring_state *s, struct uring_bytes req,
                         struct uring_flying *f)
{
	uint64_t async = pointer_of(k, req, URING_REQ_ASYNC), expires, flags, timeouts, rest;
	uint32_t off = word_of(k, req, URING_TIMEOUT_OFF);
	int err = async ? 0 : -EFAULT;

	err =
	    err ?: kernel_read_number(k->view, async + (uint64_t)k->at[URING_TIMER_EXPIRES], sizeof(expires), &expires);
	err = err ?: kernel_read_number(k->view, async + (uint64_t)k->at[URING_TIMER_FLAGS], sizeof(uint32_t), &flags);
	err = err
	          ?: kernel_read_number(k->view, s->ctx + (uint64_t)k->at[URING_CTX_TIMEOUTS], sizeof(uint32_t),
	                                &timeouts);
	if (err)
		return err;
	if (flags & URING_TIMEOUT_MULTISHOT)
		f->why = "a timeout that comes again and again (IORING_TIMEOUT_MULTISHOT)";
	if (f->opcode == IORING_OP_LINK_TIMEOUT)
		f->head = pointer_of(k, req, URING_TIMEOUT_HEAD);
	off = f->head ? 0 : off;
	rest = expires > clock_now(k, (uint32_t)flags) ? expires - clock_now(k, (uint32_t)flags) : 1;
	if (flags & IORING_TIMEOUT_ABS && flags & IORING_TIMEOUT_REALTIME)
		rest = expires;
	else
		flags &= ~(uint64_t)IORING_TIMEOUT_ABS;
	f->has_time = true;
	f->time = (struct timespec) { .tv_sec = (time_t)(rest / SECOND), .tv_nsec = (long)(rest % SECOND) };
	f->sqe.fd = -1;
	f->sqe.len = 1;
	f->sqe.timeout_flags = (uint32_t)flags;
	if (off)
		f->sqe.off = word_of(k, req, URING_TIMEOUT_TARGET) - (s->completed - (uint32_t)timeouts);
	if (off && (!f->sqe.off || f->sqe.off > off))
		f->why = "a timeout whose count of completions has been reached";
	return 0;
}

/* One that has been woken comes to its end as a request that does nothing. */
static int futex_again(struct uring_kernel *k, struct uring_bytes req, struct uring_flying *f)
{
	uint64_t async = pointer_of(k, req, URING_REQ_ASYNC), lock = 0;
	uint32_t flags = word_of(k, req, URING_FUTEX_FLAGS);
	int err = async ? kernel_read_number(k->view, async + (uint64_t)k->at[URING_FUTEX_LOCK], sizeof(lock), &lock)
	                : -EFAULT;

	if (err)
		return err;
	f->sqe.fd = (int)((flags & 3) | (flags & URING_FUTEX_SHARED ? 0 : URING_FUTEX2_PRIVATE));
	f->sqe.addr = pointer_of(k, req, URING_FUTEX_ADDR);
	f->sqe.off = pointer_of(k, req, URING_FUTEX_VALUE);
	f->sqe.addr3 = pointer_of(k, req, URING_FUTEX_MASK);
	if (flags & ~(3U | URING_FUTEX_SHARED) || (flags & 3) != URING_FUTEX2_U32)
		f->why = "waits for a futex with flags that are not known";
	if (!lock)
		f->sqe = (struct io_uring_sqe) { .opcode = IORING_OP_NOP, .fd = -1, .user_data = f->sqe.user_data };
	return 0;
}

static void events_again(const struct uring_kernel *k, struct uring_bytes req, struct uring_flying *f)
{
	f->sqe.addr = pointer_of(k, req, URING_EPOLL_EVENTS);
	f->sqe.len = word_of(k, req, URING_EPOLL_N);
}

static const char *why_not_flags(uint64_t flags)
{
	if (flags & IOSQE_IO_DRAIN)
		return "waits for all before it (IOSQE_IO_DRAIN)";
	return NULL;
}

/* The address is of a buffer that it had for a moment. */
static int select_again(struct uring_kernel *k, struct uring_bytes req, struct uring_flying *f)
{
	uint64_t async = pointer_of(k, req, URING_REQ_ASYNC), group = 0;
	int err = 0;

	f->sqe.addr = 0;
	if (k->at[URING_SR_GROUP] < 0 || k->at[URING_RW_GROUP] < 0) {
		f->why = "selects its buffer (IOSQE_BUFFER_SELECT), and this kernel does not tell of which group";
	} else if (f->opcode == IORING_OP_RECV) {
		group = part(k, req, URING_SR_GROUP, sizeof(uint16_t));
	} else if (async && (f->opcode == IORING_OP_READ || f->opcode == URING_OP_READ_MULTISHOT)) {
		err = kernel_read_number(k->view, async + (uint64_t)k->at[URING_RW_GROUP], sizeof(uint16_t), &group);
	} else {
		f->why = "selects its buffer (IOSQE_BUFFER_SELECT)";
	}
	f->sqe.buf_group = (uint16_t)group;
	return err;
}

int uring_request_read(struct uring_kernel *k, const struct uring_state *s, struct uring_bytes req,
                       struct uring_flying *f)
{
	uint64_t flags = pointer_of(k, req, URING_REQ_FLAGS), tctx = pointer_of(k, req, URING_REQ_TCTX);
	int err = kernel_read_number(k->view, tctx + (uint64_t)k->at[URING_TCTX_TASK], sizeof(f->task), &f->task);

	f->opcode = (uint8_t)part(k, req, URING_REQ_OPCODE, 1);
	f->file = pointer_of(k, req, URING_REQ_FILE);
	f->sqe = (struct io_uring_sqe) {
		.opcode = f->opcode,
		.flags = (uint8_t)(flags & SQE_FLAGS & ~(uint64_t)IOSQE_ASYNC),
		.fd = (int)word_of(k, req, URING_REQ_FD),
		.user_data = pointer_of(k, req, URING_REQ_DATA),
	};
	f->link = pointer_of(k, req, URING_REQ_LINK);
	if (err)
		return err;
	switch (f->opcode) {
	case IORING_OP_POLL_ADD:
		poll_again(k, req, f);
		break;
	case IORING_OP_RECV:
		receive_again(k, req, f);
		break;
	case IORING_OP_RECVMSG:
		err = message_again(k, req, f);
		break;
	case IORING_OP_READV:
		err = read_again(k, req, f);
		f->is_read = false; /* a receive has no vector */
		f->vector = pointer_of(k, req, URING_REQ_ASYNC) + (uint64_t)k->at[URING_RW_ITER];
		break;
	case IORING_OP_READ_FIXED:
		f->sqe.buf_index = (uint16_t)part(k, req, URING_REQ_BUFFER, sizeof(uint16_t));
		err = read_again(k, req, f);
		f->is_read = false; /* a receive has no such buffer */
		break;
	case URING_OP_READ_MULTISHOT:
		err = read_again(k, req, f);
		f->is_read = false; /* a receive is asked for in another way */
		f->sqe.len = 0;
		break;
	case IORING_OP_READ:
		err = read_again(k, req, f);
		break;
	case IORING_OP_ACCEPT:
		accept_again(k, req, f);
		break;
	case IORING_OP_LINK_TIMEOUT:
	case IORING_OP_TIMEOUT:
		f->file = 0;
		err = timeout_again(k, s, req, f);
		break;
	case URING_OP_FUTEX_WAIT:
		f->file = 0;
		err = futex_again(k, req, f);
		break;
	case URING_OP_EPOLL_WAIT:
		events_again(k, req, f);
		break;
	default:
		f->file = 0;
		f->why = "cannot be submitted again";
	}
	if (!err && f->sqe.flags & IOSQE_BUFFER_SELECT)
		err = select_again(k, req, f);
	f->why = why_not_flags(flags) ?: f->why;
	return err;
}
