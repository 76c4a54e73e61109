/* SPDX-License-Identifier: GPL-2.0-only */
#include "task/lsm_label.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "common.h"

#define UNCONFINED "unconfined"

static FILE *open_in(const char *sys, const char *name, const char *mode)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", sys, name);
	return fopen(path, mode);
}

/* The first byte of a file, or 0. */
static int first_of(const char *sys, const char *name)
{
	FILE *f = open_in(sys, name, "re");
	int c = f ? fgetc(f) : 0;

	if (f)
		fclose(f);
	return c > 0 ? c : 0;
}

Lsmtype lsm_label_host_type(const char *sys)
{
	if (first_of(sys, "module/apparmor/parameters/enabled") == 'Y')
		return LSMTYPE__APPARMOR;
	return first_of(sys, "fs/selinux/enforce") ? LSMTYPE__SELINUX : LSMTYPE__NO_LSM;
}

const char *lsm_label_type_name(Lsmtype type)
{
	return type == LSMTYPE__APPARMOR ? "AppArmor" : type == LSMTYPE__SELINUX ? "SELinux" : "no security module";
}

const char *lsm_label_parse(struct arena *a, Lsmtype type, const char *text)
{
	char *label = arena_strdup(a, text);
	size_t len = strcspn(label, "\n");
	char *mode;

	label[len] = 0;
	if (type == LSMTYPE__APPARMOR) {
		/* "docker-default (enforce)"; a name may have blanks and parentheses of its own. */
		mode = len && label[len - 1] == ')' ? strrchr(label, '(') : NULL;
		if (mode > label && mode[-1] == ' ')
			mode[-1] = 0;
		if (!strcmp(label, UNCONFINED))
			return NULL;
	}
	return *label && type != LSMTYPE__NO_LSM ? label : NULL;
}

const char *lsm_label_to_write(struct arena *a, Lsmtype type, const char *label)
{
	size_t size = strlen(label) + sizeof("changeprofile ");
	char *text = arena_alloc(a, size);

	snprintf(text, size, "%s%s", type == LSMTYPE__APPARMOR ? "changeprofile " : "", label);
	return text;
}

/* In a list of "NAME (MODE)". Stacks and names in other namespaces are not in it as such. */
static int find_profile(const char *sys, const char *label)
{
	FILE *f = open_in(sys, "kernel/security/apparmor/profiles", "re");
	char line[4096];
	size_t len = strlen(label);
	int err = f && *label != ':' && !strstr(label, "//&") && strcmp(label, UNCONFINED) != 0 ? -ENOENT : 0;

	while (err && fgets(line, sizeof(line), f))
		if (!strncmp(line, label, len) && !strncmp(line + len, " (", 2))
			err = 0;
	if (f)
		fclose(f);
	return err;
}

/* The kernel itself says whether a context is valid. */
static int ask_selinux(const char *sys, const char *label)
{
	char path[256];
	_cleanup_close_ int fd = -1;

	snprintf(path, sizeof(path), "%s/fs/selinux/context", sys);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return 0;
	return write(fd, label, strlen(label) + 1) < 0 ? -errno : 0;
}

int lsm_label_is_known(const char *sys, Lsmtype type, const char *label)
{
	return type == LSMTYPE__APPARMOR ? find_profile(sys, label) : ask_selinux(sys, label);
}

int lsm_label_parse_option(const char *text, Lsmtype *type, const char **name)
{
	const char *colon = strchr(text, ':');
	size_t len = colon ? (size_t)(colon - text) : 0;

	if (!colon || !colon[1])
		return -EINVAL;
	*name = colon + 1;
	if (len == 8 && !strncmp(text, "apparmor", len))
		*type = LSMTYPE__APPARMOR;
	else if (len == 7 && !strncmp(text, "selinux", len))
		*type = LSMTYPE__SELINUX;
	else
		return -EINVAL;
	return 0;
}
