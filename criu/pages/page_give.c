/* SPDX-License-Identifier: GPL-2.0-only */
/* What is asked for is foreign input: only pages that were left for later are given away, to whoever has connected. */
#include "pages/page_give.h"

#include <inttypes.h>

#include "format.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "pages/page_io.h"

#define PID_MOST (1U << 22)

struct giving {
	const struct page_peer *peer;
	const struct page_giver *from;
	uint8_t *buf; /* BATCH_BYTES */
	uint64_t *given;
};

static int peer_error(int err, const char *call, const char *what)
{
	if (err == -ENODATA || err == -EPIPE || err == -ECONNRESET) {
		log_errno(0,
		          "the lazy-pages daemon has ended the connection before it has said that it needs no more "
		          "pages (%s): its log says why",
		          what);
		return -EPIPE;
	}
	if (err == -ETIMEDOUT)
		return log_errno(err, "the lazy-pages daemon does nothing (%s, --timeout)", what);
	return log_errno(err, "%s (%s)", call, what);
}

static int send_list(const struct giving *g, struct iovec *list, size_t n)
{
	int err = page_peer_send(g->peer, list, n);

	return err ? peer_error(err, "sendmsg", "pages") : 0;
}

/* The header goes with the first pages: what cannot be read is not announced. */
static int give_run(struct giving *g, const struct page_request *q, const struct page_run *run)
{
	struct page_request header = *q;
	int err = 0;

	header.command = PAGES_ADD_F | PE_PRESENT << PAGES_FLAGS_SHIFT;
	header.n = run->n;
	for (raddr_t at = run->at, next; !err && at < page_run_end(run); at = next) {
		bool first = at == run->at;
		struct page_run part;
		struct iovec list[2] = { { &header, sizeof(header) }, { g->buf, 0 } };

		next = MIN(page_run_end(run), at + BATCH_BYTES);
		part = page_run_part(run, at, next);
		list[1].iov_len = next - at;
		err = g->from->read(g->from->arg, &part, g->buf);
		if (!err)
			err = send_list(g, first ? list : list + 1, first ? 2 : 1);
		fault_point("pages have been given away");
	}
	*g->given += err ? 0 : run->n;
	return err;
}

static int give_none(const struct giving *g, const struct page_request *q)
{
	struct page_request header = *q;
	struct iovec list = { &header, sizeof(header) };

	header.command = PAGES_ADD_F | PE_PRESENT << PAGES_FLAGS_SHIFT;
	header.n = 0;
	send_list(g, &list, 1);
	return log_errno(-EBADMSG,
	                 "the peer asks for %" PRIu64 " pages at %" PRIx64 " of task %" PRIu64 ", which are not here",
	                 q->n, q->at, q->id);
}

static int get_request(struct giving *g, const struct page_request *q)
{
	const struct page_run *run = NULL;
	struct page_run part;

	if (q->n && q->at % PAGE_SIZE == 0 && q->id && q->id <= PID_MOST)
		run = g->from->find(g->from->arg, VPID((int32_t)q->id), q->at);
	if (!run)
		return give_none(g, q);
	part = page_run_part(run, q->at, q->at + MIN(q->n, (page_run_end(run) - q->at) / PAGE_SIZE) * PAGE_SIZE);
	return give_run(g, q, &part);
}

/* 1: that was the last request. Before the first pages a restore is waited for, by whoever begins it. */
static int serve_request(struct giving *g)
{
	struct page_request q;
	int err = page_peer_receive(g->peer, &q, sizeof(q), *g->given ? PAGE_PEER_PATIENCE : PAGE_PEER_FOR_EVER);
	unsigned command = q.command & ((1U << PAGES_FLAGS_SHIFT) - 1);

	if (err)
		return peer_error(err, "recv", "a request");
	if (command == PAGES_GET)
		return get_request(g, &q);
	if (command == PAGES_CLOSE || command == PAGES_FORCE_CLOSE)
		return 1;
	return log_errno(-EBADMSG, "the peer sends command 0x%x, which no lazy-pages daemon has", command);
}

int page_give(const struct page_peer *p, const struct page_giver *from, uint64_t *given)
{
	struct giving g = { .peer = p, .from = from, .buf = malloc(BATCH_BYTES), .given = given };
	int err = 0;

	if (!g.buf)
		return log_errno(-ENOMEM, "out of memory for %lu bytes of pages", BATCH_BYTES);
	page_peer_keep_alive(p);
	while (!err)
		err = serve_request(&g);
	free(g.buf);
	return MIN(err, 0);
}

int page_give_answer(const struct page_peer *p, int result)
{
	int32_t answer = result;
	struct iovec list = { &answer, sizeof(answer) };
	int err = page_peer_send(p, &list, 1);

	return err ? peer_error(err, "sendmsg", "the answer to the request to close") : 0;
}
