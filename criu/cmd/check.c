/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * criu check: what the kernel and this sandbox let criu do, found out by doing it, never from a version. What is
 * asked for and how it ends are as in CRIU's manual: category 1 alone, or those that --extra, --experimental, --all and
 * --feature name.
 */
#include <linux/capability.h>
#include <string.h>

#include "cmd/cmd.h"
#include "lib/log.h"
#include "probe/probe.h"
#include "proc/own_rights.h"

/* What is missing of each class: how many. */
struct missing {
	unsigned n[FEATURE_NAMED + 1];
	int err; /* the first */
};

/* What most programs need nothing of, but others do. */
static const struct right {
	unsigned cap;
	const char *name, *what;
} rights[] = {
	{ CAP_SYS_PTRACE, "cap_sys_ptrace", "tasks of other users, not dumpable, or with more capabilities" },
	{ CAP_SYS_ADMIN, "cap_sys_admin", "seccomp filters" },
	{ CAP_NET_ADMIN, "cap_net_admin", "TCP connections" },
	{ CAP_SETUID, "cap_setuid", "tasks with other user ids" },
	{ CAP_SETGID, "cap_setgid", "tasks with other groups" },
	{ CAP_SETPCAP, "cap_setpcap", "securebits, bounding sets" },
	{ CAP_DAC_OVERRIDE, "cap_dac_override", "files that only root may open, tasks that are not dumpable" },
};

/* The capabilities that criu is without, with what each is for; NULL: it has all of them. */
static const char *rights_missing(struct arena *a, const struct own_rights *own)
{
	const char *text = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(rights); i++)
		if (!(own->status.cap_eff & 1ULL << rights[i].cap))
			text = arena_printf(a, "%s%s%s (%s)", text ?: "", text ? ", " : "", rights[i].name,
			                    rights[i].what);
	return text;
}

/* Who runs criu, what that user may not do, and the way out. bad: something is missing that every checkpoint needs. */
static void say_rights(bool bad)
{
	const uint64_t either = 1ULL << CAP_CHECKPOINT_RESTORE | 1ULL << CAP_SYS_ADMIN;
	struct arena *a = arena_new();
	struct own_rights own;
	const char *missing;

	if (!a || own_rights_read(a, &own)) {
		arena_free(a);
		return;
	}
	missing = rights_missing(a, &own);
	if (bad && !(own.status.cap_eff & either))
		log_errno(0,
		          "criu runs as user %u without cap_checkpoint_restore: run it as root, or give its file "
		          "that capability: setcap cap_checkpoint_restore,cap_sys_ptrace+ep \"$(command -v criu)\"",
		          own.status.uid[1]);
	else if (bad && !(own.caps_at_birth & either))
		log_errno(0,
		          "criu runs as user %u, and what it starts has no cap_checkpoint_restore: securebits %#x or "
		          "the bounding set keep it from being inherited: run criu as root, or without them",
		          own.status.uid[1], own.securebits);
	if (missing)
		log_warn("criu runs as user %u without %s: trees that need that are refused", own.status.uid[1],
		         missing);
	arena_free(a);
}

static void check_feature(enum feature feature, struct missing *missing)
{
	const struct feature_row *row = &probe_features[feature];
	int err = probe_try(feature);

	if (!err) {
		log_info("%s: available", row->name);
		return;
	}
	if (row->class == FEATURE_NAMED)
		log_info("%s is missing: %s: %s", row->name, row->purpose, strerrordesc_np(-err));
	missing->n[row->class]++;
	missing->err = missing->err ?: err;
	if (row->class == FEATURE_REQUIRED)
		log_errno(err, "%s is missing, which every checkpoint needs: %s", row->name, row->purpose);
	else if (row->class != FEATURE_NAMED)
		log_warn("%s is missing: %s: %s", row->name, row->purpose, strerrordesc_np(-err));
}

static int unknown_feature(const char *name)
{
	return log_errno(-EINVAL, "unknown feature %s; --feature list names the known ones", name);
}

/* Only what --feature names; what is missing then is missing, whatever its class. */
static int check_named(const struct options *o)
{
	struct missing missing = { 0 };

	for (size_t i = 0; i < o->n_features; i++) {
		int feature = probe_by_name(o->features[i]);

		if (feature < 0)
			return unknown_feature(o->features[i]);
		check_feature((enum feature)feature, &missing);
	}
	log_msg("%s", missing.err ? "Does not look good." : "Looks good.");
	return missing.err;
}

static void list_features(void)
{
	for (int i = 0; i < FEATURE_COUNT; i++)
		log_msg("%s", probe_features[i].name);
}

static bool is_class_wanted(const struct options *o, enum feature_class class)
{
	return class == FEATURE_REQUIRED || (class != FEATURE_NAMED && o->check_all) ||
	       (class == FEATURE_EXTRA && o->check_extra) || (class == FEATURE_EXPERIMENTAL && o->check_experimental);
}

int cmd_check(const struct options *o, struct stages *stages)
{
	struct missing missing = { 0 };

	if (o->n_features == 1 && strcmp(o->features[0], "list") == 0) {
		list_features();
		return 0;
	}
	if (o->n_features)
		return check_named(o);
	for (int i = 0; i < FEATURE_COUNT; i++)
		if (is_class_wanted(o, probe_features[i].class))
			check_feature((enum feature)i, &missing);
	say_rights(missing.n[FEATURE_REQUIRED]);
	if (missing.n[FEATURE_REQUIRED]) {
		log_msg("Does not look good.");
	} else if (missing.err) {
		log_msg("Looks good but some kernel features are missing");
		log_msg("which, depending on your process tree, may cause");
		log_msg("dump or restore failure.");
	} else {
		log_msg("Looks good.");
	}
	return missing.err;
}
