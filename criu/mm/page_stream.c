/* SPDX-License-Identifier: GPL-2.0-only */
#include "arch_page.h"
#include "lib/log.h"
#include "mm/page_io.h"

/* Room for one more element at n: the array, moved perhaps, or NULL (the old one stays). */
static void *grow(void *array, size_t n, size_t *max, size_t size)
{
	size_t wanted = *max ? 2 * *max : 16;
	void *bigger;

	if (n < *max)
		return array;
	bigger = reallocarray(array, wanted, size);
	if (bigger)
		*max = wanted;
	return bigger;
}

static struct chunk *open_chunk(struct page_stream *s)
{
	struct chunk *last = s->n_chunks ? &s->chunks[s->n_chunks - 1] : NULL;
	struct chunk *chunks;

	if (last && last->n_pages < CHUNK_PAGES)
		return last;
	chunks = grow(s->chunks, s->n_chunks, &s->max_chunks, sizeof(*chunks));
	if (!chunks)
		return NULL;
	s->chunks = chunks;
	chunks[s->n_chunks] = (struct chunk) { .first = s->n_pieces };
	return &chunks[s->n_chunks++];
}

/* Adds n pages, which have room in the chunk, to it. */
static int add_piece(struct page_stream *s, struct chunk *c, uint64_t start, uint32_t n, uint32_t flags)
{
	struct piece *last = c->n_pieces ? &s->pieces[s->n_pieces - 1] : NULL, *pieces;

	c->n_pages += n;
	s->n_pages += n;
	s->force |= flags & PIECE_FORCE;
	if (last && last->flags == flags && last->start + last->n * PAGE_SIZE == start) {
		last->n += n;
		return 0;
	}
	pieces = grow(s->pieces, s->n_pieces, &s->max_pieces, sizeof(*pieces));
	if (!pieces)
		return -ENOMEM;
	s->pieces = pieces;
	pieces[s->n_pieces++] = (struct piece) { start, n, flags };
	c->n_pieces++;
	return 0;
}

int stream_add(struct page_stream *s, uint64_t start, uint64_t n_pages, uint32_t flags)
{
	while (n_pages) {
		struct chunk *c = open_chunk(s);
		uint32_t n = c ? (uint32_t)MIN(n_pages, CHUNK_PAGES - c->n_pages) : 0;

		if (!c || add_piece(s, c, start, n, flags))
			return log_errno(-ENOMEM, "%s: the list of its pages", task_name(s->task));
		start += n * PAGE_SIZE;
		n_pages -= n;
	}
	return 0;
}

void stream_free(struct page_stream *s)
{
	free(s->pieces);
	free(s->chunks);
	cleanup_close(&s->source);
	cleanup_close(&s->file);
	cleanup_close(&s->mem);
	s->pieces = NULL;
	s->chunks = NULL;
	s->source = s->file = s->mem = -1;
}
