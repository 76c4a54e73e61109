/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fuzzing what a compressed pages file can say: sizes of regions in the head of a pagemap, and the bytes of a region.
 * Input: the method, the number of regions, 8 bytes for each, a number of pages, and packed bytes.
 */
#include <string.h>

#include "pages/page_codec.h"
#include "pages/page_io.h"
#include "pages/page_regions.h"

#define MOST 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Each page has a region, which lies in the file where it says. */
static void look_up(const struct page_regions *r)
{
	for (size_t i = 0; i < r->n; i++) {
		const struct page_region *region = &r->v[i];

		if (page_regions_find(r, region->stored) != region ||
		    page_regions_find(r, region[1].stored - PAGE_SIZE) != region || region[1].at <= region->at ||
		    region[1].at - region->at > region[1].stored - region->stored)
			abort();
	}
}

static void unpack(PagesCompression kind, size_t pages, const uint8_t *packed, size_t len)
{
	struct page_codec *codec;
	struct codec_room *room;
	uint8_t *exact = malloc(len + !len), *bytes = malloc(pages * PAGE_SIZE); /* no byte beside them is touched */

	if (!exact || !bytes || page_codec_open(kind, 0, &codec))
		abort();
	memcpy(exact, packed, len);
	room = page_codec_take(codec);
	if (room) {
		page_codec_unpack(codec, room, exact, len, bytes, pages * PAGE_SIZE);
		page_codec_give(codec, room);
	}
	page_codec_close(codec);
	free(exact);
	free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	PagemapHead head = PAGEMAP_HEAD__INIT;
	uint32_t pages[MOST], bytes[MOST];
	struct page_regions *r;
	struct arena *a;
	size_t n;

	if (size < 3 || size < 3 + 8 * (n = data[1] % MOST))
		return 0;
	head.has_compression = data[0] & 1;
	head.compression = data[0] & 2 ? PAGES_COMPRESSION__LZ4 : PAGES_COMPRESSION__ZSTD;
	head.n_region_pages = n;
	head.n_region_bytes = data[0] & 4 ? n : data[0] % MOST;
	memcpy(pages, data + 3, 4 * n);
	memset(bytes, 1, sizeof(bytes));
	memcpy(bytes, data + 3 + 4 * n, 4 * n);
	head.region_pages = pages;
	head.region_bytes = bytes;
	a = arena_new();
	if (!page_regions_read(a, "pagemap-1.img", &head, &r) && r)
		look_up(r);
	arena_free(a);
	unpack(head.compression, 1 + data[2] % 4, data + 3 + 8 * n, MIN(size - 3 - 8 * n, BATCH_BYTES));
	return 0;
}
