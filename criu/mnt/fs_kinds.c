/* SPDX-License-Identifier: GPL-2.0-only */
/* The types of file systems that are made anew, and the codes that images have for types. */
#include <sched.h>
#include <string.h>

#include "mnt/fs_kind.h"

/* What a kernel shows of itself, not of the mount. */
static const char *const labels[] = { "seclabel", NULL };

const struct fs_kind mnt_tmpfs = { .name = "tmpfs", .code = FSTYPE__TMPFS, .has_contents = true, .not_given = labels };
const struct fs_kind mnt_ramfs = { .name = "ramfs", .code = FSTYPE__AUTO, .has_contents = true, .ours = true };
const struct fs_kind mnt_proc = { .name = "proc", .code = FSTYPE__PROC, .shows_pids = true };
const struct fs_kind mnt_sysfs = {
	.name = "sysfs", .code = FSTYPE__SYSFS, .belongs = CLONE_NEWNET, .not_given = labels
};
const struct fs_kind mnt_devpts = {
	.name = "devpts", .code = FSTYPE__DEVPTS, .extra = "newinstance", .not_given = labels, .made = mnt_devpts_make
};
const struct fs_kind mnt_mqueue = {
	.name = "mqueue", .code = FSTYPE__MQUEUE, .belongs = CLONE_NEWIPC, .not_given = labels
};
const struct fs_kind mnt_cgroup2 = { .name = "cgroup2", .code = FSTYPE__CGROUP2 };
const struct fs_kind mnt_cgroup = { .name = "cgroup", .code = FSTYPE__CGROUP };
const struct fs_kind mnt_overlay = { .name = "overlay", .code = FSTYPE__OVERLAYFS, .late = true };
const struct fs_kind mnt_devtmpfs = { .name = "devtmpfs", .code = FSTYPE__DEVTMPFS, .single = true };
const struct fs_kind mnt_binfmt_misc = { .name = "binfmt_misc", .code = FSTYPE__BINFMT_MISC };
const struct fs_kind mnt_securityfs = { .name = "securityfs", .code = FSTYPE__SECURITYFS, .single = true };
const struct fs_kind mnt_debugfs = { .name = "debugfs", .code = FSTYPE__DEBUGFS, .single = true };
const struct fs_kind mnt_tracefs = { .name = "tracefs", .code = FSTYPE__TRACEFS, .single = true };
const struct fs_kind mnt_pstore = { .name = "pstore", .code = FSTYPE__PSTORE, .single = true };
const struct fs_kind mnt_fusectl = { .name = "fusectl", .code = FSTYPE__FUSECTL, .single = true };

const struct fs_kind mnt_hugetlbfs = { .name = "hugetlbfs",
	                               .code = FSTYPE__AUTO,
	                               .has_contents = true,
	                               .ours = true,
	                               .not_carried = "a file of huge pages",
	                               .not_given = labels };
const struct fs_kind mnt_nsfs = { .name = "nsfs", .code = FSTYPE__AUTO, .ours = true, .late = true };
static const char *const of_bpf[] = { "maps.debug", "progs.debug", NULL };
const struct fs_kind mnt_bpf = { .name = "bpf",
	                         .code = FSTYPE__AUTO,
	                         .has_contents = true,
	                         .ours = true,
	                         .not_carried = "a pinned object of BPF",
	                         .born_with = of_bpf,
	                         .not_given = labels };
const struct fs_kind fs_kind_on_device = { .name = "", .code = FSTYPE__AUTO };

/* Codes of types that have no row. */
static const struct {
	const char *name;
	Fstype code;
} codes[] = {
	{ "aufs", FSTYPE__AUFS },
	{ "fuse", FSTYPE__FUSE },
	{ "autofs", FSTYPE__AUTOFS },
};

const struct fs_kind *fs_kind_by_name(const char *name)
{
	for (const struct fs_kind *const *k = fs_kinds; *k; k++)
		if (!strcmp((*k)->name, name))
			return *k;
	return NULL;
}

const struct fs_kind *fs_kind_of(const MntEntry *e)
{
	if (e->fstype == FSTYPE__AUTO || e->fstype == FSTYPE__UNSUPPORTED)
		return e->fsname ? fs_kind_by_name(e->fsname) : NULL;
	for (const struct fs_kind *const *k = fs_kinds; *k; k++)
		if ((uint32_t)(*k)->code == e->fstype)
			return *k;
	return NULL;
}

Fstype fs_kind_code(const char *name)
{
	const struct fs_kind *k = fs_kind_by_name(name);

	for (size_t i = 0; !k && i < ARRAY_SIZE(codes); i++)
		if (!strncmp(name, codes[i].name, strlen(codes[i].name)))
			return codes[i].code;
	return k ? k->code : FSTYPE__UNSUPPORTED;
}
