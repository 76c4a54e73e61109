/* SPDX-License-Identifier: GPL-2.0-only */
#include "lazy/lazy_space.h"

#include <inttypes.h>
#include <sys/ioctl.h>

#include "arch/arch_vdso.h"
#include "lib/log.h"
#include "uapi/userfaultfd_more.h"

#define AROUND   (UINT64_C(64) << 10) /* what comes with a page that is waited for */
#define LOW_WAKE (UINT64_C(64) << 10)

static uint64_t bytes_of(const struct page_run *run)
{
	return run->n * PAGE_SIZE;
}

/* How far a request came, and why not farther. */
struct progress {
	uint64_t done, step;
};

/*
 * After one request of at most p->step bytes that did `did`. A page that is there was filled before. Where the range
 * is not one registered mapping, what is registered of it is found by halves: the rest is not ours to fill.
 */
static int go_on(struct progress *p, int64_t did, int err)
{
	if (did > 0) {
		p->done += (uint64_t)did;
		p->step *= 2;
		return 0;
	}
	if (err == -EEXIST || (err == -ENOENT && p->step == PAGE_SIZE))
		p->done += PAGE_SIZE;
	else if (err == -ENOENT)
		p->step = round_up(p->step / 2, PAGE_SIZE);
	else
		return err;
	return 0;
}

static int copy_once(const struct lazy_space *s, uint64_t at, uint64_t len, const uint8_t *from, int64_t *did)
{
	struct uffdio_copy copy = { .dst = at, .src = (uintptr_t)from, .len = len };
	int err = ioctl(s->fd, UFFDIO_COPY, &copy) ? -errno : 0;

	*did = copy.copy;
	return err;
}

static int poison_once(const struct lazy_space *s, uint64_t at, uint64_t len, const uint8_t *from, int64_t *did)
{
	struct uffdio_poison poison = { .range = { at, len } };
	int err = ioctl(s->fd, UFFDIO_POISON, &poison) ? -errno : 0;

	*did = poison.updated;
	return err;
}

typedef int (*request_fn)(const struct lazy_space *s, uint64_t at, uint64_t len, const uint8_t *from, int64_t *did);

/* What has been done is no piece any more, whatever came of the rest. */
static int do_all(struct lazy_space *s, const struct page_run *part, request_fn request, const uint8_t *buf)
{
	struct progress p = { .step = bytes_of(part) };
	int err = 0, cut;

	while (!err && p.done < bytes_of(part)) {
		int64_t did = 0;

		p.step = MIN(p.step, bytes_of(part) - p.done);
		err = request(s, part->at + p.done, p.step, buf + p.done, &did);
		err = go_on(&p, did, err);
	}
	cut = p.done ? lazy_pieces_cut(&s->pieces, part->at, part->at + p.done) : 0;
	return err ?: cut;
}

/* A program that touches such a page gets a SIGBUS, and reads nothing that is wrong. */
static int give_up(struct lazy_space *s, const struct page_run *part, const uint8_t *buf)
{
	int err = do_all(s, part, poison_once, buf);

	if (err == -EAGAIN || err == -ESRCH)
		return err;
	if (err) {
		log_errno(err,
		          "pid %d: its memory at %" PRIx64 " cannot be read from the checkpoint, and this kernel "
		          "cannot mark that (UFFDIO_POISON): what touches missing memory waits; end the process",
		          s->vpid.v, part->at);
		s->lost = true;
	} else if (!s->told_poisoned) {
		log_errno(0,
		          "pid %d: %" PRIu64 " pages of its memory at %" PRIx64 ", and others perhaps, cannot be read "
		          "from the checkpoint: what touches them gets a SIGBUS",
		          s->vpid.v, part->n, part->at);
		s->told_poisoned = true;
	}
	return -EIO;
}

static int fill(struct lazy_space *s, const struct page_run *part, uint8_t *buf)
{
	int err = pages_reader_read(s->reader, part, buf);

	if (err)
		return give_up(s, part, buf);
	err = do_all(s, part, copy_once, buf);
	if (err != -ENOMEM)
		return err;
	if (!s->told)
		log_warn("pid %d: no memory for its pages: they come when there is some (memory cgroup?)", s->vpid.v);
	s->told = true;
	return -EAGAIN;
}

static int put_zeros(const struct lazy_space *s, raddr_t at)
{
	struct uffdio_zeropage zero = { .range = { at, PAGE_SIZE } };

	return ioctl(s->fd, UFFDIO_ZEROPAGE, &zero) && errno != EEXIST && errno != ENOENT ? -errno : 0;
}

static void wake(const struct lazy_space *s, raddr_t at)
{
	struct uffdio_range range = { at, PAGE_SIZE };

	ioctl(s->fd, UFFDIO_WAKE, &range);
}

int lazy_space_fault(struct lazy_space *s, raddr_t at, uint8_t *buf)
{
	raddr_t page = round_down(at, PAGE_SIZE), block = round_down(at, AROUND);
	const struct page_run *piece = lazy_pieces_find(&s->pieces, page);
	int err;

	if (piece) {
		struct page_run part = page_run_part(piece, MAX(piece->at, block),
		                                     MIN(page_run_end(piece), block + MAX(AROUND, PAGE_SIZE)));

		err = fill(s, &part, buf);
	} else {
		err = put_zeros(s, page);
	}
	if (!err || (err == -EIO && !s->lost))
		wake(s, page);
	return err;
}

int lazy_space_fill_some(struct lazy_space *s, uint8_t *buf)
{
	const struct page_run *first = &s->pieces.v[0];
	struct page_run part = page_run_part(first, first->at, MIN(page_run_end(first), first->at + LAZY_CHUNK));

	return fill(s, &part, buf);
}

/* A request that cannot do anything, since nothing can be read from there. */
int lazy_space_probe(const struct lazy_space *s, const uint8_t *buf)
{
	int64_t did;
	int err = copy_once(s, LOW_WAKE, PAGE_SIZE, buf + LAZY_CHUNK, &did);

	return err == -ESRCH ? err : 0;
}

void lazy_space_wake_all(const struct lazy_space *s)
{
	for (int compat = 0; compat <= 1; compat++) {
		struct uffdio_range range = { LOW_WAKE, arch_task_size(compat) - LOW_WAKE };

		if (!ioctl(s->fd, UFFDIO_WAKE, &range))
			return;
	}
}

int lazy_space_wait(struct lazy_space *s, raddr_t at)
{
	size_t room = s->room_waiting ? 2 * s->room_waiting : 16;
	raddr_t *more;

	if (s->n_waiting == s->room_waiting) {
		more = realloc(s->waiting, room * sizeof(*more));
		if (!more)
			return -ENOMEM;
		s->waiting = more;
		s->room_waiting = room;
	}
	s->waiting[s->n_waiting++] = at;
	return 0;
}

void lazy_space_free(struct lazy_space *s)
{
	lazy_pieces_free(&s->pieces);
	free(s->waiting);
	close(s->fd);
	free(s);
}
