/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Images that a page server receives: written where nothing looks for a checkpoint, and put into the image directory
 * together when all have come. So one that fails or is killed leaves nothing there that counts.
 */
#ifndef CRIU_IMAGE_IMAGE_RECEIVED_H
#define CRIU_IMAGE_IMAGE_RECEIVED_H

#include "image/image_dir.h"

struct image_received {
	int fd; /* of the image directory */
	const char *path;
	struct image_dir *dir; /* the hidden one, where images are made */
	bool published;
	struct timespec begun;
	bool replace; /* the image directory had an older checkpoint in it from the beginning */
};

/* What a killed page server has left is removed; -EBUSY: another one writes there. path stays the caller's. */
int image_received_begin(struct image_received *r, const char *path);

/* All images are complete and closed: they come into the image directory, with an integrity file of their own. */
int image_received_publish(struct image_received *r);

/* Removes what has not been published, and closes. */
void image_received_end(struct image_received *r);

#endif
