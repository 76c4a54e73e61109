/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/lookup.h"
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

/* The next field of a line, which ends at a blank; "" at the end. */
static char *next_field(char **at)
{
	char *field = *at, *end = strchrnul(field, ' ');

	*at = *end ? end + 1 : end;
	*end = 0;
	return field;
}

/* "shared:4 master:2 unbindable -" */
static void parse_propagation(char **at, struct mount_at *m)
{
	char *field;

	while (*(field = next_field(at)) && strcmp(field, "-")) {
		if (!strcmp(field, "unbindable"))
			m->unbindable = true;
		else if (sscanf(field, "shared:%d", &m->shared) != 1)
			sscanf(field, "master:%d", &m->master);
	}
}

/* "30 23 0:27 / /dev/shm rw,relatime shared:4 - tmpfs tmpfs rw,size=24684084k" */
int mountinfo_parse_line(const char *line, size_t len, struct arena *a, struct mount_at *m)
{
	char *at = arena_alloc(a, len + 1), *root, *path, *type, *source;
	unsigned major, minor;
	int id, parent, n = 0;

	memcpy(at, line, len);
	if (sscanf(at, "%d %d %u:%u %n", &id, &parent, &major, &minor, &n) != 4 || !n || major >= 1 << 12 ||
	    minor >= 1 << 20 || id < 0)
		return -EBADMSG;
	at += n;
	root = next_field(&at);
	path = next_field(&at);
	if (path[0] != '/')
		return -EBADMSG;
	*m = (struct mount_at) { .id = id, .parent = parent, .s_dev = major << 20 | minor, .fd = -1 };
	m->flags = next_field(&at);
	parse_propagation(&at, m);
	type = next_field(&at);
	source = next_field(&at);
	m->options = at;
	unescape_octal(root);
	unescape_octal(path);
	unescape_octal(source);
	unescape_octal(at);
	m->root = root;
	m->path = path;
	m->type = type;
	m->source = source;
	return 0;
}

int mountinfo_read(struct arena *a, struct mount_at **mounts, size_t *n)
{
	const struct lookup_root *root = lookup_now();
	_cleanup_free_ char *text = NULL;
	int err =
	    root ? proc_read_again(root->mounts, &text) : proc_read(AT_FDCWD, "/proc/self/mountinfo", &text, NULL);

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

	if (dir_fd == AT_FDCWD)
		path = lookup_path(path);
	if (statx(dir_fd, path, AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW, STATX_MNT_ID, &st) ||
	    !(st.stx_mask & STATX_MNT_ID))
		return -ENODATA;
	return (int)st.stx_mnt_id;
}

const char *mountinfo_below(const char *path, const char *top)
{
	size_t n = strcmp(top, "/") ? strlen(top) : 0;

	if (strncmp(path, top, n) || (path[n] && path[n] != '/'))
		return NULL;
	return path + n + strspn(path + n, "/");
}
