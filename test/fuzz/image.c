/* SPDX-License-Identifier: GPL-2.0-only */
/* Fuzzing the reader of images: one file, its messages and raw bytes; or the integrity file. */
#include "image/integrity.h"
#include "fuzz_dir.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A length that a message of this image could give, from the input: never more than is left is read. */
static void read_raw(struct image *img, struct arena *a, uint8_t byte)
{
	uint64_t left = image_left(img), len = byte * 3;
	void *buf = arena_alloc(a, len);
	int err = image_read_raw(img, buf, len);

	if ((len <= left) != (err == 0))
		abort();
}

static void read_image(struct image_dir *dir, unsigned type, uint8_t how, struct arena *a)
{
	const ProtobufCMessageDescriptor *pb = image_pb(type);
	struct image *img;
	ProtobufCMessage *msg;

	if (image_open(dir, type, 7, &img))
		return;
	for (int i = 0; pb && i < 1000; i++) {
		uint64_t left = image_left(img);

		if (image_read(img, pb, a, &msg) != 1)
			break;
		if (!protobuf_c_message_check(msg) || image_left(img) >= left)
			abort();
		if (how & 1)
			read_raw(img, a, how >> 1);
	}
	image_close(img);
}

static void read_sums(struct arena *a)
{
	int dirfd = open(fuzz_dir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t room = INTEGRITY_KEPT;
	struct sums *sums;
	char why[256];

	if (integrity_read(dirfd, IMAGE_SUMS, &sums, why, sizeof(why)) == 0) {
		for (struct sum *s = sums->all; s; s = s->hh.next)
			integrity_check(s, dirfd, &room, why, sizeof(why));
		integrity_free(sums);
	}
	close(dirfd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new();
	struct image_dir *dir;

	if (size >= 2 && data[0] == 255) {
		fuzz_dir_empty();
		fuzz_put(IMAGE_SUMS, NULL, 0, data + 2, size - 2);
		read_sums(a);
	} else if (size >= 2) {
		unsigned type = data[0] % IMG_COUNT;

		fuzz_dir_empty();
		fuzz_put_image(type, 7, data + 2, size - 2);
		if (image_dir_open(fuzz_dir(), false, &dir) == 0) {
			read_image(dir, type, data[1], a);
			image_dir_close(dir);
		}
	}
	arena_free(a);
	return 0;
}
