/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The file: a line that says what the answers are of, a line for each, and a checksum of all that. It is written in
 * place, so that a criu that is killed leaves no other file; one that is half written has no checksum, and is written
 * anew by the next.
 */
#include "lib/btf_kept.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "lib/io.h"

#define KEPT_FILE     "/run/criu.types"
#define SIZE_MAX_KEPT (64UL << 10)
#define LAST_LINE     "sum %08x\n"

struct btf_kept {
	const char *path;
	char *text; /* the first line and the answers */
	size_t len;
	bool changed;
};

/* Answers of another boot, kernel or criu are not these. false: that cannot be told here. */
static bool say_whose(char *line, size_t size)
{
	_cleanup_close_ int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	struct stat types, own;
	char boot[40] = "";

	if (fd < 0 || io_read_all(fd, boot, sizeof(boot) - 1) < 36 || stat("/sys/kernel/btf/vmlinux", &types) ||
	    stat("/proc/self/exe", &own))
		return false;
	boot[36] = 0;
	snprintf(line, size, "criu types 1 %s %jx %jx %jx %jd.%09ld %jx\n", boot, (uintmax_t)own.st_dev,
	         (uintmax_t)own.st_ino, (uintmax_t)own.st_size, (intmax_t)own.st_mtim.tv_sec, own.st_mtim.tv_nsec,
	         (uintmax_t)types.st_size);
	return true;
}

/* A regular file of root's that nobody else may write. */
static bool is_trusted(int fd)
{
	struct stat st;

	return !fstat(fd, &st) && S_ISREG(st.st_mode) && !st.st_uid && !(st.st_mode & 022) && st.st_nlink == 1 &&
	       st.st_size <= (off_t)SIZE_MAX_KEPT;
}

static uint32_t sum_of(const char *text, size_t len)
{
	return (uint32_t)crc32_z(0, (const unsigned char *)text, len);
}

/* The text up to its last line, which has to be right, if the first one is `whose`. */
static size_t whole_text(const char *text, size_t len, const char *whose)
{
	const char *last = len ? memrchr(text, '\n', len - 1) : NULL;
	char line[32];

	if (!last || memchr(text, 0, len) || strncmp(text, whose, strlen(whose)) != 0)
		return 0;
	last++;
	snprintf(line, sizeof(line), LAST_LINE, sum_of(text, (size_t)(last - text)));
	return strlen(line) == len - (size_t)(last - text) && !memcmp(last, line, strlen(line)) ? (size_t)(last - text)
	                                                                                        : 0;
}

struct btf_kept *btf_kept_read(const char *path)
{
	struct btf_kept *k = calloc(1, sizeof(*k));
	char *text = calloc(1, SIZE_MAX_KEPT + 1), whose[256];
	_cleanup_close_ int fd = -1;
	ssize_t n = 0;

	if (!k || !text || geteuid() || !say_whose(whose, sizeof(whose))) {
		free(text);
		return k;
	}
	k->path = path ?: KEPT_FILE;
	k->text = text;
	fd = open(k->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && is_trusted(fd))
		n = io_read_all(fd, text, SIZE_MAX_KEPT);
	k->len = n > 0 ? whole_text(text, (size_t)n, whose) : 0;
	if (!k->len)
		k->len = (size_t)snprintf(text, SIZE_MAX_KEPT, "%s", whose);
	text[k->len] = 0;
	return k;
}

bool btf_kept_find(const struct btf_kept *k, const char *question, int *answer)
{
	size_t len = strlen(question);

	for (const char *at = k->text; at && (at = strstr(at, question)); at += len) {
		char *end = NULL;
		long n = at > k->text && at[-1] == '\n' && at[len] == ' ' ? strtol(at + len, &end, 10) : 0;

		if (end && *end == '\n') {
			*answer = (int)n;
			return true;
		}
	}
	return false;
}

void btf_kept_add(struct btf_kept *k, const char *question, int answer)
{
	size_t room = SIZE_MAX_KEPT - 64 - k->len; /* and a last line */
	int n = k->text ? snprintf(k->text + k->len, room, "%s %d\n", question, answer) : 0;

	if (n <= 0 || (size_t)n >= room) {
		if (k->text)
			k->text[k->len] = 0;
		return;
	}
	k->len += (size_t)n;
	k->changed = true;
}

void btf_kept_write(const struct btf_kept *k)
{
	_cleanup_close_ int fd = -1;
	char line[32];

	if (!k->changed)
		return;
	fd = open(k->path, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	if (fd < 0 || !is_trusted(fd) || ftruncate(fd, 0))
		return;
	snprintf(line, sizeof(line), LAST_LINE, sum_of(k->text, k->len));
	if (io_write_all(fd, k->text, k->len) || io_write_all(fd, line, strlen(line)))
		(void)!ftruncate(fd, 0);
}

void btf_kept_free(struct btf_kept *k)
{
	if (!k)
		return;
	free(k->text);
	free(k);
}
