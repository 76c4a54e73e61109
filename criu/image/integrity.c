/* SPDX-License-Identifier: GPL-2.0-only */
/*
 *	checkpoint-sums 1
 *	inventory.img 86 1c291ca3
 *	pages-1.img 1146880 -
 *	pagemap-812.img 280 @0c5e1f7b
 *	end 2 5d4a1185
 *
 * The last line counts the files and has the checksum of all lines before it. No line follows it.
 */
#include "image/integrity.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "lib/io.h"
#include "lib/log.h"

#define FIRST_LINE "checkpoint-sums 1\n"
#define FILE_MAX   (64UL << 20)
#define CHECK_STEP (256UL << 10)
#define KEEP_MAX   (1UL << 20)

static int PRINTF(4, 5) because(int err, char *why, size_t why_size, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(why, why_size, fmt, args);
	va_end(args);
	return err;
}

struct sums *integrity_new(void)
{
	return calloc(1, sizeof(struct sums));
}

void integrity_free(struct sums *sums)
{
	struct sum *sum, *next;

	if (!sums)
		return;
	HASH_ITER(hh, sums->all, sum, next)
	{
		HASH_DEL(sums->all, sum);
		free(sum->name);
		free(sum->kept);
		free(sum);
	}
	free(sums);
}

static void cleanup_sums(struct sums **sums)
{
	integrity_free(*sums);
}

struct sum *integrity_find(const struct sums *sums, const char *name)
{
	struct sum *sum;

	HASH_FIND_STR(sums->all, name, sum);
	return sum;
}

struct sum *integrity_add(struct sums *sums, const char *name)
{
	struct sum *sum = integrity_find(sums, name);

	if (!sum) {
		sum = calloc(1, sizeof(*sum));
		if (!sum)
			return NULL;
		sum->name = strdup(name);
		if (!sum->name) {
			free(sum);
			return NULL;
		}
		HASH_ADD_KEYPTR(hh, sums->all, sum->name, strlen(sum->name), sum);
	}
	sum->size = 0;
	sum->crc = 0;
	sum->size_only = sum->sent = false;
	sum->state = SUM_OPEN;
	return sum;
}

static int end_line(char *line, size_t size, unsigned count, const char *text, size_t len)
{
	return snprintf(line, size, "end %u %08lx\n", count, crc32_z(0, (const unsigned char *)text, len));
}

int integrity_write_to(const struct sums *sums, int fd, const char *name)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_fclose_ FILE *f = NULL;
	struct sum *sum;
	char line[64];
	size_t len;
	int err;

	f = open_memstream(&text, &len);
	if (!f)
		return log_errno(-ENOMEM, "%s", name);
	fputs(FIRST_LINE, f);
	for (sum = sums->all; sum; sum = sum->hh.next) {
		fprintf(f, "%s %" PRIu64, sum->name, sum->size);
		if (sum->size_only)
			fputs(" -\n", f);
		else
			fprintf(f, " %s%08x\n", sum->sent ? "@" : "", sum->crc);
	}
	if (fflush(f))
		return log_errno(-ENOMEM, "%s", name);
	end_line(line, sizeof(line), HASH_COUNT(sums->all), text, len);
	if (fputs(line, f) < 0 || fflush(f))
		return log_errno(-ENOMEM, "%s", name);
	err = io_write_all(fd, text, len);
	return err ? log_errno(err, "%s: write", name) : 0;
}

int integrity_write(const struct sums *sums, int dirfd, const char *temp, const char *name)
{
	_cleanup_close_ int fd = openat(dirfd, temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int err = fd < 0 ? log_errno(-errno, "%s: openat", temp) : integrity_write_to(sums, fd, temp);

	if (err)
		return err;
	if (renameat(dirfd, temp, dirfd, name) < 0)
		return log_errno(-errno, "%s: rename to %s", temp, name);
	return 0;
}

/* The whole file, with a zero byte behind it. */
static int read_text(int fd, char **textp, size_t *lenp, char *why, size_t why_size)
{
	_cleanup_free_ char *text = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return because(fd, why, why_size, "cannot be opened");
	if (fstat(fd, &st) < 0)
		return because(-errno, why, why_size, "cannot be looked at");
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > FILE_MAX)
		return because(-EBADMSG, why, why_size, "is no regular file or too large");
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		return because(-ENOMEM, why, why_size, "has no place in memory");
	n = io_read_all(fd, text, (size_t)st.st_size);
	if (n < st.st_size)
		return because(n < 0 ? (int)n : -EBADMSG, why, why_size, "cannot be read");
	text[n] = '\0';
	*textp = move_ptr(text);
	*lenp = (size_t)n;
	return 0;
}

/* One "name size checksum" line, its newline already replaced by a zero byte. */
static bool parse_sum_line(struct sums *sums, char *line)
{
	char *save = NULL, *name = strtok_r(line, " ", &save), *size = strtok_r(NULL, " ", &save);
	char *crc = strtok_r(NULL, " ", &save), *end;
	struct sum *sum;

	if (!crc || strtok_r(NULL, " ", &save) || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, ".."))
		return false;
	if (integrity_find(sums, name))
		return false;
	sum = integrity_add(sums, name);
	if (!sum)
		return false;
	errno = 0;
	sum->size = strtoull(size, &end, 10);
	if (*end || errno)
		return false;
	sum->state = SUM_DONE;
	sum->size_only = !strcmp(crc, "-");
	if (sum->size_only)
		return true;
	sum->sent = *crc == '@';
	sum->crc = (uint32_t)strtoul(crc + sum->sent, &end, 16);
	return !*end && !errno;
}

/* Where the last line starts, when it is what it has to be; NULL otherwise. Compared as text: nothing in it may differ.
 */
static char *find_end(char *text, size_t len)
{
	unsigned count = 0;
	char line[64], *end;

	if (!len || text[len - 1] != '\n' || strlen(text) != len || strncmp(text, FIRST_LINE, strlen(FIRST_LINE)) != 0)
		return NULL;
	text[len - 1] = '\0';
	end = strrchr(text, '\n');
	text[len - 1] = '\n';
	if (!end)
		return NULL;
	end++;
	for (const char *at = text; at < end; at = strchr(at, '\n') + 1)
		count++;
	end_line(line, sizeof(line), count - 1, text, (size_t)(end - text));
	return strcmp(end, line) ? NULL : end;
}

int integrity_read(int dirfd, const char *name, struct sums **sumsp, char *why, size_t why_size)
{
	_cleanup_close_ int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	return integrity_read_from(fd < 0 ? -errno : fd, sumsp, why, why_size);
}

int integrity_read_from(int fd, struct sums **sumsp, char *why, size_t why_size)
{
	__attribute__((cleanup(cleanup_sums))) struct sums *sums = integrity_new();
	_cleanup_free_ char *text = NULL;
	char *end, *at;
	size_t len = 0;
	int err;

	if (!sums)
		return because(-ENOMEM, why, why_size, "has no place in memory");
	err = read_text(fd, &text, &len, why, why_size);
	if (err)
		return err;
	end = find_end(text, len);
	if (!end)
		return because(-EBADMSG, why, why_size, "was cut short or changed");
	for (at = text + strlen(FIRST_LINE); at < end;) {
		char *next = strchr(at, '\n');

		*next++ = '\0';
		if (!parse_sum_line(sums, at))
			return because(-EBADMSG, why, why_size, "has a line that cannot be understood");
		at = next;
	}
	*sumsp = move_ptr(sums);
	return 0;
}

/* The checksum of as much as there is. */
static int sum_file(int fd, uint32_t *crc, uint64_t *size)
{
	_cleanup_free_ unsigned char *buf = NULL;
	size_t step = MIN(MAX(*size, 1), CHECK_STEP);
	unsigned long sum = 0;
	uint64_t total = 0;
	ssize_t n;

	buf = malloc(step);
	if (!buf)
		return -ENOMEM;
	while ((n = io_read_all(fd, buf, step))) {
		if (n < 0)
			return (int)n;
		sum = crc32_z(sum, buf, (size_t)n);
		total += (uint64_t)n;
	}
	*crc = (uint32_t)sum;
	*size = total;
	return 0;
}

static int check_size(const struct sum *sum, int fd, char *why, size_t why_size)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return because(-errno, why, why_size, "cannot be looked at");
	if (!S_ISREG(st.st_mode))
		return because(-EBADMSG, why, why_size, "is no regular file");
	if (!sum->sent && (uint64_t)st.st_size != sum->size)
		return because(-EBADMSG, why, why_size, "has %" PRIu64 " bytes, not %" PRIu64, (uint64_t)st.st_size,
		               sum->size);
	return 0;
}

int integrity_check_from(const struct sum *sum, int fd, char *why, size_t why_size)
{
	uint64_t size = sum->size;
	uint32_t crc = 0;
	int err = check_size(sum, fd, why, why_size);

	if (err || sum->sent || sum->size_only)
		return err;
	err = sum_file(fd, &crc, &size);
	if (err)
		return because(err, why, why_size, "cannot be read");
	if (size != sum->size || crc != sum->crc)
		return because(-EBADMSG, why, why_size, "is damaged or was changed");
	return 0;
}

static bool take_room(size_t *room, size_t size)
{
	size_t now = __atomic_load_n(room, __ATOMIC_RELAXED);

	while (size <= now)
		if (__atomic_compare_exchange_n(room, &now, now - size, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			return true;
	return false;
}

static int check_and_keep(struct sum *sum, int fd, char *why, size_t why_size)
{
	_cleanup_free_ unsigned char *data = malloc(MAX(sum->size, 1));
	int err = check_size(sum, fd, why, why_size);
	ssize_t n;

	if (err)
		return err;
	n = data ? io_read_all(fd, data, sum->size) : -ENOMEM;
	if (n < 0)
		return because((int)n, why, why_size, "cannot be read");
	if ((uint64_t)n != sum->size || crc32_z(0, data, sum->size) != sum->crc)
		return because(-EBADMSG, why, why_size, "is damaged or was changed");
	free(sum->kept);
	sum->kept = move_ptr(data);
	return 0;
}

int integrity_check(struct sum *sum, int dirfd, size_t *room, char *why, size_t why_size)
{
	_cleanup_close_ int fd = openat(dirfd, sum->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return because(-errno, why, why_size,
		               errno != ENOENT ? "cannot be opened"
		               : sum->sent     ? "is missing (the page server of the dump has written it)"
		                               : "is missing");
	if (!sum->sent && !sum->size_only && sum->size <= KEEP_MAX && take_room(room, sum->size))
		return check_and_keep(sum, fd, why, why_size);
	return integrity_check_from(sum, fd, why, why_size);
}

unsigned char *integrity_take_kept(struct sums *sums, const char *name, uint64_t *size)
{
	struct sum *sum = integrity_find(sums, name);

	if (!sum || !sum->kept)
		return NULL;
	*size = sum->size;
	return move_ptr(sum->kept);
}
