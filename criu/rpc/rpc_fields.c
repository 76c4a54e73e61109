/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A field of criu_opts becomes one use of an option, or several, as if the command line had it: its value as text. How
 * it is written depends on the type of the field alone, so that a field that comes with an option of its name needs
 * nothing here.
 */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/log.h"
#include "rpc/rpc_fields.h"

#define FROM "request: "

/* Those whose option has another name. Where two name one option, the later one wins. */
static const struct {
	const char *field, *option, *value; /* value: of a flag's option that takes one; NULL: as the field says */
} other_names[] = {
	{ "pid", "tree", NULL },
	{ "log_level", "verbosity", NULL },
	{ "parent_img", "prev-images-dir", NULL },
	{ "veths", "veth-pair", NULL },
	{ "ext_mnt", "external", NULL },
	{ "auto_ext_mnt", "ext-mount-map", "auto" },
	{ "ext_sharing", "enable-external-sharing", NULL },
	{ "ext_masters", "enable-external-masters", NULL },
	{ "unix_sk_ino", "ext-unix-sk", NULL },
	{ "cg_root", "cgroup-root", NULL },
	{ "rst_sibling", "restore-sibling", NULL },
	{ "irmap_scan_paths", "irmap-scan-path", NULL },
	{ "manage_cgroups_mode", "manage-cgroups", NULL },
	{ "tcp_skip_in_flight", "skip-in-flight", NULL },
};

/* Those that rpc_options.c reads, or the response and the socket's other end are about. */
static const char *const special[] = {
	"images_dir_fd",
	"images_dir",
	"work_dir_fd",
	"log_file",
	"log_to_stderr",
	"config_file",
	"exec_cmd",
	"notify_scripts",
	"inherit_fd",
	"orphan_pts_master",
	"status_fd",
	"empty_ns",
	"ps",
	"pidfd_store_sk",
};

bool rpc_fields_special(const ProtobufCFieldDescriptor *field)
{
	for (size_t i = 0; i < ARRAY_SIZE(special); i++)
		if (!strcmp(special[i], field->name))
			return true;
	return false;
}

static const char *fixed_value(const ProtobufCFieldDescriptor *field)
{
	for (size_t i = 0; i < ARRAY_SIZE(other_names); i++)
		if (!strcmp(other_names[i].field, field->name))
			return other_names[i].value;
	return NULL;
}

const struct option_row *rpc_fields_option(const ProtobufCFieldDescriptor *field)
{
	char name[64];

	for (size_t i = 0; i < ARRAY_SIZE(other_names); i++)
		if (!strcmp(other_names[i].field, field->name))
			return option_by_name(other_names[i].option, strlen(other_names[i].option));
	snprintf(name, sizeof(name), "%s", field->name);
	for (char *s = name; *s; s++)
		*s = *s == '_' ? '-' : *s;
	return option_by_name(name, strlen(name));
}

/* ---- values as text ---- */

/* Of bits: none, and then the words of those that are set. */
static const char *write_bits(struct options *o, const struct option_row *row, uint32_t bits)
{
	const char *text = "none";

	for (const struct option_word *w = row->words; w->word; w++)
		if (w->value && (bits & (uint32_t)w->value) == (uint32_t)w->value)
			text = arena_printf(o->arena, "%s,%s", text, w->word);
	return text;
}

/* The words of rpc.proto that the command line has otherwise; all others are the same in capitals. */
static const char *write_word(struct options *o, const ProtobufCFieldDescriptor *field, int value)
{
	static const char *const others[][2] = { { "CG_NONE", "none" }, { "DEFAULT", "soft" }, { "VM_READ", "read" } };
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(field->descriptor, value);
	char *word;

	if (!v) {
		log_errno(0, FROM "%s: %d is not a value that it can have", field->name, value);
		return NULL;
	}
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (!strcmp(v->name, others[i][0]))
			return others[i][1];
	word = arena_strdup(o->arena, v->name);
	for (char *s = word; *s; s++)
		*s = (char)tolower((unsigned char)*s);
	return word;
}

static const char *write_message(struct options *o, const ProtobufCMessage *m)
{
	const ExtMountMap *mount = (const ExtMountMap *)m;
	const CriuVethPair *veth = (const CriuVethPair *)m;
	const JoinNamespace *join = (const JoinNamespace *)m;
	const CgroupRoot *root = (const CgroupRoot *)m;

	if (m->descriptor == &ext_mount_map__descriptor)
		return arena_printf(o->arena, "mnt[%s]:%s", mount->key, mount->val);
	if (m->descriptor == &criu_veth_pair__descriptor)
		return arena_printf(o->arena, "%s=%s", veth->if_in, veth->if_out);
	if (m->descriptor == &join_namespace__descriptor)
		return arena_printf(o->arena, "%s:%s%s%s", join->ns, join->ns_file, join->extra_opt ? "," : "",
		                    join->extra_opt ?: "");
	if (m->descriptor == &cgroup_root__descriptor)
		return arena_printf(o->arena, "%s%s%s", root->ctrl ?: "", root->ctrl ? ":" : "", root->path);
	if (m->descriptor == &unix_sk__descriptor)
		return arena_printf(o->arena, "%u", ((const UnixSk *)m)->inode);
	return NULL;
}

/* The value that stands at `at`; NULL: it has none (logged). */
static const char *write_value(struct options *o, const struct option_row *row, const ProtobufCFieldDescriptor *field,
                               const void *at)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_INT32:
		return arena_printf(o->arena, "%" PRId32, *(const int32_t *)at);
	case PROTOBUF_C_TYPE_UINT32:
		return row->type == OPT_WORD_SET ? write_bits(o, row, *(const uint32_t *)at)
		                                 : arena_printf(o->arena, "%" PRIu32, *(const uint32_t *)at);
	case PROTOBUF_C_TYPE_ENUM:
		return write_word(o, field, *(const int *)at);
	case PROTOBUF_C_TYPE_STRING:
		return arena_strdup(o->arena, *(char *const *)at);
	case PROTOBUF_C_TYPE_MESSAGE:
		return write_message(o, *(ProtobufCMessage *const *)at);
	default:
		return NULL;
	}
}

/* ---- uses of options ---- */

/* What a flag's option is when it is false: turned off, where a configuration file may have turned it on. */
static int apply_flag(struct options *o, const struct option_row *row, const ProtobufCFieldDescriptor *field, bool on)
{
	bool is_flag = row->type == OPT_FLAG || row->type == TAKEN_FLAG;

	if (!on && !is_flag)
		return 0;
	return option_apply(o, row, fixed_value(field), !on, FROM);
}

static bool is_given(const CriuOpts *m, const ProtobufCFieldDescriptor *field)
{
	const char *base = (const char *)m;

	if (field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE)
		return *(const void *const *)(base + field->offset) != NULL;
	return *(const protobuf_c_boolean *)(base + field->quantifier_offset);
}

/* An empty text is none, and 0 is none where a number has to be above 0. */
static bool means_nothing(const struct option_row *row, const ProtobufCFieldDescriptor *field, const void *at)
{
	if (field->type == PROTOBUF_C_TYPE_STRING)
		return !**(char *const *)at;
	return (row->type == OPT_PID || (row->type == OPT_UINT && row->min)) && !*(const uint32_t *)at;
}

static int apply_value(struct options *o, const struct option_row *row, const ProtobufCFieldDescriptor *field,
                       const void *at)
{
	const char *value;

	if (field->type == PROTOBUF_C_TYPE_BOOL)
		return apply_flag(o, row, field, *(const protobuf_c_boolean *)at);
	if (means_nothing(row, field, at)) {
		log_info(FROM "%s is empty, as if it were not given", field->name);
		return 0;
	}
	value = write_value(o, row, field, at);
	return value ? option_apply(o, row, value, false, FROM) : -EINVAL;
}

static size_t element_size(const ProtobufCFieldDescriptor *field)
{
	return field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE ? sizeof(void *)
	                                                                                       : sizeof(uint32_t);
}

static int apply_field(struct options *o, const struct option_row *row, const ProtobufCFieldDescriptor *field,
                       const CriuOpts *m)
{
	const char *at = (const char *)m + field->offset, *base = at;
	size_t n = 1;
	int err = 0;

	if (field->label == PROTOBUF_C_LABEL_REPEATED) {
		n = *(const size_t *)((const char *)m + field->quantifier_offset);
		base = *(const char *const *)at;
	} else if (!is_given(m, field)) {
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		int part = apply_value(o, row, field, base + i * element_size(field));

		err = err ?: part;
	}
	return err;
}

int rpc_fields_apply(struct options *o, const CriuOpts *m)
{
	int err = 0;

	for (unsigned i = 0; i < criu_opts__descriptor.n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &criu_opts__descriptor.fields[i];
		const struct option_row *row = rpc_fields_special(field) ? NULL : rpc_fields_option(field);
		int part = row ? apply_field(o, row, field, m) : 0;

		err = err ?: part;
	}
	return err;
}
