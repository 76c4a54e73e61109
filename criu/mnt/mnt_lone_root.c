/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Most file systems of a container are empty (over /sys/firmware, /dev/shm), and tar(1) for each costs more than to
 * mount it. So an archive of its root directory alone, as tar makes them (pax(1): a header with times, one with the
 * rest), is written and read here; one with anything else in it is for tar.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <tar.h>
#include <unistd.h>

#include "lib/log.h"
#include "mnt/mnt_lone_root.h"

#define BLOCK 512

struct tar_header {
	char name[100], mode[8], uid[8], gid[8], size[12], mtime[12], sum[8], type, link[100], magic[TMAGLEN];
	char version[TVERSLEN], rest[BLOCK - 265];
};
_Static_assert(sizeof(struct tar_header) == BLOCK, "a header is a block");

/* ---- dump ---- */

/* Without a change of its time of access, or not at all. */
static bool has_nothing_in_it(int at)
{
	int fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_NOATIME | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	bool nothing;

	if (!dir) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	errno = 0;
	while ((e = readdir(dir)) && (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")))
		;
	nothing = !e && !errno;
	closedir(dir);
	return nothing;
}

static bool has_attributes(int dir)
{
	char path[40];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", dir);
	n = listxattr(path, NULL, 0);
	return n > 0 || (n < 0 && errno != ENOTSUP);
}

/* Octal digits that fill the field but for its last byte. */
static void put_octal(char *field, size_t size, uint64_t value)
{
	field[--size] = 0;
	for (; size; value >>= 3)
		field[--size] = (char)('0' + (value & 7));
}

static void put_header(char *block, char type, const char *name, size_t size, const struct stat *st)
{
	struct tar_header *h = (void *)block;
	unsigned long sum = 0;

	snprintf(h->name, sizeof(h->name), "%s", name);
	put_octal(h->mode, sizeof(h->mode), type == DIRTYPE ? st->st_mode & 07777 : 0644);
	put_octal(h->uid, sizeof(h->uid), type == DIRTYPE ? st->st_uid : 0);
	put_octal(h->gid, sizeof(h->gid), type == DIRTYPE ? st->st_gid : 0);
	put_octal(h->size, sizeof(h->size), size);
	put_octal(h->mtime, sizeof(h->mtime), (uint64_t)st->st_mtim.tv_sec);
	h->type = type;
	memcpy(h->magic, TMAGIC, TMAGLEN);
	memcpy(h->version, TVERSION, TVERSLEN);
	memset(h->sum, ' ', sizeof(h->sum));
	for (size_t i = 0; i < BLOCK; i++)
		sum += (unsigned char)block[i];
	put_octal(h->sum, sizeof(h->sum) - 1, sum);
}

/* A line of a pax header begins with its own length. Returns the end of the text. */
static char *put_time(char *text, const char *name, const struct timespec *ts)
{
	char line[64];
	size_t len = (size_t)snprintf(line, sizeof(line), " %s=%ld.%09ld\n", name, ts->tv_sec, ts->tv_nsec) + 2;

	return text + sprintf(text, "%zu%s", len, line);
}

bool mnt_lone_root_write(int dir, char *bytes)
{
	const uid_t most = 07777777; /* of the digits of a header */
	struct stat st;
	char *end;

	if (fstat(dir, &st) || st.st_uid > most || st.st_gid > most || st.st_mtim.tv_sec < 0 || st.st_atim.tv_sec < 0 ||
	    st.st_mtim.tv_sec >> 33 || has_attributes(dir) || !has_nothing_in_it(dir))
		return false;
	memset(bytes, 0, LONE_ROOT_BYTES);
	end = put_time(bytes + BLOCK, "mtime", &st.st_mtim);
	end = put_time(end, "atime", &st.st_atim);
	end = put_time(end, "ctime", &st.st_ctim);
	put_header(bytes, 'x', "./PaxHeaders/.", (size_t)(end - bytes - BLOCK), &st);
	put_header(bytes + (size_t)2 * BLOCK, DIRTYPE, "./", 0, &st);
	return true;
}

/* ---- restore ---- */

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
