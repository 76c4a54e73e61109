/* SPDX-License-Identifier: GPL-2.0-only */
/* Giving a property of a cgroup its value. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "cgroup/cgroup_props.h"
#include "proc/proc.h"

int cgroup_prop_read(int dir, const char *name, char **value)
{
	size_t len;
	int err = proc_read(dir, name, value, &len);

	while (!err && len && (*value)[len - 1] == '\n')
		(*value)[--len] = '\0';
	return err;
}

static int write_file(int dir, const char *name, const char *text, size_t len)
{
	_cleanup_close_ int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, text, len) < 0 ? -errno : 1;
}

/* Whether a list has an item of this length; separators end items. */
static bool has_item(const char *list, const char *item, size_t len, const char *separators)
{
	while (*list) {
		size_t n = strcspn(list, separators);

		if (n == len && !memcmp(list, item, len))
			return true;
		list += n + (list[n] != '\0');
	}
	return false;
}

/* Writes each item of a list that the other list has not, behind a prefix. 1: something was written. */
static int write_items(int dir, const char *name, const char *list, const char *other, const char *separators,
                       const char *prefix, const char *suffix)
{
	char text[4096];
	int changed = 0;

	while (*list) {
		size_t n = strcspn(list, separators);

		if (n && !has_item(other, list, n, separators)) {
			int len = snprintf(text, sizeof(text), "%s%.*s%s", prefix, (int)n, list, suffix);
			int err = len < (int)sizeof(text) ? write_file(dir, name, text, (size_t)len) : -E2BIG;

			if (err < 0)
				return err;
			changed = 1;
		}
		list += n + (list[n] != '\0');
	}
	return changed;
}

#define ALL_DEVICES "a *:* rwm"

/* What is allowed: all, or nothing, and exceptions from that, which the list shows in the second case alone. */
static int write_devices(int dir, const char *now, const char *wanted)
{
	int denied, allowed;

	if (!strcmp(now, wanted))
		return 0;
	if (has_item(wanted, ALL_DEVICES, strlen(ALL_DEVICES), "\n"))
		return write_file(dir, "devices.allow", "a", 1);
	if (has_item(now, ALL_DEVICES, strlen(ALL_DEVICES), "\n")) {
		denied = write_file(dir, "devices.deny", "a", 1);
		now = "";
	} else {
		denied = write_items(dir, "devices.deny", now, wanted, "\n", "", "");
	}
	allowed = denied < 0 ? denied : write_items(dir, "devices.allow", wanted, now, "\n", "", "");
	return allowed < 0 ? allowed : denied || allowed;
}

/* Those that are handed on and are not to be, then the others. */
static int write_controllers(int dir, const char *name, const char *now, const char *wanted)
{
	int less = write_items(dir, name, now, wanted, " ", "-", "");
	int more = less < 0 ? less : write_items(dir, name, wanted, now, " ", "+", "");

	return more < 0 ? more : less || more;
}

/* "oom_kill_disable 1\n..." is read, "1" written. */
static const char *oom_number(char *text)
{
	static const char word[] = "oom_kill_disable ";
	char *number = strncmp(text, word, strlen(word)) ? text : text + strlen(word);

	number[strcspn(number, "\n")] = '\0';
	return number;
}

static int write_list(int dir, const char *name, const char *now, const char *wanted)
{
	int gone = 0, here;

	if (!strcmp(now, wanted))
		return 0;
	if (!strncmp(name, "blkio.throttle.", 15)) {
		char device[64] = "";

		for (const char *l = now; *l && gone >= 0; l += strcspn(l, "\n"), l += *l != '\0') {
			int len = snprintf(device, sizeof(device), "%.*s 0", (int)strcspn(l, " \n"), l);

			/* A line that has another value is written anew. */
			if (!has_item(wanted, l, strcspn(l, "\n"), "\n"))
				gone = write_file(dir, name, device, (size_t)len);
		}
	} else if (!*wanted) {
		return write_file(dir, name, "\n", 1);
	}
	here = gone < 0 ? gone : write_items(dir, name, wanted, now, "\n", "", "");
	return here < 0 ? here : gone || here;
}

int cgroup_prop_write(int dir, const char *name, const char *value)
{
	_cleanup_free_ char *now = NULL, *copy = NULL;
	int err = cgroup_prop_read(dir, name, &now);

	if (err)
		return err;
	if (!strcmp(name, "devices.list"))
		return write_devices(dir, now, value);
	if (!strcmp(name, "cgroup.subtree_control"))
		return write_controllers(dir, name, now, value);
	/* The other types come of what is above and below. */
	if (!strcmp(name, "cgroup.type"))
		return strcmp(value, "threaded") ? 0 : write_list(dir, name, now, value);
	if (strcmp(name, "memory.oom_control"))
		return write_list(dir, name, now, value);
	copy = strdup(value);
	return copy ? write_list(dir, name, oom_number(now), oom_number(copy)) : -ENOMEM;
}

int cgroup_perms_write(int dir, const char *name, const CgroupPerms *perms)
{
	struct stat st;
	int changed = 0;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
		return -errno;
	if (st.st_uid != perms->uid || st.st_gid != perms->gid) {
		if (fchownat(dir, name, perms->uid, perms->gid, AT_SYMLINK_NOFOLLOW))
			return -errno;
		changed = 1;
	}
	if ((st.st_mode ^ perms->mode) & 07777) {
		if (fchmodat(dir, name, perms->mode & 07777, 0))
			return -errno;
		changed = 1;
	}
	return changed;
}
