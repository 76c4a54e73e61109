/* SPDX-License-Identifier: GPL-2.0-only */
#include <ctype.h>
#include <fcntl.h>
#include <string.h>

#include "path/fhandle.h"
#include "lib/log.h"
#include "lib/lookup.h"

/* As many words as CRIU expects. */
#define WORDS FH_ENTRY_SIZES__min_entries

int fhandle_init(struct fhandles *h, struct arena *a)
{
	int err = mountinfo_read(a, &h->mounts, &h->n);

	return err ? log_errno(err, "read of /proc/self/mountinfo") : 0;
}

void fhandle_close(struct fhandles *h)
{
	for (size_t i = 0; i < h->n; i++) {
		if (h->mounts[i].fd >= 0)
			close(h->mounts[i].fd);
		h->mounts[i].fd = -1;
	}
}

static int hex_digit(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

FhEntry *fhandle_parse(struct arena *a, const char *line, size_t len)
{
	FhEntry *fh = arena_msg(a, FhEntry, fh_entry);
	char *copy = arena_alloc(a, len + 1), *at;
	unsigned bytes, type;
	uint8_t *to;
	int skip = 0;

	memcpy(copy, line, len);
	fh->n_handle = WORDS;
	fh->handle = arena_array(a, uint64_t, WORDS);
	to = (uint8_t *)fh->handle;
	at = strstr(copy, "fhandle-bytes:");
	if (!at)
		return fh;
	if (sscanf(at, "fhandle-bytes:%x fhandle-type:%x f_handle:%n", &bytes, &type, &skip) != 2 || !skip ||
	    bytes > MAX_HANDLE_SZ)
		return NULL;
	at += skip;
	for (unsigned i = 0; i < bytes; i++, at += 2) {
		int high = hex_digit(at[0]), low = high < 0 ? -1 : hex_digit(at[1]);

		if (low < 0)
			return NULL;
		to[i] = (uint8_t)(high << 4 | low);
	}
	fh->bytes = bytes;
	fh->type = type;
	return fh;
}

/* A directory of the mount, not with O_PATH: open_by_handle_at(2) refuses that. */
static int open_mount(struct mount_at *m)
{
	if (m->fd < 0)
		m->fd = lookup_open(m->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NONBLOCK, 0);
	if (m->fd < 0)
		return -errno;
	return mountinfo_mount_id(m->fd, "") == m->id ? 0 : -EXDEV; /* another mount lies over it */
}

int fhandle_open(struct fhandles *h, uint32_t s_dev, const FhEntry *fh, size_t *from)
{
	union {
		struct file_handle fh;
		uint8_t bytes[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u;
	int err = -ENOENT;

	if (!fh->bytes || fh->bytes > MAX_HANDLE_SZ || fh->bytes > fh->n_handle * sizeof(*fh->handle))
		return -EOPNOTSUPP;
	u.fh.handle_bytes = fh->bytes;
	u.fh.handle_type = (int)fh->type;
	memcpy(u.bytes + offsetof(struct file_handle, f_handle), fh->handle, fh->bytes);
	while (*from < h->n) {
		struct mount_at *m = &h->mounts[(*from)++];
		int fd;

		if (m->s_dev != s_dev || open_mount(m))
			continue;
		fd = open_by_handle_at(m->fd, &u.fh, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (fd >= 0)
			return fd;
		err = -errno;
	}
	return err;
}
