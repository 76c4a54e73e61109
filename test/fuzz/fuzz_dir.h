/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An image directory from a fuzzer's input: records of a type (u8), a number (u32), a length (u32) and that many bytes,
 * which become the file of that type and number. The magics are put before them, so that the fuzzer need not find them.
 */
#ifndef TEST_FUZZ_DIR_H
#define TEST_FUZZ_DIR_H

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "image/image.h"
#include "lib/log.h"

enum fuzz_header { SINGLE, COMMON, SERVICE, RAW };

struct fuzz_image {
	const char *name;
	enum fuzz_header header;
	uint32_t magic;
};

static const struct fuzz_image fuzz_images[] = {
#define IMAGE(id, name, header, magic, ...) { name, header, magic },
#include "images.def"
#undef IMAGE
};

/* Made by the runner, which removes it; by hand it is FUZZ_DIR or a new one that stays. */
static inline const char *fuzz_dir(void)
{
	static char path[256];

	if (!*path) {
		snprintf(path, sizeof(path), "%s/XXXXXX", getenv("FUZZ_DIR") ?: "/tmp");
		if (!mkdtemp(path))
			abort();
		log_init(-1, getenv("FUZZ_VERBOSE") ? LOG_DEBUG : LOG_MSG); /* why an input is refused */
	}
	return path;
}

static inline void fuzz_dir_empty(void)
{
	DIR *d = opendir(fuzz_dir());
	struct dirent *e;

	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.')
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
}

static inline void fuzz_put(const char *name, const uint32_t *magics, size_t n, const uint8_t *data, size_t len)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", fuzz_dir(), name);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, magics, n * 4) < 0 || write(fd, data, len) < 0)
		abort();
	close(fd);
}

/* A file of pages, of which only the size matters: it is the contents of the record. */
static inline void fuzz_put_zeros(const char *name, const uint8_t *data, size_t len)
{
	char path[512];
	uint32_t size = 0;

	memcpy(&size, data, MIN(len, sizeof(size)));
	fuzz_put(name, NULL, 0, NULL, 0);
	snprintf(path, sizeof(path), "%s/%s", fuzz_dir(), name);
	if (truncate(path, size))
		abort();
}

static inline void fuzz_put_image(unsigned type, uint32_t id, const uint8_t *data, size_t len)
{
	const struct fuzz_image *i = &fuzz_images[type];
	uint32_t magics[2] = { i->header == SERVICE ? 0x55105940 : 0x54564319, i->magic };
	char name[64];

	snprintf(name, sizeof(name), i->name, id);
	if (i->header == RAW)
		fuzz_put_zeros(name, data, len);
	else if (i->header == SINGLE)
		fuzz_put(name, magics + 1, 1, data, len);
	else
		fuzz_put(name, magics, 2, data, len);
}

/* Makes the files; false where the input is no list of records. */
static inline bool fuzz_dir_fill(const uint8_t *data, size_t size)
{
	fuzz_dir_empty();
	for (size_t at = 0; at < size;) {
		uint32_t id, len;

		if (size - at < 9)
			return false;
		memcpy(&id, data + at + 1, 4);
		memcpy(&len, data + at + 5, 4);
		if (len > size - at - 9)
			return false;
		fuzz_put_image(data[at] % IMG_COUNT, id, data + at + 9, len);
		at += 9 + len;
	}
	return true;
}

#endif
