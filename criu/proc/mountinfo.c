/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "proc/mountinfo.h"
#include "proc/proc.h"

/* Blanks and the like are written as \040. */
static void unescape_octal(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' &&
		    s[3] <= '7') {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = 0;
}

/* "30 23 0:27 / /dev/shm rw,relatime - tmpfs tmpfs rw,size=24684084k" */
int mountinfo_parse_line(const char *line, size_t len, struct arena *a, struct mount_at *m)
{
	char *copy = arena_alloc(a, len + 1), *path, *end, *type;
	unsigned major, minor;
	int id, parent, at = 0;

	memcpy(copy, line, len);
	if (sscanf(copy, "%d %d %u:%u %n", &id, &parent, &major, &minor, &at) != 4 || !at || major >= 1 << 12 ||
	    minor >= 1 << 20 || id < 0)
		return -EBADMSG;
	path = strchr(copy + at, ' '); /* behind the root inside of the file system */
	end = path ? strchr(path + 1, ' ') : NULL;
	if (!end || path[1] != '/')
		return -EBADMSG;
	*end = 0;
	unescape_octal(++path);
	type = strstr(end + 1, " - "); /* behind options, and fields that not all lines have */
	type = type ? type + 3 : end;
	type[strcspn(type, " ")] = 0;
	*m = (struct mount_at) { .id = id, .s_dev = major << 20 | minor, .path = path, .type = type, .fd = -1 };
	return 0;
}

int mountinfo_read(struct arena *a, struct mount_at **mounts, size_t *n)
{
	_cleanup_free_ char *text = NULL;
	int err = proc_read(AT_FDCWD, "/proc/self/mountinfo", &text, NULL);

	*mounts = NULL;
	*n = 0;
	for (const char *line = text, *end; !err && *line; line = *end ? end + 1 : end) {
		struct mount_at m;

		end = strchrnul(line, '\n');
		if (!mountinfo_parse_line(line, (size_t)(end - line), a, &m))
			arena_push(a, mounts, n, m);
	}
	return err;
}

int mountinfo_mount_id(int dir_fd, const char *path)
{
	struct statx st;

	if (statx(dir_fd, path, AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW, STATX_MNT_ID, &st) ||
	    !(st.stx_mask & STATX_MNT_ID))
		return -ENODATA;
	return (int)st.stx_mnt_id;
}
