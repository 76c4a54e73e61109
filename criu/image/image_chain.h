/* SPDX-License-Identifier: GPL-2.0-only */
/* The checkpoint before one, which has the pages that it has not. Included by image/image.h. */
#ifndef CRIU_IMAGE_IMAGE_CHAIN_H
#define CRIU_IMAGE_IMAGE_CHAIN_H

#include "image/image_dir.h"

/* The name of the link that leads to it. */
#define IMAGE_PREV "parent"

/*
 * The chain that a checkpoint belongs to: the link "parent" in its directory leads to the one before it, which has the
 * pages that this one has not. prev: as the link is to say it, seen from the image directory.
 */
int image_dir_link_prev(struct image_dir *dir, const char *prev);

/* Opens where such a link of dir would lead to, for reading. 0 or a negative errno (logged). */
int image_dir_open_prev(const struct image_dir *dir, const char *prev, struct image_dir **prevp);

/*
 * Reading: opens the checkpoint that the link leads to; it is closed with dir, and opened once. -ENOENT is not logged:
 * there is no link. -ELOOP (logged): it leads back to one of those that came before.
 */
int image_dir_prev(struct image_dir *dir, struct image_dir **prevp);

#endif
