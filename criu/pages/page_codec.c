/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The libraries are opened by dlopen(3): commands that have nothing to do with compressed pages start as fast as ever,
 * and criu runs without them.
 */
#include "pages/page_codec.h"

#include <dlfcn.h>
#include <lz4.h>
#include <pthread.h>
#include <stdlib.h>
#include <zstd.h>

#include "lib/log.h"
#include "pages/page_io.h"

struct codec_room {
	struct codec_room *next; /* of those that are free */
	void *context;           /* Zstandard's */
	const void *has;
	uint8_t bytes[BATCH_BYTES], pages[BATCH_BYTES];
};

struct page_codec {
	PagesCompression kind;
	int level;
	void *library;
	pthread_mutex_t lock;
	struct codec_room *free;
	/* LZ4 */
	typeof(LZ4_compress_default) *lz4_pack;
	typeof(LZ4_decompress_safe) *lz4_unpack;
	/* Zstandard */
	typeof(ZSTD_createCCtx) *pack_context;
	typeof(ZSTD_freeCCtx) *free_pack_context;
	typeof(ZSTD_compressCCtx) *zstd_pack;
	typeof(ZSTD_createDCtx) *unpack_context;
	typeof(ZSTD_freeDCtx) *free_unpack_context;
	typeof(ZSTD_decompressDCtx) *zstd_unpack;
	typeof(ZSTD_isError) *is_error;
};

static bool find_functions(struct page_codec *c)
{
	if (c->kind == PAGES_COMPRESSION__LZ4)
		return (c->lz4_pack = dlsym(c->library, "LZ4_compress_default")) &&
		       (c->lz4_unpack = dlsym(c->library, "LZ4_decompress_safe"));
	return (c->pack_context = dlsym(c->library, "ZSTD_createCCtx")) &&
	       (c->free_pack_context = dlsym(c->library, "ZSTD_freeCCtx")) &&
	       (c->zstd_pack = dlsym(c->library, "ZSTD_compressCCtx")) &&
	       (c->unpack_context = dlsym(c->library, "ZSTD_createDCtx")) &&
	       (c->free_unpack_context = dlsym(c->library, "ZSTD_freeDCtx")) &&
	       (c->zstd_unpack = dlsym(c->library, "ZSTD_decompressDCtx")) &&
	       (c->is_error = dlsym(c->library, "ZSTD_isError"));
}

int page_codec_open(PagesCompression kind, int level, struct page_codec **codecp)
{
	const char *name = kind == PAGES_COMPRESSION__LZ4 ? "liblz4.so.1" : "libzstd.so.1";
	struct page_codec *c = calloc(1, sizeof(*c));

	if (!c)
		return log_errno(-ENOMEM, "out of memory for %s", name);
	*c = (struct page_codec) { .kind = kind, .level = level };
	pthread_mutex_init(&c->lock, NULL);
	c->library = dlopen(name, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (c->library && find_functions(c)) {
		*codecp = c;
		return 0;
	}
	log_errno(0, "compressed pages need %s (package %s): dlopen: %s", name,
	          kind == PAGES_COMPRESSION__LZ4 ? "liblz4-1" : "libzstd1", dlerror());
	page_codec_close(c);
	return -ELIBACC;
}

static void free_context(const struct page_codec *c, void *context)
{
	if (context && c->level)
		c->free_pack_context(context);
	else if (context)
		c->free_unpack_context(context);
}

void page_codec_close(struct page_codec *c)
{
	if (!c)
		return;
	for (struct codec_room *room = c->free, *next; room; room = next) {
		next = room->next;
		free_context(c, room->context);
		free(room);
	}
	if (c->library)
		dlclose(c->library);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

PagesCompression page_codec_kind(const struct page_codec *c)
{
	return c->kind;
}

static struct codec_room *make_room(const struct page_codec *c)
{
	struct codec_room *room = malloc(sizeof(*room));
	bool zstd = c->kind == PAGES_COMPRESSION__ZSTD;

	if (room) {
		room->has = NULL;
		room->context = !zstd ? NULL : c->level ? (void *)c->pack_context() : (void *)c->unpack_context();
	}
	if (room && (room->context || !zstd))
		return room;
	free(room);
	log_errno(-ENOMEM, "out of memory for compressed pages");
	return NULL;
}

struct codec_room *page_codec_take(struct page_codec *c)
{
	struct codec_room *room;

	pthread_mutex_lock(&c->lock);
	room = c->free;
	if (room)
		c->free = room->next;
	pthread_mutex_unlock(&c->lock);
	return room ?: make_room(c);
}

void page_codec_give(struct page_codec *c, struct codec_room *room)
{
	pthread_mutex_lock(&c->lock);
	room->next = c->free;
	c->free = room;
	pthread_mutex_unlock(&c->lock);
}

uint8_t *page_codec_room_bytes(struct codec_room *room)
{
	return room->bytes;
}

uint8_t *page_codec_room_pages(struct codec_room *room)
{
	return room->pages;
}

const void **page_codec_room_has(struct codec_room *room)
{
	return &room->has;
}

size_t page_codec_pack(const struct page_codec *c, struct codec_room *room, const uint8_t *bytes, size_t len)
{
	size_t n;

	if (c->kind == PAGES_COMPRESSION__LZ4) {
		int packed = c->lz4_pack((const char *)bytes, (char *)room->bytes, (int)len, (int)len - 1);

		return packed > 0 ? (size_t)packed : 0;
	}
	n = c->zstd_pack(room->context, room->bytes, len - 1, bytes, len, c->level);
	return c->is_error(n) ? 0 : n;
}

bool page_codec_unpack(const struct page_codec *c, struct codec_room *room, const uint8_t *packed, size_t packed_len,
                       uint8_t *bytes, size_t len)
{
	size_t n;

	if (c->kind == PAGES_COMPRESSION__LZ4)
		return c->lz4_unpack((const char *)packed, (char *)bytes, (int)packed_len, (int)len) == (int)len;
	n = c->zstd_unpack(room->context, bytes, len, packed, packed_len);
	return !c->is_error(n) && n == len;
}
