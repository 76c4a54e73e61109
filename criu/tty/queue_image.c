/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>

#include "core/log.h"
#include "tty/queue_image.h"

static void add(struct tty_queue *q, uint8_t byte, enum place_mark mark)
{
	q->slave[q->n_slave] = byte;
	q->mark[q->n_slave++] = mark;
}

/* Whether offsets are ascending (strictly, where a place can have one mark only) and inside. */
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

	if (e->n_eof > QUEUE_MAX || len > QUEUE_MAX - e->n_eof || !are_offsets(e->eof, e->n_eof, len, false) ||
	    !are_offsets(e->eol, e->n_eol, len, true) || !are_offsets(e->literal, e->n_literal, len, true))
		return log_errno(-EINVAL, "tty-data.img: terminal %u: no queue of a terminal is like this", e->tty_id);
	for (size_t i = 0; i <= len; i++) {
		while (next_is(e->eof, e->n_eof, &eof, i))
			add(q, 0, PLACE_EOF);
		if (i == len)
			break;
		if (next_is(e->eol, e->n_eol, &eol, i))
			add(q, e->data.data[i], PLACE_EOL);
		else if (next_is(e->literal, e->n_literal, &literal, i))
			add(q, e->data.data[i], PLACE_LITERAL);
		else
			add(q, e->data.data[i], PLACE_BYTE);
	}
	return 0;
}

int queue_from_data(const TtyDataEntry *master, const TtyDataEntry *slave, struct tty_queue *q)
{
	q->n_master = q->n_slave = 0;
	if (master && master->data.len > QUEUE_MAX)
		return log_errno(-EINVAL, "tty-data.img: terminal %u: %zu bytes are more than a terminal holds",
		                 master->tty_id, master->data.len);
	if (master) {
		q->n_master = (uint32_t)master->data.len;
		memcpy(q->master, master->data.data, master->data.len);
	}
	return slave ? fill_slave(slave, q) : 0;
}

TtyDataEntry *queue_to_data(struct arena *a, uint32_t id, const uint8_t *bytes, const uint8_t *marks, size_t n)
{
	TtyDataEntry *e = arena_msg(a, TtyDataEntry, tty_data_entry);

	e->tty_id = id;
	e->data.data = arena_alloc(a, n);
	for (size_t i = 0; i < n; i++) {
		uint32_t at = (uint32_t)e->data.len;

		if (marks && marks[i] == PLACE_EOF)
			arena_push(a, &e->eof, &e->n_eof, at);
		if (marks && marks[i] == PLACE_EOL)
			arena_push(a, &e->eol, &e->n_eol, at);
		if (marks && marks[i] == PLACE_LITERAL)
			arena_push(a, &e->literal, &e->n_literal, at);
		if (!marks || marks[i] != PLACE_EOF)
			e->data.data[e->data.len++] = bytes[i];
	}
	return e;
}
