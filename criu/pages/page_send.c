/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The connection is made before the tree is stopped: a server that is not there costs the tree nothing. The memory of
 * one task or object is sent at a time, since the protocol knows one.
 */
#include "pages/page_send.h"

#include <inttypes.h>

#include "format.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "pages/page_peer.h"
#include "pages/page_turns.h"
#include "pages/pagemap.h"
#include "tree/subsys.h"

/* The state of the row, in a dump with --page-server. */
struct page_link {
	struct page_peer peer;
	bool open;
};

extern const struct subsys page_link_subsys;

static struct page_link *link_of(struct dump *d)
{
	return dump_state(d, &page_link_subsys);
}

static int link_begin(struct dump *d)
{
	struct page_link *l = link_of(d);
	int err;

	if (!d->opts->page_server)
		return 0;
	/* A server that writes into this very directory finds by that where the images of the dump lie. */
	err = image_dir_files_fd(d->dir);
	err = err < 0 ? err : page_peer_connect(d->opts, &l->peer);
	l->open = !err;
	return err;
}

static void link_end(struct dump *d)
{
	struct page_link *l = link_of(d);

	if (l->open)
		page_peer_close(&l->peer);
	l->open = false;
}

/*
 * With --auto-dedup the server waits for this word after its answer: until the dump has committed, the older checkpoint
 * of the chain stays whole. CRIU's server does not listen any more.
 */
static void link_committed(struct dump *d)
{
	const struct page_link *l = link_of(d);
	struct page_request r = { .command = PAGES_CLOSE };
	struct iovec list = { &r, sizeof(r) };

	if (l->open && d->opts->auto_dedup && page_peer_send(&l->peer, &list, 1))
		log_info("the page server does not wait to hear that the dump has committed (--auto-dedup)");
}

const struct subsys page_link_subsys = {
	.name = "page server",
	.state = { .dump = sizeof(struct page_link) },
	.before_freeze = link_begin,
	.pre_committed = link_committed,
	.after_commit = link_committed,
	.end = link_end,
};

/* ---- requests ---- */

static int server_error(int err, const char *call, const char *what)
{
	if (err == -ENODATA || err == -EPIPE || err == -ECONNRESET) {
		log_errno(0, "the page server has ended the connection (%s of %s): its log says why", call, what);
		return -EPIPE;
	}
	return log_errno(err, "page server: %s of %s", call, what);
}

static int send_request(const struct page_peer *p, const struct page_request *r, const char *what)
{
	struct iovec list = { (void *)r, sizeof(*r) };
	int err = page_peer_send(p, &list, 1);

	return err ? server_error(err, "sendmsg", what) : 0;
}

static int receive_answer(const struct page_peer *p, void *answer, size_t size, const char *what)
{
	int err = page_peer_receive(p, answer, size, PAGE_PEER_PATIENCE);

	return err ? server_error(err, "recv", what) : 0;
}

int page_send_finish(struct dump *d)
{
	const struct page_peer *p = &link_of(d)->peer;
	const struct page_request r = { .command = p->inherited ? PAGES_FORCE_CLOSE : PAGES_CLOSE };
	int32_t answer = 0;
	int err;

	fault_point("all pages are sent");
	err = send_request(p, &r, "the request to close");
	if (!err)
		err = receive_answer(p, &answer, sizeof(answer), "the answer to the request to close");
	fault_point("the page server has all pages");
	if (err || !answer)
		return err;
	return log_errno(-EREMOTEIO, "the page server could not write its images (%d): its log says why", answer);
}

/* ---- the sink ---- */

struct send_sink {
	struct page_sink sink; /* first */
	struct image_dir *dir;
	const struct page_peer *peer;
	char name[IMAGE_NAME_MAX]; /* of the pagemap that the server writes */
	uint64_t id;               /* of the protocol */
	struct page_turns turns;
	struct pages_sum sum;
};

static int send_sink_open(struct page_sink *s, const struct page_transfer *t)
{
	const struct send_sink *k = (struct send_sink *)s;
	const struct page_request r = { .command = PAGES_OPEN2, .id = k->id };
	uint8_t has_parent; /* which makes no difference: every page is sent */
	int err = send_request(k->peer, &r, k->name);

	return err ?: receive_answer(k->peer, &has_parent, sizeof(has_parent), k->name);
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
	size_t n;
};

static int add_part(void *arg, const struct page_run *run)
{
	struct outgoing *out = arg;
	struct page_request *r = &out->requests[out->n];
	size_t len = run->n * PAGE_SIZE;

	*r = (struct page_request) { .command = PAGES_ADD_F | PE_PRESENT << PAGES_FLAGS_SHIFT,
		                     .n = run->n,
		                     .at = run->at,
		                     .id = out->sink->id };
	out->list[2 * out->n] = (struct iovec) { r, sizeof(*r) };
	out->list[2 * out->n + 1] = (struct iovec) { (void *)out->bytes, len };
	out->bytes += len;
	out->n++;
	pages_sum_add(&out->sink->sum, run->at, run->n);
	return 0;
}

static int send_load(void *arg, const struct page_load *load)
{
	struct send_sink *k = arg;
	struct outgoing out = { .sink = k, .bytes = load->bytes };
	int err = page_batch_each_kept(load->batch, load->runs, add_part, &out);

	err = err ?: page_peer_send(k->peer, out.list, 2 * out.n);
	return err ? server_error(err, "sendmsg", k->name) : 0;
}

static int send_sink_write(struct page_sink *s, const struct page_load *load)
{
	struct send_sink *k = (struct send_sink *)s;

	return page_turns_write(&k->turns, load, send_load, k);
}

static int send_sink_finish(struct page_sink *s, const struct page_transfer *t)
{
	const struct send_sink *k = (struct send_sink *)s;

	return image_dir_note_sent(k->dir, k->name, k->sum.pages, pages_sum_crc(&k->sum));
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
		.dir = d->dir,
		.peer = &link_of(d)->peer,
		.id = id << 8 | (type == IMG_PAGEMAP ? PAGES_OF_TASK : PAGES_OF_OBJECT),
	};
	image_make_name(type, id, k->name);
	page_turns_begin(&k->turns);
	return &k->sink;
}
