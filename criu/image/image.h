/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Image files: names and magics from one table (images/images.def), entries of protobuf, raw bytes behind them, and the
 * integrity file that makes a cut-short or damaged checkpoint known. The format is in ../shared/format and in
 * Documentation/IMAGES.md.
 */
#ifndef CRIU_IMAGE_IMAGE_H
#define CRIU_IMAGE_IMAGE_H

#include <protobuf-c/protobuf-c.h>

#include "common.h"
#include "lib/arena.h"
#include "image/image_chain.h"
#include "image/image_dir.h"

/* IMG_INVENTORY, IMG_CORE, ...: one for each row of images/images.def. */
enum image_type {
#define IMAGE(id, ...) IMG_##id,
#include "images.def"
#undef IMAGE
	IMG_COUNT
};

/* One open image. */
struct image;

/*
 * Opens (dump: creates) the image of a type; id is the number in its name (ignored where it has none). Writing puts the
 * magic; reading checks it. Reading: -ENOENT without a log line where the file is not there, so that optional images
 * are easy; all other errors are logged with the file's name.
 */
int image_create(struct image_dir *dir, enum image_type type, uint64_t id, struct image **imgp);
int image_open(struct image_dir *dir, enum image_type type, uint64_t id, struct image **imgp);

/* Flushes, notes the checksum, closes, frees. Returns the first error of any write. NULL is fine. */
int image_close(struct image *img);
void image_cleanup(struct image **img);
#define _cleanup_image_ __attribute__((cleanup(image_cleanup)))

/* The name of the file, for messages. */
const char *image_name(const struct image *img);

/* The name that an image of this type and number has. */
#define IMAGE_NAME_MAX 64
void image_make_name(enum image_type type, uint64_t id, char name[IMAGE_NAME_MAX]);

/* Writes a message: u32 length and bytes. */
int image_write(struct image *img, const void *msg);

/* Writes raw bytes behind a message. */
int image_write_raw(struct image *img, const void *data, size_t len);

/*
 * Reads the next message, which must be of type pb, into the arena. 1: *msgp is set; 0: the end of the file; negative:
 * cut short, damaged, too large, an unknown enum value where the field is one, or a required field missing (logged).
 */
int image_read(struct image *img, const ProtobufCMessageDescriptor *pb, struct arena *a, void *msgp);

/* Reads exactly len raw bytes; less is an error. */
int image_read_raw(struct image *img, void *data, size_t len);

/* Bytes left between the position and the end of the file, to check a length in an image before memory is taken for it.
 */
uint64_t image_left(const struct image *img);

/* The largest message that is written or taken, in bytes. */
#define IMAGE_MESSAGE_MAX (64U << 20)

/* The message type of an image's entries (NULL for raw ones). */
const ProtobufCMessageDescriptor *image_pb(enum image_type type);

/* One message in one image, in one call. */
int image_write_one(struct image_dir *dir, enum image_type type, uint64_t id, const void *msg);

/*
 * The same, in any directory, and no part of a checkpoint: for the service files (IMG_STATS_DUMP, IMG_STATS_RESTORE),
 * which belong in the work directory.
 */
int image_write_at(int dirfd, enum image_type type, uint64_t id, const void *msg);

/* The same for more than one message, under a name that the caller chooses. Its image_close() is the last step. */
int image_create_at(int dirfd, const char *name, enum image_type type, struct image **imgp);

/* Reads an image that holds exactly one message. -ENOENT is not logged. */
int image_read_one(struct image_dir *dir, enum image_type type, uint64_t id, struct arena *a, void *msgp);

/* Another descriptor of an image that is open for reading, at its start; or a negative errno (logged). */
int image_reopen(const struct image *img);

/*
 * A pages file: written with pwrite() at any offset by any thread, not buffered here. image_pages_create() makes it and
 * notes it for the integrity file, which takes its size when sealed. Returns a descriptor or a negative errno (logged).
 *
 * With a streamer (image_dir_streams()) it is a pipe: image_pages_append() writes behind what was written, and when the
 * streamer has all of `size` bytes image_pages_end() closes it; without one that does nothing.
 */
int image_pages_create(struct image_dir *dir, uint32_t pages_id);
int image_pages_append(struct image_dir *dir, uint32_t pages_id, int fd, const void *data, size_t len);
int image_pages_end(struct image_dir *dir, uint32_t pages_id, int *fd, uint64_t size);

/*
 * For reading: *size bytes of the descriptor from *at on, which is a multiple of the page size. The caller closes it.
 * When it is not needed any more image_pages_forget() gives back what memory it takes (with a streamer).
 */
int image_pages_open(struct image_dir *dir, uint32_t pages_id, uint64_t *at, uint64_t *size);
void image_pages_forget(struct image_dir *dir, uint32_t pages_id);

#endif
