/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of pages/: LZ4 and Zstandard, by the libraries of their makers, which are loaded where they are needed. */
#ifndef CRIU_PAGES_PAGE_CODEC_H
#define CRIU_PAGES_PAGE_CODEC_H

#include "common.h"
#include "pagemap.pb-c.h"

/* A library, and what its users need at once: several threads may pack and unpack. */
struct page_codec;

/*
 * Loads the library. level: of Zstandard, at a dump. -ELIBACC where it cannot be loaded; 0 or a negative errno
 * (logged). Once loaded it stays: later calls look at no file.
 */
int page_codec_open(PagesCompression kind, int level, struct page_codec **codecp);
void page_codec_close(struct page_codec *c); /* NULL is fine */

PagesCompression page_codec_kind(const struct page_codec *c);

/* Room for one thread: the library's own, and BATCH_BYTES. NULL without memory (logged). To be given back. */
struct codec_room *page_codec_take(struct page_codec *c);
void page_codec_give(struct page_codec *c, struct codec_room *room);
uint8_t *page_codec_room_bytes(struct codec_room *room);

/* Another BATCH_BYTES in it, for pages that have been unpacked, and what the user says of them: NULL at first. */
uint8_t *page_codec_room_pages(struct codec_room *room);
const void **page_codec_room_has(struct codec_room *room);

/* Packs into the room's bytes. Returns the packed size; 0: it would not be smaller. */
size_t page_codec_pack(const struct page_codec *c, struct codec_room *room, const uint8_t *bytes, size_t len);

/* Unpacks exactly len bytes. False: damaged. */
bool page_codec_unpack(const struct page_codec *c, struct codec_room *room, const uint8_t *packed, size_t packed_len,
                       uint8_t *bytes, size_t len);

#endif
