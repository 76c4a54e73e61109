/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The text of a symbolic link: whose answers they are, with a checksum, and a line for each, with a hash of its
 * question. To read a link opens nothing: no program that watches what is opened there, or has to allow it, is asked or
 * told. A link is there as a whole, or not.
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

#define KEPT_LINK  "/run/criu.types"
#define TEXT_SIZE  4096                                 /* of a link, with its end */
#define FIRST_LINE "criu types 1 %012" PRIx64 " %08x\n" /* whose, and the sum of the lines */
#define FIRST_LEN  35
#define LINE       "%012" PRIx64 " %d\n"
#define BITS       48 /* of a hash */

struct btf_kept {
	pthread_mutex_t lock;
	const char *path;
	char text[TEXT_SIZE];
	size_t len; /* of the text with its first line; 0: nothing is kept */
	uint64_t whose;
	bool root, checked, changed;
};

/* lint: global: the kernel is the same for the whole process; what asks is too much to pass it down */
static struct btf_kept *of_process;

/* FNV-1a */
static uint64_t hash_text(const char *text)
{
	uint64_t h = 0xcbf29ce484222325;

	for (; *text; text++)
		h = (h ^ (uint8_t)*text) * 0x100000001b3;
	return (h ^ h >> BITS) & ((1ULL << BITS) - 1);
}

/* Answers of another boot, kernel or criu are not these. 0: that cannot be told here. */
static uint64_t hash_whose(void)
{
	_cleanup_close_ int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	struct stat types, own;
	char boot[40] = "", line[256];

	if (fd < 0 || io_read_all(fd, boot, sizeof(boot) - 1) < 36 || stat("/sys/kernel/btf/vmlinux", &types) ||
	    stat("/proc/self/exe", &own))
		return 0;
	snprintf(line, sizeof(line), "%.36s %jx %jx %jx %jd.%09ld %jx", boot, (uintmax_t)own.st_dev,
	         (uintmax_t)own.st_ino, (uintmax_t)own.st_size, (intmax_t)own.st_mtim.tv_sec, own.st_mtim.tv_nsec,
	         (uintmax_t)types.st_size);
	return hash_text(line);
}

static uint32_t sum_of(const char *text)
{
	return (uint32_t)crc32_z(0, (const unsigned char *)text, strlen(text));
}

static void put_first_line(struct btf_kept *k)
{
	char line[FIRST_LEN + 1];

	snprintf(line, sizeof(line), FIRST_LINE, k->whose, sum_of(k->text + FIRST_LEN));
	memcpy(k->text, line, FIRST_LEN);
}

/* root's alone: nobody else can make a link that is root's. */
static void read_link(struct btf_kept *k)
{
	struct stat st;
	ssize_t n = readlink(k->path, k->text, sizeof(k->text) - 1);

	if (n <= 0)
		return;
	k->text[n] = 0;
	k->len = strlen(k->text) == (size_t)n && !lstat(k->path, &st) && !st.st_uid ? (size_t)n : 0;
}

struct btf_kept *btf_kept_read(const char *path)
{
	struct btf_kept *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	pthread_mutex_init(&k->lock, NULL);
	k->path = path ?: KEPT_LINK;
	k->root = !geteuid();
	if (k->root)
		read_link(k);
	return k;
}

/* When the first question comes: most commands have none. */
static void check_text(struct btf_kept *k)
{
	char read[FIRST_LEN];

	if (k->checked || !k->root)
		return;
	k->checked = true;
	k->whose = hash_whose();
	if (k->len > FIRST_LEN) {
		memcpy(read, k->text, sizeof(read));
		put_first_line(k);
	}
	if (k->len <= FIRST_LEN || memcmp(read, k->text, sizeof(read)) != 0) {
		k->len = FIRST_LEN;
		k->text[FIRST_LEN] = 0;
		put_first_line(k);
	}
	k->root = k->whose != 0;
}

static bool find_answer(const struct btf_kept *k, uint64_t question, int *answer)
{
	char start[16];
	const char *at;

	snprintf(start, sizeof(start), "\n%012" PRIx64 " ", question);
	at = strstr(k->text + FIRST_LEN - 1, start);
	if (at)
		*answer = atoi(at + strlen(start));
	return at != NULL;
}

bool btf_kept_find(struct btf_kept *k, const char *question, int *answer)
{
	bool found;

	pthread_mutex_lock(&k->lock);
	check_text(k);
	found = k->root && find_answer(k, hash_text(question), answer);
	pthread_mutex_unlock(&k->lock);
	return found;
}

/* What has no room is not kept. */
void btf_kept_add(struct btf_kept *k, const char *question, int answer)
{
	char line[40];
	size_t n;

	pthread_mutex_lock(&k->lock);
	check_text(k);
	n = (size_t)snprintf(line, sizeof(line), LINE, hash_text(question), answer);
	if (k->root && k->len + n < sizeof(k->text)) {
		memcpy(k->text + k->len, line, n + 1);
		k->len += n;
		k->changed = true;
	}
	pthread_mutex_unlock(&k->lock);
}

void btf_kept_write(struct btf_kept *k)
{
	char temp[64];

	if (!k->changed || (size_t)snprintf(temp, sizeof(temp), "%s.new", k->path) >= sizeof(temp))
		return;
	put_first_line(k);
	unlink(temp); /* of one that was killed */
	if (!symlink(k->text, temp) && rename(temp, k->path))
		unlink(temp);
}

void btf_kept_free(struct btf_kept *k)
{
	if (!k)
		return;
	pthread_mutex_destroy(&k->lock);
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
