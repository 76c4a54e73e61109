/* SPDX-License-Identifier: GPL-2.0-only */
/* Queues of pseudo terminals in tty-data.img. */
#include <string.h>

#include "lib/log.h"
#include "tty/tty_queue.h"

static void fill_place(struct tty_queue *q, uint8_t byte, enum place_mark mark)
{
	q->slave[q->n_slave] = byte;
	q->mark[q->n_slave++] = mark;
}

/* Whether offsets are ascending (strictly, where a place can have one mark only) and not above max. */
static bool are_offsets(const uint32_t *v, size_t n, size_t max, bool strict)
{
	for (size_t i = 0; i < n; i++)
		if (v[i] > max || (i && v[i] < v[i - 1] + strict))
			return false;
	return true;
}

static bool next_is(const uint32_t *v, size_t n, size_t *next, size_t at)
{
	return *next < n && v[*next] == at && ++*next;
}

static int fill_slave(const TtyDataEntry *e, struct tty_queue *q)
{
	size_t eof = 0, eol = 0, literal = 0, len = e->data.len;

	if (e->n_eof > TTY_QUEUE_MAX || len > TTY_QUEUE_MAX - e->n_eof || !are_offsets(e->eof, e->n_eof, len, false) ||
	    !are_offsets(e->eol, e->n_eol, len, true) || !are_offsets(e->literal, e->n_literal, len, true))
		return log_errno(-EINVAL, "tty-data.img: terminal %u: its queue is invalid", e->tty_id);
	for (size_t i = 0; i <= len; i++) {
		while (next_is(e->eof, e->n_eof, &eof, i))
			fill_place(q, 0, PLACE_EOF);
		if (i == (e->has_behind ? MIN(e->behind, len) : len))
			q->n_done = q->n_slave;
		if (i == len)
			break;
		if (next_is(e->eol, e->n_eol, &eol, i))
			fill_place(q, e->data.data[i], PLACE_EOL);
		else if (next_is(e->literal, e->n_literal, &literal, i))
			fill_place(q, e->data.data[i], PLACE_LITERAL);
		else
			fill_place(q, e->data.data[i], PLACE_BYTE);
	}
	return 0;
}

int tty_queue_from_data(const TtyDataEntry *master, const TtyDataEntry *slave, struct tty_queue *q)
{
	q->n_master = q->n_slave = q->n_done = 0;
	if (master && master->data.len > TTY_QUEUE_MAX)
		return log_errno(-EINVAL, "tty-data.img: terminal %u: %zu bytes are more than a terminal holds",
		                 master->tty_id, master->data.len);
	if (master) {
		q->n_master = (uint32_t)master->data.len;
		memcpy(q->master, master->data.data, master->data.len);
	}
	return slave ? fill_slave(slave, q) : 0;
}

static void add_place(struct arena *a, TtyDataEntry *e, enum place_mark mark, uint8_t byte)
{
	uint32_t at = (uint32_t)e->data.len;

	if (mark == PLACE_EOF)
		arena_push(a, &e->eof, &e->n_eof, at);
	else
		e->data.data[e->data.len++] = byte;
	if (mark == PLACE_EOL)
		arena_push(a, &e->eol, &e->n_eol, at);
	if (mark == PLACE_LITERAL)
		arena_push(a, &e->literal, &e->n_literal, at);
}

TtyDataEntry *tty_queue_to_data(struct arena *a, uint32_t id, const struct tty_queue *q, bool master)
{
	TtyDataEntry *e = arena_msg(a, TtyDataEntry, tty_data_entry);

	e->tty_id = id;
	if (master) {
		e->data.len = q->n_master;
		e->data.data = arena_memdup(a, q->master, q->n_master);
		return e;
	}
	e->data.data = arena_alloc(a, q->n_slave);
	for (size_t i = 0; i < q->n_slave; i++) {
		if (i == q->n_done) {
			e->has_behind = true;
			e->behind = (uint32_t)e->data.len;
		}
		add_place(a, e, i < q->n_done ? q->mark[i] : PLACE_BYTE, q->slave[i]);
	}
	return e;
}
