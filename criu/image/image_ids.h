/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Ids of users and groups in images. Images of a tree in a user namespace of its own have those of files and other
 * objects as they are seen in there; criu works with its own. So they are changed as a message is written or has been
 * read. (Credentials of tasks are not: each is seen by its own task, see task/creds.c.)
 */
#ifndef CRIU_IMAGE_IMAGE_IDS_H
#define CRIU_IMAGE_IMAGE_IDS_H

#include <protobuf-c/protobuf-c.h>

#include "common.h"

struct image_ids {
	void *context;
	/* criu's id to that of images, and back (false: it is nobody's). */
	uint32_t (*inside)(void *context, bool group, uint32_t id);
	bool (*outside)(void *context, bool group, uint32_t id, uint32_t *out);
};

/* Whether messages of a type have such ids, at whatever depth. */
bool image_ids_any(const ProtobufCMessageDescriptor *pb);

/* Changes all ids of a message to those of images. */
void image_ids_to_images(const struct image_ids *ids, void *msg);

/* And back: 0, or -EINVAL, and *unknown is an id that is nobody's. */
int image_ids_from_images(const struct image_ids *ids, void *msg, uint32_t *unknown);

#endif
