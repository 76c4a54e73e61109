/* SPDX-License-Identifier: GPL-2.0-only */
#include "lazy/lazy_pieces.h"

#include <stdlib.h>
#include <string.h>

static int make_room(struct lazy_pieces *p, size_t more)
{
	size_t room = MAX(p->n + more, p->room * 2);
	struct page_run *v;

	if (p->n + more <= p->room)
		return 0;
	v = realloc(p->v, room * sizeof(*v));
	if (!v)
		return -ENOMEM;
	p->v = v;
	p->room = room;
	return 0;
}

int lazy_pieces_set(struct lazy_pieces *p, const struct page_run *runs, size_t n)
{
	struct lazy_pieces fresh = { 0 };
	int err = make_room(&fresh, n);

	if (err)
		return err;
	if (n)
		memcpy(fresh.v, runs, n * sizeof(*runs));
	fresh.n = n;
	lazy_pieces_free(p);
	*p = fresh;
	return 0;
}

void lazy_pieces_free(struct lazy_pieces *p)
{
	free(p->v);
	*p = (struct lazy_pieces) { 0 };
}

/* The first piece that ends behind an address: its index, or p->n. */
static size_t first_behind(const struct lazy_pieces *p, raddr_t at)
{
	size_t low = 0, high = p->n;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (page_run_end(&p->v[mid]) > at)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

const struct page_run *lazy_pieces_find(const struct lazy_pieces *p, raddr_t at)
{
	size_t i = first_behind(p, at);

	return i < p->n && p->v[i].at <= at ? &p->v[i] : NULL;
}

static void put(struct lazy_pieces *p, size_t at, size_t old, const struct page_run *with, size_t n)
{
	memmove(p->v + at + n, p->v + at + old, (p->n - at - old) * sizeof(*p->v));
	if (n)
		memcpy(p->v + at, with, n * sizeof(*with));
	p->n = p->n - old + n;
}

int lazy_pieces_cut(struct lazy_pieces *p, raddr_t from, raddr_t to)
{
	size_t first = first_behind(p, from), last = first, n = 0;
	struct page_run rest[2];

	if (make_room(p, 1))
		return -ENOMEM;
	while (last < p->n && p->v[last].at < to)
		last++;
	if (last == first)
		return 0;
	if (p->v[first].at < from)
		rest[n++] = page_run_part(&p->v[first], p->v[first].at, from);
	if (page_run_end(&p->v[last - 1]) > to)
		rest[n++] = page_run_part(&p->v[last - 1], to, page_run_end(&p->v[last - 1]));
	put(p, first, last - first, rest, n);
	return 0;
}

/* Those pieces, or parts of pieces, that lie between two addresses. */
static int copy_between(const struct lazy_pieces *p, raddr_t from, raddr_t to, struct lazy_pieces *copy)
{
	for (size_t i = first_behind(p, from); i < p->n && p->v[i].at < to; i++) {
		const struct page_run *run = &p->v[i];

		if (make_room(copy, 1))
			return -ENOMEM;
		copy->v[copy->n++] = page_run_part(run, MAX(run->at, from), MIN(page_run_end(run), to));
	}
	return 0;
}

/* Where there is a piece that one stays. Room is there. */
static void add_where_none(struct lazy_pieces *p, const struct page_run *run)
{
	raddr_t at = run->at, end = page_run_end(run);

	while (at < end) {
		size_t i = first_behind(p, at);
		raddr_t next = i < p->n ? MIN(MAX(p->v[i].at, at), end) : end;

		if (next > at) {
			struct page_run part = page_run_part(run, at, next);

			put(p, i++, 0, &part, 1);
		}
		at = i < p->n && next < end ? page_run_end(&p->v[i]) : end;
	}
}

/*
 * The kernel tells of what was unmapped in the new place by an event of its own, before. Up to Linux 6.15 the length is
 * too large where memory shrank on its way: what lies behind it must not be lost.
 */
int lazy_pieces_move(struct lazy_pieces *p, raddr_t from, raddr_t to, uint64_t len)
{
	struct lazy_pieces moved = { 0 };
	int err = copy_between(p, from, from + len, &moved);

	err = err ?: make_room(p, p->n + 2 * moved.n + 2);
	err = err ?: lazy_pieces_cut(p, from, from + len);
	for (size_t i = 0; !err && i < moved.n; i++) {
		moved.v[i].at += to - from;
		add_where_none(p, &moved.v[i]);
	}
	lazy_pieces_free(&moved);
	return err;
}
