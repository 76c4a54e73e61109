/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Inside of mm/: how pages get from a task, or from a shared object, into a pages file. A stream is one pages file and
 * its pagemap; its pieces are found first (pages_scan.c, shmem_dump.c), then read and written in chunks by several
 * threads (page_copy.c), and what was kept of them is told in its pagemap image.
 */
#ifndef CRIU_MM_PAGE_IO_H
#define CRIU_MM_PAGE_IO_H

#include "tree/dump.h"
#include "mm/vma.h"

enum piece_flags {
	PIECE_DROP_ZERO = 1 << 0, /* anonymous: pages of zeros need not be stored */
	PIECE_FORCE = 1 << 1,     /* without PROT_READ: by /proc/PID/mem */
	PIECE_THP = 1 << 2,
	PIECE_COW = 1 << 3,
};

#define CHUNK_PAGES 256U /* 1 MiB: what stays in the processor's cache from reading to writing */

/* A run of pages of one chunk, with one set of flags. */
struct piece {
	uint64_t start; /* address, or offset in the object */
	uint32_t n;     /* pages */
	uint32_t flags;
};

/* What one thread reads and writes at once: pieces in the order of their addresses, with gaps between them. */
struct chunk {
	size_t first, n_pieces; /* of stream->pieces */
	uint32_t n_pages;
	uint32_t n_kept;
	uint64_t kept[CHUNK_PAGES / 64]; /* a bit for each page: it is in the file */
};

struct page_stream {
	const struct task *task; /* whose memory it is; of a shared object: who maps it */
	int source;              /* -1: the task's memory; else our descriptor of the object */
	enum image_type image;   /* of the pagemap, and the number in its name */
	uint64_t image_id;
	uint32_t pages_id;
	struct piece *pieces; /* from malloc, as chunks; see stream_free() */
	size_t n_pieces, max_pieces;
	struct chunk *chunks;
	size_t n_chunks, max_chunks;
	uint64_t n_pages; /* of all pieces */
	uint64_t scanned; /* pages that were looked at */
	bool knows_cow;   /* frames were compared with the parent's */
	bool refused;     /* something that cannot be dumped was found, and named */
	bool force;       /* some piece has PIECE_FORCE */

	/* While pages are copied (page_copy.c). */
	int file, mem;      /* the pages file; /proc/PID/mem, or -1 */
	uint64_t size;      /* bytes of the file that chunks have got */
	uint64_t allocated; /* bytes of the file that were asked for ahead */
	size_t n_assigned;  /* chunks, in order, that have got their place */
};

/* Adds a run of pages behind those that are there; it is split where chunks end. 0 or -ENOMEM (logged). */
int stream_add(struct page_stream *s, uint64_t start, uint64_t n_pages, uint32_t flags);

/* Gives back what a stream holds, its descriptors too. */
void stream_free(struct page_stream *s);

/* Finds the pages of a task that have to be stored. 0, or a negative errno (logged). Refusals are in s->refused. */
int pages_scan(struct dump *d, struct task *t, struct page_stream *s);

/* Finds the data of a shared object. s->source is opened by it. 0 or a negative errno (logged). */
int shmem_scan(const struct shmem_object *o, struct page_stream *s);

/*
 * Reads the pieces of all streams and writes them into their pages files, which are open; fills in what chunks kept and
 * s->size. Logs its errors.
 */
int pages_copy(struct page_stream *streams, size_t n);

#endif
