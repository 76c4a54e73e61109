/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A checkpoint that is complete, and of which some is given back later: pages are punched out of its pages files. The
 * directory is open for reading. All functions return 0 or a negative errno (logged).
 */
#ifndef CRIU_IMAGE_IMAGE_CHANGE_H
#define CRIU_IMAGE_IMAGE_CHANGE_H

#include "image/image.h"

/* The numbers in the names of its images of a type (IMG_PAGEMAP), in no order. */
int image_change_numbers(struct image_dir *dir, enum image_type type, struct arena *a, uint64_t **vp, size_t *np);

/* From here on nobody else reads it, and no dump writes there. -EBUSY: somebody does. Is ended after an error too. */
int image_change_begin(struct image_dir *dir);
void image_change_end(const struct image_dir *dir);

/*
 * An image that is no part of the checkpoint as it was dumped, and takes the place of an older one of its name when it
 * is published. Such images count though checkpoint.sums does not name them.
 */
int image_change_create(const struct image_dir *dir, enum image_type type, struct image **imgp);
int image_change_publish(const struct image_dir *dir, enum image_type type);
bool image_change_is_later(const char *name);

/* A pages file, for reading and writing: a descriptor, or a negative errno (logged). */
int image_change_pages(const struct image_dir *dir, uint32_t pages_id);

#endif
