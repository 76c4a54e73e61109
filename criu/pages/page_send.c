/* SPDX-License-Identifier: GPL-2.0-only */
/* Pages as requests to a page server, and in between, in the order of addresses, what it has of the dump before. */
#include "pages/page_send.h"

#include "format.h"
#include "lib/log.h"
#include "pages/page_link.h"
#include "pages/page_peer.h"
#include "pages/page_turns.h"
#include "pages/pagemap.h"

struct send_sink {
	struct page_sink sink; /* first */
	struct dump *dump;
	char name[IMAGE_NAME_MAX]; /* of the pagemap that the server writes */
	uint64_t number, id;       /* number: of the task or object; id: of the protocol */
	struct page_turns turns;
	struct pages_sum sum;
	const struct page_run *before, *before_end; /* of the dump before, and still to be named */
};

static int send_sink_open(struct page_sink *s, const struct page_transfer *t)
{
	struct send_sink *k = (struct send_sink *)s;
	bool has_parent;
	int err = page_link_begin_images(k->dump, k->id, &has_parent, k->name);

	k->before = t->elsewhere;
	k->before_end = t->elsewhere + t->n_elsewhere;
	if (err || has_parent || !t->n_elsewhere)
		return err;
	return log_errno(-ESTALE,
	                 "%s: the page server had the checkpoint before this one, and has no such image in it any "
	                 "more",
	                 k->name);
}

static void send_sink_place(struct page_sink *s, struct page_load *load)
{
	page_turns_place(&((struct send_sink *)s)->turns, load);
}

/* What of a batch is sent: a request for each part, and its pages. */
struct outgoing {
	struct send_sink *sink;
	const uint8_t *bytes;
	struct page_request requests[BATCH_PAGES];
	struct iovec list[2 * BATCH_PAGES];
	size_t n, n_list;
};

static int send_out(struct outgoing *out)
{
	int err = page_link_send(out->sink->dump, out->list, out->n_list, out->sink->name);

	out->n = out->n_list = 0;
	return err;
}

static int add_request(struct outgoing *out, uint32_t flags, uint64_t at, uint64_t n)
{
	struct page_request *r = &out->requests[out->n];

	*r = (struct page_request) {
		.command = PAGES_ADD_F | flags << PAGES_FLAGS_SHIFT, .n = n, .at = at, .id = out->sink->id
	};
	out->list[out->n_list++] = (struct iovec) { r, sizeof(*r) };
	if (flags & PE_PRESENT) {
		out->list[out->n_list++] = (struct iovec) { (void *)out->bytes, n * PAGE_SIZE };
		out->bytes += n * PAGE_SIZE;
	}
	pages_sum_add(&out->sink->sum, at, n);
	return ++out->n == BATCH_PAGES ? send_out(out) : 0;
}

/* What lies together is one request, however it differs otherwise. */
static int name_before(struct outgoing *out, raddr_t below)
{
	struct send_sink *k = out->sink;
	int err = 0;

	while (!err && k->before < k->before_end && k->before->at < below) {
		raddr_t at = k->before->at, end = page_run_end(k->before++);

		while (k->before < k->before_end && k->before->at == end && end < below)
			end = page_run_end(k->before++);
		err = add_request(out, PE_PARENT, at, (end - at) / PAGE_SIZE);
	}
	return err;
}

static int add_part(void *arg, const struct page_run *run)
{
	struct outgoing *out = arg;
	int err = name_before(out, run->at);

	return err ?: add_request(out, PE_PRESENT, run->at, run->n);
}

static int send_load(void *arg, const struct page_load *load)
{
	struct outgoing out = { .sink = arg, .bytes = load->bytes };
	int err = page_batch_each_kept(load->batch, load->runs, add_part, &out);

	return err ?: send_out(&out);
}

static int send_sink_write(struct page_sink *s, const struct page_load *load)
{
	struct send_sink *k = (struct send_sink *)s;

	return page_turns_write(&k->turns, load, send_load, k);
}

static int send_sink_finish(struct page_sink *s, const struct page_transfer *t)
{
	struct send_sink *k = (struct send_sink *)s;
	struct outgoing out = { .sink = k };
	int err = name_before(&out, UINT64_MAX) ?: send_out(&out);

	if (!err && (k->id & 0xff) == PAGES_OF_TASK)
		err = page_link_note_task(k->dump, k->number, t);
	return err ?: image_dir_note_sent(k->dump->dir, k->name, k->sum.pages, pages_sum_crc(&k->sum));
}

static void send_sink_close(struct page_sink *s)
{
	struct send_sink *k = (struct send_sink *)s;

	page_turns_end(&k->turns);
	free(k);
}

struct page_sink *page_send_sink(struct dump *d, enum image_type type, uint64_t id)
{
	static const struct page_sink_ops ops = {
		.max_threads = 8,
		.open = send_sink_open,
		.place = send_sink_place,
		.write = send_sink_write,
		.finish = send_sink_finish,
		.close = send_sink_close,
	};
	struct send_sink *k = malloc(sizeof(*k));

	if (!k)
		return NULL;
	*k = (struct send_sink) {
		.sink.ops = &ops,
		.dump = d,
		.number = id,
		.id = PAGES_ID(id, type == IMG_PAGEMAP ? PAGES_OF_TASK : PAGES_OF_OBJECT),
	};
	image_make_name(type, id, k->name);
	page_turns_begin(&k->turns);
	return &k->sink;
}
