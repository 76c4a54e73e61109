/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Most file systems of a container are empty (over /sys/firmware, /dev/shm), and tar(1) for each costs more than to
 * mount it. So an archive of its root directory alone, as criu writes them (pax(1): a header with times, one with the
 * rest), is read here; one with anything else in it is for tar.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <tar.h>
#include <unistd.h>

#include "lib/log.h"
#include "mnt/mnt_lone_root.h"

#define BLOCK 512

struct tar_header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100], magic[TMAGLEN];
	char rest[BLOCK - 263];
};
_Static_assert(sizeof(struct tar_header) == BLOCK, "a header is a block");

/* A number of octal digits that ends within the field; -1: it is written otherwise. */
static long octal_of(const char *field, size_t size)
{
	size_t n = strspn(field, "01234567");

	return n && n < size && (!field[n] || field[n] == ' ') ? strtol(field, NULL, 8) : -1;
}

static bool is_header(const struct tar_header *h, char type)
{
	const unsigned char *bytes = (const unsigned char *)h;
	size_t from = offsetof(struct tar_header, sum), to = from + sizeof(h->sum);
	long sum = 0;

	for (size_t i = 0; i < BLOCK; i++)
		sum += i >= from && i < to ? ' ' : bytes[i];
	return h->type == type && !memcmp(h->magic, TMAGIC, TMAGLEN) && octal_of(h->sum, sizeof(h->sum)) == sum;
}

/* "1796030957.495649104" up to the end of the line. */
static bool read_time(const char *text, struct timespec *ts)
{
	char *end;
	long digit = 100000000;

	*ts = (struct timespec) { .tv_sec = strtol(text, &end, 10) };
	if (end == text || *text == '-')
		return false;
	if (*end == '.')
		for (end++; *end >= '0' && *end <= '9'; end++, digit /= 10)
			ts->tv_nsec += (*end - '0') * digit;
	return *end == '\n';
}

/* The lines of a pax header ("30 mtime=1.5", each with its length) are times and nothing else. text ends with a 0. */
static bool read_times(const char *text, long size, struct lone_root *root)
{
	struct timespec changed, *const times[] = { &root->atime, &root->mtime, &changed };
	static const char *const names[] = { "atime=", "mtime=", "ctime=" };
	unsigned seen = 0;

	while (size > 0) {
		char *word;
		long len = strtol(text, &word, 10);
		size_t i = 0;

		if (len <= word - text || len > size || *word++ != ' ')
			return false;
		while (i < ARRAY_SIZE(names) && strncmp(word, names[i], strlen(names[i])))
			i++;
		if (i == ARRAY_SIZE(names) || !read_time(word + strlen(names[i]), times[i]) || text[len - 1] != '\n')
			return false;
		seen |= 1U << i;
		text += len;
		size -= len;
	}
	return !size && (seen & 3) == 3;
}

static bool is_nothing(const char *bytes, size_t size)
{
	return !size || (!bytes[0] && !memcmp(bytes, bytes + 1, size - 1));
}

bool mnt_lone_root_read(const char *bytes, size_t size, struct lone_root *root)
{
	const struct tar_header *extended = (const void *)bytes, *dir = (const void *)(bytes + (size_t)2 * BLOCK);
	char text[BLOCK + 1] = "";
	long length;

	if (size < (size_t)3 * BLOCK || size % BLOCK || !is_header(extended, 'x') || !is_header(dir, DIRTYPE))
		return false;
	length = octal_of(extended->size, sizeof(extended->size));
	if (length <= 0 || length > BLOCK || strcmp(dir->name, "./"))
		return false;
	memcpy(text, bytes + BLOCK, BLOCK);
	root->mode = octal_of(dir->mode, sizeof(dir->mode));
	root->uid = octal_of(dir->uid, sizeof(dir->uid));
	root->gid = octal_of(dir->gid, sizeof(dir->gid));
	return root->mode >= 0 && root->uid >= 0 && root->gid >= 0 && read_times(text, length, root) &&
	       is_nothing(bytes + (size_t)3 * BLOCK, size - (size_t)3 * BLOCK);
}

int mnt_lone_root_make(const struct lone_root *root, int dir, const char *name)
{
	const struct timespec times[2] = { root->atime, root->mtime };

	if (fchownat(dir, ".", (uid_t)root->uid, (gid_t)root->gid, 0))
		return log_errno(-errno, "%s: fchownat of the root directory to %ld:%ld", name, root->uid, root->gid);
	if (fchmodat(dir, ".", (mode_t)root->mode & 07777, 0))
		return log_errno(-errno, "%s: fchmodat of the root directory to %lo", name, root->mode);
	if (utimensat(dir, ".", times, 0))
		return log_errno(-errno, "%s: utimensat of the root directory", name);
	return 0;
}
