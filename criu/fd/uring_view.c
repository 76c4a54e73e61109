/* SPDX-License-Identifier: GPL-2.0-only */
/* A ring of io_uring as the kernel shows it, its memory, mapped here, and its way from the beginning to where it was.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch_page.h"
#include "fd/uring.h"
#include "proc/fdinfo.h"

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

int uring_layout(uint32_t sq_entries, uint32_t cq_entries, struct io_uring_params *p)
{
	int fd;

	memset(p, 0, sizeof(*p));
	p->flags = IORING_SETUP_CQSIZE;
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

int uring_view_map(struct uring_view *v)
{
	const struct io_uring_params *p = &v->p;
	size_t cqes = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
	size_t array = p->sq_off.array + p->sq_entries * sizeof(uint32_t);
	int err;

	v->sqes_len = round_up(p->sq_entries * sizeof(struct io_uring_sqe), PAGE_SIZE);
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

int uring_advance(struct uring_view *v, uint32_t position)
{
	const struct io_uring_params *p = &v->p;
	uint32_t *tail = uring_word(v, p->sq_off.tail);
	uint32_t *cq_head = uring_word(v, p->cq_off.head), *cq_tail = uring_word(v, p->cq_off.tail);
	uint32_t at = 0;

	for (uint32_t i = 0; i < p->sq_entries; i++) {
		struct io_uring_sqe nop = { .opcode = IORING_OP_NOP };

		memcpy(v->sqes + i * sizeof(nop), &nop, sizeof(nop));
		if (!v->no_array)
			uring_word(v, p->sq_off.array)[i] = i;
	}
	while (at != position) {
		uint32_t n = MIN(position - at, MIN(p->sq_entries, p->cq_entries));
		long done;

		__atomic_store_n(tail, at + n, __ATOMIC_RELEASE);
		done = syscall(SYS_io_uring_enter, v->fd, n, n, IORING_ENTER_GETEVENTS, NULL, 0);
		if (done < 0)
			return -errno;
		if (done != n || __atomic_load_n(cq_tail, __ATOMIC_ACQUIRE) != at + n)
			return -EPROTO;
		at += n;
		__atomic_store_n(cq_head, at, __ATOMIC_RELEASE);
	}
	return 0;
}
