/* SPDX-License-Identifier: GPL-2.0-only */
/* Fields of protobuf messages by name, for what the core does for messages of all kinds alike. */
#ifndef CRIU_LIB_MESSAGE_H
#define CRIU_LIB_MESSAGE_H

#include <protobuf-c/protobuf-c.h>

#include "common.h"

/* Sets a field if the message has one of that name and type; an optional one is marked present. */
void message_set_u32(void *msg, const char *name, uint32_t v);
void message_set_u64(void *msg, const char *name, uint64_t v);
void message_set_message(void *msg, const char *name, void *sub);

/* The value of a field, or 0 (NULL) where the message has no field of that name and type. */
uint32_t message_get_u32(const void *msg, const char *name);
const void *message_get_message(const void *msg, const char *name, const ProtobufCMessageDescriptor *pb);

/* The same for any number or bool that fits: false where there is no such field, or (get) where it is not present. */
bool message_set_number(void *msg, const char *name, int64_t v);
bool message_get_number(const void *msg, const char *name, int64_t *v);

#endif
