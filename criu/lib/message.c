/* SPDX-License-Identifier: GPL-2.0-only */
#include "lib/message.h"

static const ProtobufCFieldDescriptor *find_field(const void *msg, const char *name, ProtobufCType type)
{
	const ProtobufCMessageDescriptor *pb = ((const ProtobufCMessage *)msg)->descriptor;
	const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(pb, name);

	return f && f->type == type && f->label != PROTOBUF_C_LABEL_REPEATED ? f : NULL;
}

static void *field_place(void *msg, const ProtobufCFieldDescriptor *f)
{
	if (f->label == PROTOBUF_C_LABEL_OPTIONAL && f->type != PROTOBUF_C_TYPE_MESSAGE)
		*(protobuf_c_boolean *)((char *)msg + f->quantifier_offset) = 1;
	return (char *)msg + f->offset;
}

void message_set_u32(void *msg, const char *name, uint32_t v)
{
	const ProtobufCFieldDescriptor *f = find_field(msg, name, PROTOBUF_C_TYPE_UINT32);

	if (f)
		*(uint32_t *)field_place(msg, f) = v;
}

void message_set_u64(void *msg, const char *name, uint64_t v)
{
	const ProtobufCFieldDescriptor *f = find_field(msg, name, PROTOBUF_C_TYPE_UINT64);

	if (f)
		*(uint64_t *)field_place(msg, f) = v;
}

void message_set_message(void *msg, const char *name, void *sub)
{
	const ProtobufCFieldDescriptor *f = find_field(msg, name, PROTOBUF_C_TYPE_MESSAGE);

	if (f && sub && f->descriptor == ((const ProtobufCMessage *)sub)->descriptor)
		*(void **)field_place(msg, f) = sub;
}

uint32_t message_get_u32(const void *msg, const char *name)
{
	const ProtobufCFieldDescriptor *f = find_field(msg, name, PROTOBUF_C_TYPE_UINT32);

	return f ? *(const uint32_t *)((const char *)msg + f->offset) : 0;
}

const void *message_get_message(const void *msg, const char *name, const ProtobufCMessageDescriptor *pb)
{
	const ProtobufCFieldDescriptor *f = find_field(msg, name, PROTOBUF_C_TYPE_MESSAGE);

	return f && f->descriptor == pb ? *(void *const *)((const char *)msg + f->offset) : NULL;
}

static const ProtobufCFieldDescriptor *field_number(const void *msg, const char *name)
{
	const ProtobufCMessageDescriptor *pb = ((const ProtobufCMessage *)msg)->descriptor;
	const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(pb, name);

	return f && f->label != PROTOBUF_C_LABEL_REPEATED ? f : NULL;
}

bool message_set_number(void *msg, const char *name, int64_t v)
{
	const ProtobufCFieldDescriptor *f = field_number(msg, name);

	if (f && f->type == PROTOBUF_C_TYPE_BOOL)
		*(protobuf_c_boolean *)field_place(msg, f) = v != 0;
	else if (f && (f->type == PROTOBUF_C_TYPE_UINT32 || f->type == PROTOBUF_C_TYPE_INT32 ||
	               f->type == PROTOBUF_C_TYPE_SINT32))
		*(uint32_t *)field_place(msg, f) = (uint32_t)v;
	else if (f && (f->type == PROTOBUF_C_TYPE_UINT64 || f->type == PROTOBUF_C_TYPE_INT64))
		*(uint64_t *)field_place(msg, f) = (uint64_t)v;
	else
		return false;
	return true;
}

bool message_get_number(const void *msg, const char *name, int64_t *v)
{
	const ProtobufCFieldDescriptor *f = field_number(msg, name);
	const char *at = f ? (const char *)msg + f->offset : NULL;

	if (!f || (f->label == PROTOBUF_C_LABEL_OPTIONAL &&
	           !*(const protobuf_c_boolean *)((const char *)msg + f->quantifier_offset)))
		return false;
	if (f->type == PROTOBUF_C_TYPE_BOOL)
		*v = *(const protobuf_c_boolean *)at;
	else if (f->type == PROTOBUF_C_TYPE_UINT32)
		*v = *(const uint32_t *)at;
	else if (f->type == PROTOBUF_C_TYPE_INT32 || f->type == PROTOBUF_C_TYPE_SINT32)
		*v = *(const int32_t *)at;
	else if (f->type == PROTOBUF_C_TYPE_UINT64 || f->type == PROTOBUF_C_TYPE_INT64)
		*v = *(const int64_t *)at;
	else
		return false;
	return true;
}
