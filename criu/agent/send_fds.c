/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "agent/batch.h"
#include "agent/send_fds.h"
#include "arch/arch_abi.h"
#include "lib/rights.h"
#include "lib/log.h"

#define CONTROL_SIZE CMSG_SPACE(RIGHTS_MAX * sizeof(int))

/* The control data lies in the agent's area: anything may stand there. */
static int read_numbers(const struct task *t, const void *data, size_t n, int *numbers)
{
	union {
		char bytes[CONTROL_SIZE];
		struct cmsghdr align;
	} control;

	memcpy(&control, data, sizeof(control));
	if (control.align.cmsg_len != CMSG_LEN(n * sizeof(int)) || control.align.cmsg_level != SOL_SOCKET ||
	    control.align.cmsg_type != SCM_RIGHTS)
		return log_errno(-EMFILE, "%s: not all of %zu descriptors arrived (its limit of open files?)",
		                 task_name(t), n);
	memcpy(numbers, CMSG_DATA(&control.align), n * sizeof(int));
	for (size_t i = 0; i < n; i++)
		if (numbers[i] < 0)
			return log_errno(-EBADMSG, "%s: a descriptor arrived under the number %d", task_name(t),
			                 numbers[i]);
	return 0;
}

/* What was sent over the socket. */
static int receive_chunk(struct task *t, size_t n, int *numbers)
{
	struct batch *b = agent_batch(t->restore->agent, "receiving descriptors");
	struct arch_msghdr *mh;
	struct arch_iovec *iov;
	void *control, *byte;
	raddr_t mh_at;
	int err, op;

	batch_reserve(b, 1, sizeof(*mh) + sizeof(*iov) + CONTROL_SIZE + 256);
	mh_at = batch_space(b, sizeof(*mh), &mh);
	mh->iov = batch_space(b, sizeof(*iov), &iov);
	mh->iovlen = 1;
	mh->control = batch_space(b, CONTROL_SIZE, &control);
	mh->controllen = CONTROL_SIZE;
	iov->base = batch_space(b, 1, &byte);
	iov->len = 1;
	op = batch_ask(b, SYS_recvmsg, (uint64_t)t->restore->task_sock, mh_at, MSG_DONTWAIT);
	err = batch_run(b);
	if (err)
		return err;
	if (batch_ret(b, op) != 1)
		return log_errno(batch_ret(b, op) < 0 ? (int)batch_ret(b, op) : -EBADMSG,
		                 "%s: recvmsg of %zu descriptors in the agent", task_name(t), n);
	return read_numbers(t, control, n, numbers);
}

static int pass_chunk(struct task *t, const int *fds, size_t n, int *numbers)
{
	int err = rights_send(t->restore->sock, &(char) { 0 }, 1, fds, n);

	if (err)
		return log_errno(err, "%s: sendmsg of %zu descriptors to the agent", task_name(t), n);
	return receive_chunk(t, n, numbers);
}

int agent_send_by(struct task *t, int (*send)(int sock, void *arg), void *arg, int *number)
{
	int err = send(t->restore->sock, arg);

	if (err)
		return log_errno(err, "%s: sendmsg of a descriptor to the agent", task_name(t));
	return receive_chunk(t, 1, number);
}

int agent_send_fds(struct task *t, const int *fds, size_t n, int *numbers)
{
	int err = 0;

	for (size_t at = 0; !err && at < n; at += RIGHTS_MAX)
		err = pass_chunk(t, fds + at, MIN(n - at, RIGHTS_MAX), numbers + at);
	return err;
}
