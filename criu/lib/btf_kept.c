/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The file: a line that says what the answers are of, a line for each, and a checksum of all that. It is written in
 * place, so that a criu that is killed leaves no other file; one that is half written has no checksum, and is written
 * anew by the next.
 */
#include "lib/btf_kept.h"

#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
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
	pthread_mutex_t lock;
	const char *path;
	char *text; /* the first line and the answers; NULL: nothing is kept */
	size_t len;
	bool checked, changed;
};

/* lint: global: the kernel is the same for the whole process; what asks is too much to pass it down */
static struct btf_kept *of_process;

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
	_cleanup_close_ int fd = -1;
	ssize_t n = 0;

	if (!k)
		return NULL;
	pthread_mutex_init(&k->lock, NULL);
	k->path = path ?: KEPT_FILE;
	k->text = geteuid() ? NULL : calloc(1, SIZE_MAX_KEPT + 1);
	if (!k->text)
		return k;
	fd = open(k->path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && is_trusted(fd))
		n = io_read_all(fd, k->text, SIZE_MAX_KEPT);
	k->len = n > 0 ? (size_t)n : 0;
	return k;
}

/* When the first question comes: most commands have none. */
static void check_text(struct btf_kept *k)
{
	char whose[256];

	if (k->checked || !k->text)
		return;
	k->checked = true;
	if (!say_whose(whose, sizeof(whose))) {
		free(move_ptr(k->text));
		return;
	}
	k->len = whole_text(k->text, k->len, whose);
	if (!k->len)
		k->len = (size_t)snprintf(k->text, SIZE_MAX_KEPT, "%s", whose);
	k->text[k->len] = 0;
}

static bool find_answer(const struct btf_kept *k, const char *question, int *answer)
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

bool btf_kept_find(struct btf_kept *k, const char *question, int *answer)
{
	bool found;

	pthread_mutex_lock(&k->lock);
	check_text(k);
	found = find_answer(k, question, answer);
	pthread_mutex_unlock(&k->lock);
	return found;
}

void btf_kept_add(struct btf_kept *k, const char *question, int answer)
{
	size_t room;
	int n;

	pthread_mutex_lock(&k->lock);
	check_text(k);
	room = SIZE_MAX_KEPT - 64 - k->len; /* and a last line */
	n = k->text ? snprintf(k->text + k->len, room, "%s %d\n", question, answer) : 0;
	if (n > 0 && (size_t)n < room) {
		k->len += (size_t)n;
		k->changed = true;
	} else if (k->text) {
		k->text[k->len] = 0;
	}
	pthread_mutex_unlock(&k->lock);
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
	pthread_mutex_destroy(&k->lock);
	free(k->text);
	free(k);
}

/* ---- those of the process ---- */

void btf_kept_begin(void)
{
	of_process = of_process ?: btf_kept_read(NULL);
}

struct btf_kept *btf_kept_of_process(void)
{
	return of_process;
}

void btf_kept_end(bool write)
{
	if (of_process && write)
		btf_kept_write(of_process);
	btf_kept_free(move_ptr(of_process));
}
