/* SPDX-License-Identifier: GPL-2.0-only */
/* What protobuf-c does not check in bytes that come from outside. */
#ifndef CRIU_IMAGE_IMAGE_CHECK_H
#define CRIU_IMAGE_IMAGE_CHECK_H

#include <protobuf-c/protobuf-c.h>

#include "common.h"

/*
 * Looks through the bytes of a message of type pb before they are unpacked: that they are well-formed, nested no deeper
 * than 100 (unpacking recurses), that every required field exists, that enums have values that we know, and that
 * strings hold no zero byte. Unknown fields are fine. Returns 0, or -EBADMSG with the reason in why (not logged).
 */
int image_check_message(const ProtobufCMessageDescriptor *pb, const uint8_t *data, size_t len, char *why,
                        size_t why_size);

#endif
