/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A pagemap is as a dump would write it: entries ascend, each with its pages behind those of the one before. What does
 * not fit to that is refused, whoever sends it; what is sent is never held in memory but by the piece.
 */
#include "pages/page_receive.h"

#include <fcntl.h>
#include <inttypes.h>
#include <uthash.h>

#include "arch/arch_vdso.h"
#include "format.h"
#include "lib/fault.h"
#include "lib/io.h"
#include "lib/log.h"
#include "pages/page_io.h"
#include "pages/page_receive_prev.h"
#include "pages/pagemap.h"
#include "tree/run_mark.h"

/* Pages files have other numbers than those of a dump into the same directory, as CRIU has them. */
#define FIRST_PAGES_ID 0x10001U
#define PID_MOST       (1U << 22)

/* Images that have been begun: each may be only once. */
struct begun {
	uint64_t id;
	UT_hash_handle hh;
};

struct receiver {
	const struct page_peer *peer;
	struct image_received *images;
	struct begun *begun;
	uint32_t last_pages_id;
	/* The one that is being received; id 0: none is. */
	uint64_t id, limit; /* limit: of addresses */
	char name[IMAGE_NAME_MAX];
	struct pagemap_writer pagemap;
	int fd;            /* of the pages file */
	bool has_parent;   /* in the checkpoint before */
	uint64_t end, len; /* where the last entry has ended; bytes of the pages file */
	uint8_t *buf;      /* BATCH_BYTES */
	uint32_t *sums;    /* of its pages, room for max_sums */
	size_t max_sums;
	struct page_sums_writer all_sums;
	struct receive_prev prev;
};

/* ---- ids ---- */

/* Peers of long ago had other numbers of types for the same. */
static bool is_object(uint64_t id)
{
	unsigned type = id & 0xff;

	return type == PAGES_OF_OBJECT || (type >= 27 && type <= 34);
}

static bool is_task(uint64_t id)
{
	unsigned type = id & 0xff;

	return type == PAGES_OF_TASK || type == 10 || type == 11 || type == 16 || type == 17;
}

static int check_id(uint64_t id)
{
	uint64_t number = id >> 8;

	if (is_object(id) || (is_task(id) && number && number <= PID_MOST))
		return 0;
	return log_errno(-EBADMSG, "the peer names 0x%" PRIx64 ", which is no task and no shared memory", id);
}

static enum image_type type_of(uint64_t id)
{
	return is_task(id) ? IMG_PAGEMAP : IMG_SHMEM_PAGEMAP;
}

static uint64_t limit_of(uint64_t id)
{
	return is_task(id) ? arch_task_size(false) : INT64_MAX & ~(PAGE_SIZE - 1);
}

/* The images whose pages come next are those. */
static bool prev_has(struct receiver *r, uint64_t id)
{
	return page_receive_prev_has(&r->prev, type_of(id), id >> 8, limit_of(id));
}

/* ---- images ---- */

static int end_images(struct receiver *r, int err)
{
	if (!r->id)
		return err;
	err = pagemap_close(&r->pagemap, err);
	err = err ?: page_sums_write(&r->all_sums, r->last_pages_id, r->sums, r->len / PAGE_SIZE);
	cleanup_close(&r->fd);
	r->fd = -1;
	r->id = 0;
	return err;
}

static int note_begun(struct receiver *r, uint64_t id)
{
	struct begun *b;

	HASH_FIND(hh, r->begun, &id, sizeof(id), b);
	if (b)
		return log_errno(-EBADMSG, "the peer begins %s a second time", r->name);
	b = calloc(1, sizeof(*b));
	if (!b)
		return log_errno(-ENOMEM, "out of memory for %s", r->name);
	b->id = id;
	HASH_ADD(hh, r->begun, id, sizeof(b->id), b);
	return 0;
}

static int begin_images(struct receiver *r, uint64_t id)
{
	PagemapHead head = PAGEMAP_HEAD__INIT;
	int err = check_id(id) ?: end_images(r, 0);

	if (err)
		return err;
	image_make_name(type_of(id), id >> 8, r->name);
	err = note_begun(r, (id & ~UINT64_C(0xff)) | is_task(id));
	if (err)
		return err;
	r->fd = image_pages_create(r->images->dir, ++r->last_pages_id);
	if (r->fd < 0)
		return r->fd;
	r->id = id;
	r->end = r->len = 0;
	r->limit = limit_of(id);
	r->has_parent = prev_has(r, id);
	head.pages_id = r->last_pages_id;
	log_info("%s, pages-%u.img", r->name, r->last_pages_id);
	return pagemap_create(&r->pagemap, r->images->dir, type_of(id), id >> 8, &head, false);
}

static void free_begun(struct receiver *r)
{
	struct begun *b, *next;

	HASH_ITER(hh, r->begun, b, next)
	{
		HASH_DEL(r->begun, b);
		free(b);
	}
}

/* ---- the connection ---- */

static int peer_error(int err, const char *call, const char *what)
{
	if (err == -ENODATA || err == -EPIPE) {
		log_errno(0, "the peer has ended the connection before it has said that all is sent (%s)", what);
		return -EPIPE;
	}
	if (err == -ETIMEDOUT)
		return log_errno(err, "the peer does nothing (%s, --timeout)", what);
	return log_errno(err, "%s (%s)", call, what);
}

static int send_answer(const struct receiver *r, const void *data, size_t len, const char *what)
{
	struct iovec list = { (void *)data, len };
	int err = page_peer_send(r->peer, &list, 1);

	return err ? peer_error(err, "sendmsg", what) : 0;
}

/* The checksums of n pages, behind those that the file has. */
static int add_sums(struct receiver *r, size_t n)
{
	size_t have = r->len / PAGE_SIZE;

	if (have + n > r->max_sums) {
		size_t wanted = MAX(2 * r->max_sums, have + n);
		uint32_t *more = reallocarray(r->sums, wanted, sizeof(*more));

		if (!more)
			return log_errno(-ENOMEM, "out of memory for the checksums of %zu pages", wanted);
		r->sums = more;
		r->max_sums = wanted;
	}
	page_sums_make(r->sums + have, r->buf, n);
	return 0;
}

/* The bytes of n pages, behind those that the file has. */
static int receive_pages(struct receiver *r, uint64_t n)
{
	int err = 0;

	for (uint64_t left = n * PAGE_SIZE, len; !err && left; left -= len) {
		len = MIN(left, BATCH_BYTES);
		err = page_peer_receive(r->peer, r->buf, len, 1);
		if (err)
			return peer_error(err, "recv", r->name);
		err = add_sums(r, len / PAGE_SIZE);
		if (err)
			return err;
		err = io_pwrite_all(r->fd, r->buf, len, (off_t)r->len);
		if (err)
			return log_errno(err, "pwrite to pages-%u.img", r->last_pages_id);
		r->len += len;
		fault_point("pages have been received");
	}
	return err;
}

/* ---- requests ---- */

static int check_flags(const struct receiver *r, uint32_t flags)
{
	if (!flags || flags & ~(uint32_t)(PE_PARENT | PE_LAZY | PE_PRESENT) ||
	    (flags & PE_PARENT && flags & (PE_LAZY | PE_PRESENT)))
		return log_errno(-EBADMSG, "%s: the peer sends pages with flags 0x%x", r->name, flags);
	if (flags & PE_PARENT && !r->has_parent)
		return log_errno(-EBADMSG,
		                 "%s: the peer says that pages are in a parent checkpoint, where this server "
		                 "has none of that name",
		                 r->name);
	return 0;
}

static int check_run(const struct receiver *r, const struct page_request *q)
{
	if (!r->id || q->id != r->id)
		return log_errno(-EBADMSG, "the peer sends pages of 0x%" PRIx64 ", which it has not begun", q->id);
	if (q->n && !(q->at % PAGE_SIZE) && q->at >= r->end && q->at < r->limit &&
	    q->n <= (r->limit - q->at) / PAGE_SIZE)
		return 0;
	return log_errno(-EBADMSG,
	                 "%s: the peer sends %" PRIu64 " pages at 0x%" PRIx64 ", which is out of order or place",
	                 r->name, q->n, q->at);
}

/* Of the peer's own mark the entry names the one that it says to be on top of. */
static void note_mark(struct receiver *r, const struct page_run *run)
{
	if (type_of(r->id) == IMG_SHMEM_PAGEMAP && run_mark_is(r->id >> 8))
		r->prev.mark = run_mark_at(run->at);
}

static int add_run(struct receiver *r, const struct page_request *q, uint32_t flags)
{
	const struct page_run run = { .at = q->at, .n = q->n };
	int err = check_run(r, q) ?: check_flags(r, flags);

	if (!err && flags & PE_PARENT)
		err = page_receive_prev_check(&r->prev, r->name, &run);
	if (!err)
		err = pagemap_add_flagged(&r->pagemap, &run, flags);
	if (!err && flags & PE_PRESENT)
		err = receive_pages(r, q->n);
	if (!err)
		note_mark(r, &run);
	r->end = page_run_end(&run);
	return err;
}

static int open_request(struct receiver *r, const struct page_request *q, bool asks)
{
	int err = begin_images(r, q->id);
	uint8_t has_parent = r->has_parent;

	return err || !asks ? err : send_answer(r, &has_parent, sizeof(has_parent), r->name);
}

/* It may come in the middle of images. */
static int parent_request(struct receiver *r, const struct page_request *q)
{
	const struct receive_prev before = r->prev;
	int err = check_id(q->id);
	int32_t has_parent = !err && prev_has(r, q->id);

	r->prev.map = before.map;
	r->prev.next = before.next;
	return err ?: send_answer(r, &has_parent, sizeof(has_parent), "whether there is a parent");
}

/* Whatever came of it, the peer is told. */
static int close_request(struct receiver *r)
{
	int err = page_sums_end(&r->all_sums, end_images(r, 0)) ?: page_receive_prev_check_all(&r->prev), sent;
	int32_t result;

	fault_point("all pages have been received");
	if (!err && r->begun)
		err = image_received_publish(r->images);
	fault_point("the images are in their place");
	result = err;
	sent = send_answer(r, &result, sizeof(result), "the answer to the request to close");
	return err ?: sent;
}

/* 1: that was the last request. */
static int serve_request(struct receiver *r, const struct page_request *q)
{
	unsigned command = q->command & ((1U << PAGES_FLAGS_SHIFT) - 1);

	switch (command) {
	case PAGES_OPEN:
	case PAGES_OPEN2:
		return open_request(r, q, command == PAGES_OPEN2);
	case PAGES_PARENT:
		return parent_request(r, q);
	case PAGES_ADD:
		return add_run(r, q, PE_PRESENT);
	case PAGES_HOLE:
		return add_run(r, q, PE_PARENT);
	case PAGES_ADD_F:
		return add_run(r, q, q->command >> PAGES_FLAGS_SHIFT);
	case PAGES_CLOSE:
	case PAGES_FORCE_CLOSE:
		return close_request(r) ?: 1;
	case PAGES_GET:
		return log_errno(-EBADMSG, "the peer asks for pages: a page server has none to give");
	}
	return log_errno(-EBADMSG, "the peer sends command 0x%x, which is none of a page server", command);
}

static int serve_all(struct receiver *r)
{
	struct page_request q;
	bool first = true;
	int err;

	do {
		err = page_peer_receive(r->peer, &q, sizeof(q), PAGE_PEER_PATIENCE);
		/* Over one connection for all of a chain (p.haul): the word of the dump before that it has committed.
		 */
		if (!err && first && r->peer->inherited && q.command == PAGES_CLOSE)
			err = page_peer_receive(r->peer, &q, sizeof(q), PAGE_PEER_PATIENCE);
		first = false;
		err = err ? peer_error(err, "recv", "a request") : serve_request(r, &q);
	} while (!err);
	return MIN(err, 0);
}

int page_receive(const struct page_peer *p, struct image_received *images)
{
	struct receiver r = {
		.peer = p,
		.images = images,
		.last_pages_id = FIRST_PAGES_ID - 1,
		.fd = -1,
		.all_sums.dir = images->dir,
		.prev.images = images,
	};
	int err;

	r.buf = malloc(BATCH_BYTES);
	if (!r.buf)
		return log_errno(-ENOMEM, "out of memory for %lu bytes of pages", BATCH_BYTES);
	err = serve_all(&r);
	page_sums_end(&r.all_sums, end_images(&r, err));
	page_receive_prev_end(&r.prev);
	free_begun(&r);
	free(r.sums);
	free(r.buf);
	return err;
}

bool page_receive_committed(const struct page_peer *p)
{
	struct page_request q;

	return !page_peer_receive(p, &q, sizeof(q), PAGE_PEER_PATIENCE) && q.command == PAGES_CLOSE;
}
