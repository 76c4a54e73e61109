/* SPDX-License-Identifier: GPL-2.0-only */
#include "image/image_ids.h"

#include <string.h>

#include "image/image_messages.h"
#include "lib/message.h"

#define DEPTH_MAX 8 /* no message with ids lies deeper in others */

struct id_row {
	const ProtobufCMessageDescriptor *pb;
	const char *user[3], *group[3]; /* fields; numbers, or repeated ones */
	const char *only_with;          /* unless this field is 0 */
	bool absent_is_0;               /* an optional field that is not there means 0 */
};

static const struct id_row rows[] = {
	{ .pb = &fown_entry__descriptor, .user = { "uid", "euid" }, .only_with = "pid" },
	{ .pb = &ghost_file_entry__descriptor, .user = { "uid" }, .group = { "gid" } },
	{ .pb = &memfd_inode_entry__descriptor, .user = { "uid" }, .group = { "gid" } },
	{ .pb = &mqueue_entry__descriptor, .user = { "uid" }, .group = { "gid" } },
	{ .pb = &ipc_desc_entry__descriptor, .user = { "uid", "cuid" }, .group = { "gid", "cgid" } },
	{ .pb = &inet_sk_entry__descriptor, .user = { "uid" }, .group = { "gid" }, .absent_is_0 = true },
	{ .pb = &pipe_entry__descriptor, .user = { "uid" }, .group = { "gid" }, .absent_is_0 = true },
	{ .pb = &file_perms_entry__descriptor, .user = { "uid" }, .group = { "gid" } },
	{ .pb = &unix_sk_entry__descriptor,
	  .user = { "cred_uid", "connector_uid" },
	  .group = { "cred_gid", "connector_gid", "cred_groups" } },
	{ .pb = &unix_waiting_entry__descriptor, .user = { "uid" }, .group = { "gid", "groups" } },
	{ .pb = &unix_waiting_message__descriptor, .user = { "uid" }, .group = { "gid" } },
	{ .pb = &sk_packet_entry__descriptor, .user = { "uid" }, .group = { "gid" } },
	{ .pb = &tty_info_entry__descriptor, .user = { "uid" }, .group = { "gid" } },
};

static const struct id_row *row_of(const ProtobufCMessageDescriptor *pb)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (rows[i].pb == pb)
			return &rows[i];
	return NULL;
}

static bool has_ids(const ProtobufCMessageDescriptor *pb, unsigned depth)
{
	if (row_of(pb))
		return true;
	for (unsigned i = 0; depth && i < pb->n_fields; i++)
		if (pb->fields[i].type == PROTOBUF_C_TYPE_MESSAGE && has_ids(pb->fields[i].descriptor, depth - 1))
			return true;
	return false;
}

bool image_ids_any(const ProtobufCMessageDescriptor *pb)
{
	return has_ids(pb, DEPTH_MAX);
}

/* ---- one message ---- */

struct change {
	const struct image_ids *ids;
	bool to_images;
	int err;
	uint32_t unknown;
};

static void change_id(struct change *c, bool group, uint32_t *id)
{
	/* "Nobody's": what is of no use for an owner stays what it is. */
	if (*id == (uint32_t)-1)
		return;
	if (c->to_images) {
		*id = c->ids->inside(c->ids->context, group, *id);
	} else if (!c->ids->outside(c->ids->context, group, *id, id)) {
		c->err = -EINVAL;
		c->unknown = *id;
	}
}

static void change_field(struct change *c, ProtobufCMessage *msg, const char *name, bool group, bool absent_is_0)
{
	const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(msg->descriptor, name);
	bool repeated = f->label == PROTOBUF_C_LABEL_REPEATED;
	void *at = (char *)msg + f->offset, *quantifier = (char *)msg + f->quantifier_offset;
	uint32_t *v = repeated ? *(uint32_t **)at : at;
	size_t n = repeated ? *(size_t *)quantifier : 1;

	if (f->label == PROTOBUF_C_LABEL_OPTIONAL && !*(protobuf_c_boolean *)quantifier && !absent_is_0)
		return;
	for (size_t i = 0; i < n; i++)
		change_id(c, group, &v[i]);
	if (absent_is_0)
		*(protobuf_c_boolean *)quantifier = *v != 0;
}

static void change_row(struct change *c, ProtobufCMessage *msg, const struct id_row *row)
{
	if (row->only_with && !message_get_u32(msg, row->only_with))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(row->user) && row->user[i]; i++)
		change_field(c, msg, row->user[i], false, row->absent_is_0);
	for (size_t i = 0; i < ARRAY_SIZE(row->group) && row->group[i]; i++)
		change_field(c, msg, row->group[i], true, row->absent_is_0);
}

static void change_message(struct change *c, ProtobufCMessage *msg, unsigned depth)
{
	const ProtobufCMessageDescriptor *pb = msg->descriptor;
	const struct id_row *row = row_of(pb);

	if (row)
		change_row(c, msg, row);
	for (unsigned i = 0; depth && i < pb->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &pb->fields[i];
		bool repeated = f->label == PROTOBUF_C_LABEL_REPEATED;
		void *at = (char *)msg + f->offset;
		ProtobufCMessage **v = repeated ? *(ProtobufCMessage ***)at : at;
		size_t n = repeated ? *(size_t *)((char *)msg + f->quantifier_offset) : 1;

		for (size_t k = 0; f->type == PROTOBUF_C_TYPE_MESSAGE && k < n; k++)
			if (v[k])
				change_message(c, v[k], depth - 1);
	}
}

void image_ids_to_images(const struct image_ids *ids, void *msg)
{
	struct change c = { .ids = ids, .to_images = true };

	change_message(&c, msg, DEPTH_MAX);
}

int image_ids_from_images(const struct image_ids *ids, void *msg, uint32_t *unknown)
{
	struct change c = { .ids = ids };

	change_message(&c, msg, DEPTH_MAX);
	*unknown = c.unknown;
	return c.err;
}
