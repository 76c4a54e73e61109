/* SPDX-License-Identifier: GPL-2.0-only */
/* One request is under way at a time. After an error the two ends may be out of step: nothing is asked again. */
#include "pages/page_ask.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/socket.h>

#include "arch/arch_vdso.h"
#include "format.h"
#include "image/image.h"
#include "lib/log.h"
#include "options/options.h"
#include "pages/pagemap.h"

/* ---- the connection ---- */

static bool prev_is_here(const struct image_dir *dir)
{
	return !faccessat(image_dir_fd(dir), IMAGE_PREV "/.", F_OK, 0);
}

static int look_into(struct image_dir *dir, const char *name, bool *later)
{
	struct arena *a = arena_new();
	struct pagemap *map;
	unsigned id;
	int end = 0, err = a ? 0 : -ENOMEM;

	if (!err && sscanf(name, "pagemap-%u.img%n", &id, &end) == 1 && end && !name[end]) {
		err = pagemap_read(dir, a, IMG_PAGEMAP, id, arch_task_size(false), &map);
		*later |= !err && (map->later || (map->in_prev && prev_is_here(dir)));
	}
	arena_free(a);
	return err;
}

/*
 * A checkpoint of dump --lazy-pages says which pages are not in it, and what was left of a chain is here; of any other
 * checkpoint all pages come from a page server.
 */
static int find_missing(struct image_dir *dir, bool *later)
{
	int fd = openat(image_dir_fd(dir), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	*later = false;
	if (!d)
		return log_errno(-errno, "opendir of the image directory");
	for (const struct dirent *e; !err && (e = readdir(d));)
		err = look_into(dir, e->d_name, later);
	closedir(d);
	return err;
}

int page_asker_open(const struct options *o, struct image_dir *dir, struct page_asker *a)
{
	bool later;
	int err = find_missing(dir, &later);

	*a = (struct page_asker) { .peer.fd = -1, .all = !later };
	if (!err)
		err = page_peer_connect(o, &a->peer);
	if (!err)
		page_peer_keep_alive(&a->peer);
	return err;
}

void page_asker_close(struct page_asker *a)
{
	page_peer_close(&a->peer);
}

void page_asker_give_up(struct page_asker *a, int err)
{
	a->err = a->err ?: err;
	shutdown(a->peer.fd, SHUT_RDWR); /* somebody else may have it open, too */
}

/* ---- requests ---- */

static int lost(struct page_asker *a, int err, const char *call, const char *what)
{
	if (err == -ENODATA || err == -EPIPE || err == -ECONNRESET)
		log_errno(0,
		          "who has the pages (dump --lazy-pages, page-server) has ended the connection (%s): its log "
		          "says why",
		          what);
	else
		log_errno(err, "who has the pages (dump --lazy-pages, page-server): %s of %s", call, what);
	page_asker_give_up(a, err);
	return err;
}

static int send_request(struct page_asker *a, const struct page_request *r, const char *what)
{
	struct iovec list = { (void *)r, sizeof(*r) };
	int err = page_peer_send(&a->peer, &list, 1);

	return err ? lost(a, err, "sendmsg", what) : 0;
}

/* The header that comes before pages: of those that were asked for, the first ones. */
static int check_answer(struct page_asker *a, const struct page_request *asked, const struct page_request *got)
{
	uint32_t command = got->command & ((1U << PAGES_FLAGS_SHIFT) - 1), flags = got->command >> PAGES_FLAGS_SHIFT;

	if (command == PAGES_ADD_F && flags & PE_PRESENT && got->at == asked->at && got->n && got->n <= asked->n)
		return 0;
	log_errno(-EBADMSG,
	          "asked for %" PRIu64 " pages of task %" PRIu64 " at %" PRIx64
	          ", the other end answers with command 0x%x, "
	          "%" PRIu64 " pages at %" PRIx64 "%s",
	          asked->n, asked->id, asked->at, got->command, got->n, got->at,
	          got->n ? "" : ": it has none of them (any more)");
	page_asker_give_up(a, -EBADMSG);
	return -EBADMSG;
}

static int ask_once(struct page_asker *a, struct page_request *q, uint8_t *buf)
{
	struct page_request answer;
	int err = send_request(a, q, "a request for pages");

	if (!err) {
		err = page_peer_receive(&a->peer, &answer, sizeof(answer), PAGE_PEER_PATIENCE);
		err = err ? lost(a, err, "recv", "the answer to a request for pages") : check_answer(a, q, &answer);
	}
	if (err)
		return err;
	err = page_peer_receive(&a->peer, buf, answer.n * PAGE_SIZE, 1);
	q->at += answer.n * PAGE_SIZE;
	q->n -= answer.n;
	return err ? lost(a, err, "recv", "pages") : 0;
}

int page_ask(struct page_asker *a, vpid_t vpid, raddr_t at, uint64_t n, uint8_t *buf)
{
	struct page_request q = { .command = PAGES_GET, .n = n, .at = at, .id = (uint64_t)vpid.v };
	int err = a->err;

	while (!err && q.n)
		err = ask_once(a, &q, buf + (q.at - at));
	a->n += err ? 0 : n;
	return err;
}

int page_asker_finish(struct page_asker *a)
{
	const struct page_request q = { .command = a->peer.inherited ? PAGES_FORCE_CLOSE : PAGES_CLOSE };
	int32_t answer = 0;
	int err = a->err ?: send_request(a, &q, "the request to close");

	if (!err) {
		err = page_peer_receive(&a->peer, &answer, sizeof(answer), PAGE_PEER_PATIENCE);
		err = err ? lost(a, err, "recv", "the answer to the request to close") : 0;
	}
	if (err)
		return log_errno(err, "the tasks have all their memory, but who had it does not say that it has ended "
		                      "them there: look whether they run on at the other host");
	return answer
	           ? log_errno(-EREMOTEIO,
	                       "the tasks have all their memory, but could not be ended where they were dumped (%d): "
	                       "look whether they run on there",
	                       answer)
	           : 0;
}
