/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Changing an input of fuzz_dir.h so that it stays one: a message of a record is unpacked, one of its fields changed,
 * and packed again. Bytes that are changed blindly are nearly always refused by the first length.
 */
#ifndef TEST_FUZZ_MUTATE_H
#define TEST_FUZZ_MUTATE_H

#include <protobuf-c/protobuf-c.h>

#include "fuzz_dir.h"

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

static inline uint64_t fuzz_number(unsigned *seed)
{
	static const uint64_t odd[] = { 0,
		                        1,
		                        2,
		                        3,
		                        7,
		                        8,
		                        4095,
		                        4096,
		                        65535,
		                        1 << 20,
		                        INT32_MAX,
		                        UINT32_MAX,
		                        0x7ffffffff000,
		                        INT64_MAX,
		                        UINT64_MAX,
		                        UINT64_MAX - 4095 };

	return rand_r(seed) % 4 ? odd[(unsigned)rand_r(seed) % ARRAY_SIZE(odd)] : (uint64_t)(rand_r(seed) % 100);
}

/* The size of one value in the struct that protobuf-c makes. */
static inline size_t fuzz_size_of(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return 8;
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	default:
		return 4;
	}
}

static inline void fuzz_change_scalar(ProtobufCType type, void *at, unsigned *seed)
{
	uint64_t was = 0, v = fuzz_number(seed);
	ProtobufCBinaryData *bytes = at;

	if (type == PROTOBUF_C_TYPE_STRING) {
		if (**(char **)at)
			**(char **)at ^= (char)(1 << rand_r(seed) % 6);
	} else if (type == PROTOBUF_C_TYPE_BYTES) {
		if (bytes->len && rand_r(seed) % 2)
			bytes->len = (size_t)rand_r(seed) % bytes->len;
		else if (bytes->len)
			bytes->data[(size_t)rand_r(seed) % bytes->len] = (uint8_t)v;
	} else {
		memcpy(&was, at, fuzz_size_of(type));
		v = rand_r(seed) % 2 ? v : was + v;
		memcpy(at, &v, fuzz_size_of(type));
	}
}

/* One field of the message or of one below it. What is taken away stays in the arena. */
static inline void fuzz_change_message(ProtobufCMessage *msg, unsigned *seed)
{
	const ProtobufCMessageDescriptor *d = msg->descriptor;
	const ProtobufCFieldDescriptor *f = d->n_fields ? &d->fields[(unsigned)rand_r(seed) % d->n_fields] : NULL;
	char *at = f ? (char *)msg + f->offset : NULL, *count = f ? (char *)msg + f->quantifier_offset : NULL;

	if (!f)
		return;
	if (f->label == PROTOBUF_C_LABEL_REPEATED) {
		size_t *n = (size_t *)count, i;

		if (!*n)
			return;
		i = (size_t)rand_r(seed) % *n;
		if (rand_r(seed) % 4 == 0) {
			*n = i;
			return;
		}
		at = *(char **)at + i * fuzz_size_of(f->type);
	} else if (f->label == PROTOBUF_C_LABEL_OPTIONAL && f->type != PROTOBUF_C_TYPE_MESSAGE &&
	           f->type != PROTOBUF_C_TYPE_STRING) {
		*(protobuf_c_boolean *)count = rand_r(seed) % 4 != 0;
	}
	if (f->type == PROTOBUF_C_TYPE_MESSAGE) {
		if (f->label == PROTOBUF_C_LABEL_OPTIONAL && rand_r(seed) % 4 == 0)
			*(void **)at = NULL;
		else if (*(ProtobufCMessage **)at)
			fuzz_change_message(*(ProtobufCMessage **)at, seed);
	} else if (f->type != PROTOBUF_C_TYPE_STRING || (*(char **)at && *(const void **)at != f->default_value)) {
		fuzz_change_scalar(f->type, at, seed);
	}
}

#endif
