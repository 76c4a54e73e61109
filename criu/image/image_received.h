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
	bool replace;    /* the image directory had an older checkpoint in it from the beginning */
	char *prev_path; /* of the checkpoint before this one, seen from the image directory; NULL: there is none */
	struct image_dir *prev; /* the same, open for reading */
};

/*
 * What a killed page server has left is removed; -EBUSY: another one writes there. path stays the caller's. prev: where
 * the checkpoint before it is, to which a link is made; NULL: where a link leads that is there.
 */
int image_received_begin(struct image_received *r, const char *path, const char *prev);

/* Opens the checkpoint before it anew: something else may have been written there since. As image_dir_open(). */
int image_received_open_prev(const struct image_received *r, struct image_dir **prevp);

/* All images are complete and closed: they come into the image directory, with an integrity file of their own. */
int image_received_publish(struct image_received *r);

/* Removes what has not been published, and closes. */
void image_received_end(struct image_received *r);

#endif
