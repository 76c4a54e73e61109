/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The connection is made before the tree is stopped: a server that is not there costs the tree nothing. The memory of
 * one task or object is sent at a time, since the protocol knows one.
 */
#include "pages/page_link.h"

#include "image/image_messages.h"
#include "lib/arena_hash.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "pages/page_peer.h"
#include "pages/pagemap.h"
#include "pages/pages_before.h"
#include "tree/run_mark.h"
#include "tree/subsys.h"

#define ASKED_AT_ONCE 64U /* questions on their way: neither end is held up by the other */

/* The state of the row, in a dump with --page-server. */
struct page_link {
	struct page_peer peer;
	bool open;
	bool has_prev;      /* the server's directory is on top of what was sent of the dump before */
	struct image *sent; /* sent.img, from the first task on */
};

extern const struct subsys page_link_subsys;

static struct page_link *link_of(struct dump *d)
{
	return dump_state(d, &page_link_subsys);
}

/* ---- requests ---- */

static int server_error(int err, const char *call, const char *what)
{
	if (err == -ENODATA || err == -EPIPE || err == -ECONNRESET) {
		log_errno(0, "the page server has ended the connection (%s of %s): its log says why", call, what);
		return -EPIPE;
	}
	return log_errno(err, "page server: %s of %s", call, what);
}

int page_link_send(struct dump *d, struct iovec *list, size_t n, const char *what)
{
	int err = page_peer_send(&link_of(d)->peer, list, n);

	return err ? server_error(err, "sendmsg", what) : 0;
}

static int send_request(struct dump *d, const struct page_request *r, const char *what)
{
	return page_link_send(d, &(struct iovec) { (void *)r, sizeof(*r) }, 1, what);
}

static int receive_answer(struct dump *d, void *answer, size_t size, const char *what)
{
	int err = page_peer_receive(&link_of(d)->peer, answer, size, PAGE_PEER_PATIENCE);

	return err ? server_error(err, "recv", what) : 0;
}

int page_link_begin_images(struct dump *d, uint64_t id, bool *has_parent, const char *what)
{
	const struct page_request r = { .command = PAGES_OPEN2, .id = id };
	uint8_t answer = 0;
	int err = send_request(d, &r, what) ?: receive_answer(d, &answer, sizeof(answer), what);

	*has_parent = answer;
	return err;
}

/* At most ASKED_AT_ONCE. */
static int ask_some(struct dump *d, const uint64_t *ids, size_t n, bool *has)
{
	const char *what = "whether the server has a checkpoint before this one";
	int32_t answer = 0;
	int err = 0;

	for (size_t i = 0; !err && i < n; i++)
		err = send_request(d, &(struct page_request) { .command = PAGES_PARENT, .id = ids[i] }, what);
	for (size_t i = 0; !err && i < n; i++) {
		err = receive_answer(d, &answer, sizeof(answer), what);
		has[i] = answer > 0;
	}
	return err;
}

/* ---- the dump before ---- */

static int ask_for_prev(struct dump *d, struct page_link *l)
{
	uint64_t mark = run_mark(d->inventory->prev_run_id), id = PAGES_ID(mark, PAGES_OF_OBJECT);
	int err;

	if (!d->opts->prev_images_dir)
		return 0;
	err = mark ? ask_some(d, &id, 1, &l->has_prev) : 0;
	if (!err && !l->has_prev)
		log_warn("memory is sent in full: the page server's directory is not on top of what it has received of "
		         "the dump in %s (criu page-server --prev-images-dir)",
		         d->opts->prev_images_dir);
	return err;
}

bool pages_before_are_there(struct dump *d)
{
	return !d->opts->page_server || link_of(d)->has_prev;
}

int pages_before_ask(struct dump *d, const struct task *const *tasks, size_t n, bool *has)
{
	int err = 0;

	for (size_t at = 0, some; !err && at < n; at += some) {
		uint64_t ids[ASKED_AT_ONCE];

		some = MIN(n - at, ASKED_AT_ONCE);
		for (size_t i = 0; i < some; i++)
			ids[i] = PAGES_ID((uint64_t)tasks[at + i]->vpid.v, PAGES_OF_TASK);
		err = ask_some(d, ids, some, has + at);
	}
	return err;
}

/* ---- for the dump after this one ---- */

/* What has been sent of this dump says its mark to the next one, and to a restore. */
static int send_mark(struct dump *d)
{
	struct page_request prev = { .command = PAGES_ADD_F | PE_LAZY << PAGES_FLAGS_SHIFT, .n = 1 };
	uint64_t mark = run_mark(d->run_id), before = run_mark(d->inventory->prev_run_id);
	struct pages_sum sum = { 0 };
	char name[IMAGE_NAME_MAX];
	bool has_parent;
	int err;

	image_make_name(IMG_SHMEM_PAGEMAP, mark, name);
	prev.id = PAGES_ID(mark, PAGES_OF_OBJECT);
	prev.at = run_mark_address(before);
	err = page_link_begin_images(d, prev.id, &has_parent, name);
	if (!err && before) {
		pages_sum_add(&sum, prev.at, prev.n);
		err = send_request(d, &prev, name);
	}
	return err ?: image_dir_note_sent(d->dir, name, sum.pages, pages_sum_crc(&sum));
}

struct sent_runs {
	SentEntry *e;
	struct image *img;
};

#define SENT_AT_ONCE 65536U

static int write_sent(struct sent_runs *s)
{
	int err = s->e->n_first ? image_write(s->img, s->e) : 0;

	s->e->n_first = s->e->n_nr_pages = 0;
	return err;
}

static int add_sent(void *arg, const struct page_run *run)
{
	struct sent_runs *s = arg;
	SentEntry *e = s->e;
	size_t last = e->n_first;

	if (last && e->first[last - 1] + e->nr_pages[last - 1] == run->at / PAGE_SIZE) {
		e->nr_pages[last - 1] += run->n;
		return 0;
	}
	e->first[last] = run->at / PAGE_SIZE;
	e->nr_pages[last] = run->n;
	e->n_first = e->n_nr_pages = last + 1;
	return e->n_first == SENT_AT_ONCE ? write_sent(s) : 0;
}

int page_link_note_task(struct dump *d, uint64_t pid, const struct page_transfer *t)
{
	struct page_link *l = link_of(d);
	_cleanup_free_ uint64_t *room = NULL;
	SentEntry e = SENT_ENTRY__INIT;
	struct sent_runs s = { .e = &e };
	int err;

	if (!d->opts->track_mem || dump_kills_tree(d))
		return 0;
	err = l->sent ? 0 : image_create(d->dir, IMG_SENT, 0, &l->sent);
	if (err)
		return err;
	room = calloc(2 * SENT_AT_ONCE, sizeof(*room));
	if (!room)
		return log_errno(-ENOMEM, "out of memory for sent.img");
	e.pid = (uint32_t)pid;
	e.first = room;
	e.nr_pages = room + SENT_AT_ONCE;
	s.img = l->sent;
	return page_transfer_each_listed(t, add_sent, &s) ?: write_sent(&s);
}

/* ---- the row ---- */

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
	return err ?: ask_for_prev(d, l);
}

static void link_end(struct dump *d)
{
	struct page_link *l = link_of(d);

	if (l->open)
		page_peer_close(&l->peer);
	l->open = false;
	image_close(move_ptr(l->sent)); /* of a dump that has failed */
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

int page_link_finish(struct dump *d)
{
	struct page_link *l = link_of(d);
	const struct page_request r = { .command = l->peer.inherited ? PAGES_FORCE_CLOSE : PAGES_CLOSE };
	bool chain = d->opts->prev_images_dir || d->opts->track_mem;
	int32_t answer = 0;
	int err = image_close(move_ptr(l->sent)) ?: chain ? send_mark(d) : 0;

	fault_point("all pages are sent");
	err = err ?: send_request(d, &r, "the request to close");
	err = err ?: receive_answer(d, &answer, sizeof(answer), "the answer to the request to close");
	fault_point("the page server has all pages");
	if (err || !answer)
		return err;
	return log_errno(-EREMOTEIO, "the page server could not write its images (%d): its log says why", answer);
}
