/* SPDX-License-Identifier: GPL-2.0-only */
/* The encoding is described at https://protobuf.dev/programming-guides/encoding/. */
#include "image/image_check.h"

#include <stdarg.h>
#include <string.h>

#define DEPTH_MAX  100
#define FIELDS_MAX 256

enum wire { WIRE_VARINT = 0, WIRE_64BIT = 1, WIRE_BYTES = 2, WIRE_32BIT = 5 };

struct check {
	char *why;
	size_t why_size;
};

struct span {
	const uint8_t *at, *end;
};

/* One value as it stands in the message: its number (VARINT) or its bytes. */
struct value {
	enum wire wire;
	uint64_t number;
	struct span bytes;
};

static int PRINTF(2, 3) bad(const struct check *c, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(c->why, c->why_size, fmt, args);
	va_end(args);
	return -EBADMSG;
}

static bool take_varint(struct span *s, uint64_t *value)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint8_t byte;

		if (s->at == s->end)
			return false;
		byte = *s->at++;
		if (shift < 64)
			v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*value = v;
			return true;
		}
	}
	return false;
}

static bool take_bytes(struct span *s, uint64_t len, struct span *bytes)
{
	if (len > (uint64_t)(s->end - s->at))
		return false;
	*bytes = (struct span) { s->at, s->at + len };
	s->at += len;
	return true;
}

static bool read_wire_value(struct span *s, struct value *v)
{
	switch (v->wire) {
	case WIRE_VARINT:
		return take_varint(s, &v->number);
	case WIRE_64BIT:
		return take_bytes(s, 8, &v->bytes);
	case WIRE_BYTES:
		return take_varint(s, &v->number) && take_bytes(s, v->number, &v->bytes);
	case WIRE_32BIT:
		return take_bytes(s, 4, &v->bytes);
	}
	return false;
}

static int check_fields(const struct check *c, const ProtobufCMessageDescriptor *pb, struct span s, unsigned depth);

static int check_enum(const struct check *c, const ProtobufCMessageDescriptor *pb,
                      const ProtobufCFieldDescriptor *field, uint64_t value)
{
	if (protobuf_c_enum_descriptor_get_value(field->descriptor, (int)value))
		return 0;
	return bad(c, "%s.%s has the unknown value %d", pb->name, field->name, (int)value);
}

/* A wrong wire type is left to the unpacking, which refuses it. */
static int check_field(const struct check *c, const ProtobufCMessageDescriptor *pb,
                       const ProtobufCFieldDescriptor *field, struct value v, unsigned depth)
{
	int err = 0;

	if (field->type == PROTOBUF_C_TYPE_ENUM && v.wire == WIRE_VARINT)
		return check_enum(c, pb, field, v.number);
	if (v.wire != WIRE_BYTES)
		return 0;
	switch (field->type) {
	case PROTOBUF_C_TYPE_ENUM: /* repeated and packed */
		while (v.bytes.at != v.bytes.end && !err) {
			if (!take_varint(&v.bytes, &v.number))
				return bad(c, "%s.%s is cut short", pb->name, field->name);
			err = check_enum(c, pb, field, v.number);
		}
		return err;
	case PROTOBUF_C_TYPE_STRING:
		if (memchr(v.bytes.at, 0, (size_t)(v.bytes.end - v.bytes.at)))
			return bad(c, "%s.%s holds a zero byte", pb->name, field->name);
		return 0;
	case PROTOBUF_C_TYPE_MESSAGE:
		return check_fields(c, field->descriptor, v.bytes, depth + 1);
	default:
		return 0;
	}
}

static int check_required(const struct check *c, const ProtobufCMessageDescriptor *pb, const uint64_t *seen)
{
	for (unsigned i = 0; i < pb->n_fields; i++) {
		if (pb->fields[i].label != PROTOBUF_C_LABEL_REQUIRED)
			continue;
		if (!(seen[i / 64] & (1ULL << (i % 64))))
			return bad(c, "%s.%s is missing", pb->name, pb->fields[i].name);
	}
	return 0;
}

static int check_fields(const struct check *c, const ProtobufCMessageDescriptor *pb, struct span s, unsigned depth)
{
	uint64_t seen[FIELDS_MAX / 64] = { 0 };

	if (depth > DEPTH_MAX)
		return bad(c, "%s is nested deeper than %d", pb->name, DEPTH_MAX);
	if (pb->n_fields > FIELDS_MAX)
		return bad(c, "%s has more than %d fields", pb->name, FIELDS_MAX);
	while (s.at != s.end) {
		const ProtobufCFieldDescriptor *field;
		struct value v = { 0 };
		uint64_t tag;
		size_t index;
		int err;

		if (!take_varint(&s, &tag) || !(tag >> 3) || tag > UINT32_MAX)
			return bad(c, "%s has a damaged field number", pb->name);
		v.wire = tag & 7;
		if (!read_wire_value(&s, &v))
			return bad(c, "%s is cut short or damaged in field %u", pb->name, (unsigned)(tag >> 3));
		field = protobuf_c_message_descriptor_get_field(pb, (unsigned)(tag >> 3));
		if (!field)
			continue;
		index = (size_t)(field - pb->fields);
		seen[index / 64] |= 1ULL << (index % 64);
		err = check_field(c, pb, field, v, depth);
		if (err)
			return err;
	}
	return check_required(c, pb, seen);
}

int image_check_message(const ProtobufCMessageDescriptor *pb, const uint8_t *data, size_t len, char *why,
                        size_t why_size)
{
	struct check c = { .why = why, .why_size = why_size };

	return check_fields(&c, pb, (struct span) { data, data + len }, 0);
}
