/* SPDX-License-Identifier: GPL-2.0-only */
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/io.h"
#include "lib/log.h"
#include "path/ghost_data.h"

/* ---- dump ---- */

static int write_data_chunk(const char *who, char *buffer, int fd, off_t at, off_t end, struct image *img)
{
	GhostChunkEntry c = GHOST_CHUNK_ENTRY__INIT;
	int err;

	c.off = (uint64_t)at;
	c.len = (uint64_t)(end - at);
	err = image_write(img, &c);
	while (!err && at < end) {
		ssize_t n = io_pread_all(fd, buffer, MIN((size_t)(end - at), GHOST_DATA_BUFFER), at);

		if (n <= 0)
			return log_errno(n ? (int)n : -EIO, "%s: pread at %lld", who, (long long)at);
		err = image_write_raw(img, buffer, (size_t)n);
		at += n;
	}
	return err;
}

/* Where the next data at or behind *start begin and end. 1: found; 0: there are none; negative errno (logged). */
static int find_by_seek(const char *who, int fd, off_t size, off_t *start, off_t *end)
{
	off_t at = lseek(fd, *start, SEEK_DATA);

	if (at < 0 && errno == ENXIO)
		return 0;
	*end = at < 0 ? -1 : lseek(fd, at, SEEK_HOLE);
	if (*end <= at && errno == EINVAL) { /* a file system that does not know of holes */
		at = *start;
		*end = size;
	} else if (*end <= at) {
		return log_errno(-errno, "%s: lseek(SEEK_DATA, SEEK_HOLE)", who);
	}
	*start = at;
	return 1;
}

/* The same by the file system's own list; what it has reserved and nobody has written is no data. -EOPNOTSUPP: no list.
 */
static int find_by_fiemap(const char *who, int fd, off_t size, off_t *start, off_t *end)
{
	union {
		struct fiemap map;
		char room[sizeof(struct fiemap) + sizeof(struct fiemap_extent)];
	} u;
	const struct fiemap_extent *x = u.map.fm_extents;

	*end = *start;
	do {
		memset(&u, 0, sizeof(u));
		u.map.fm_start = (uint64_t)*end;
		u.map.fm_length = (uint64_t)(size - *end);
		u.map.fm_flags = FIEMAP_FLAG_SYNC;
		u.map.fm_extent_count = 1;
		if (ioctl(fd, FS_IOC_FIEMAP, &u.map))
			return errno == EOPNOTSUPP || errno == ENOTTY
			           ? -EOPNOTSUPP
			           : log_errno(-errno, "%s: ioctl(FS_IOC_FIEMAP)", who);
		if (!u.map.fm_mapped_extents)
			return 0;
		*start = MAX(*start, (off_t)x->fe_logical);
		*end = (off_t)(x->fe_logical + x->fe_length);
	} while (x->fe_flags & FIEMAP_EXTENT_UNWRITTEN && *end < size);
	return !(x->fe_flags & FIEMAP_EXTENT_UNWRITTEN);
}

int ghost_data_dump(const char *who, char *buffer, int fd, off_t size, bool fiemap, struct image *img)
{
	off_t at = 0, end;
	int err = 0;

	while (!err && at < size) {
		int found = fiemap ? find_by_fiemap(who, fd, size, &at, &end) : -EOPNOTSUPP;

		if (found == -EOPNOTSUPP)
			found = find_by_seek(who, fd, size, &at, &end);
		if (found <= 0)
			return found;
		if (at < size)
			err = write_data_chunk(who, buffer, fd, at, MIN(end, size), img);
		at = end;
	}
	return err;
}

/* ---- restore ---- */

/* What one file is filled from. */
struct ghost_source {
	const char *name;
	struct image *img;
	char *buffer;
};

/* A hugetlbfs has no write(2). Each mapping sets its page aside, so that no write there ends criu. */
static int write_by_mapping(int fd, const char *data, size_t len, uint64_t at)
{
	struct stat st;

	if (fstat(fd, &st))
		return -errno;
	if ((uint64_t)st.st_size < at + len && ftruncate(fd, (off_t)round_up(at + len, (uint64_t)st.st_blksize)))
		return -errno;
	while (len) {
		uint64_t start = round_down(at, (uint64_t)st.st_blksize), in = at - start;
		size_t n = MIN(len, (uint64_t)st.st_blksize - in);
		char *p = mmap(NULL, (size_t)st.st_blksize, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)start);

		if (p == MAP_FAILED)
			return -errno;
		memcpy(p + in, data, n);
		munmap(p, (size_t)st.st_blksize);
		data += n;
		at += n;
		len -= n;
	}
	return 0;
}

static int copy_data(const struct ghost_source *s, int fd, uint64_t at, uint64_t len)
{
	while (len) {
		size_t n = MIN(len, GHOST_DATA_BUFFER);
		int err = image_read_raw(s->img, s->buffer, n);

		if (err)
			return err;
		err = io_pwrite_all(fd, s->buffer, n, (off_t)at);
		if (err == -EINVAL)
			err = write_by_mapping(fd, s->buffer, n, at);
		if (err)
			return log_errno(err, "%s (deleted): pwrite (or mmap) of %zu bytes at %llu", s->name, n,
			                 (unsigned long long)at);
		at += n;
		len -= n;
	}
	return 0;
}

static int copy_data_chunks(struct restore *r, const struct ghost_source *s, uint64_t size, int fd)
{
	GhostChunkEntry *c;
	int err;

	while ((err = image_read(s->img, &ghost_chunk_entry__descriptor, r->arena, &c)) > 0) {
		if (c->off > size || c->len > size - c->off || c->len > image_left(s->img))
			return log_errno(-EINVAL, "%s: a chunk of %llu bytes at %llu, outside of the file or the image",
			                 image_name(s->img), (unsigned long long)c->len, (unsigned long long)c->off);
		err = copy_data(s, fd, c->off, c->len);
		if (err)
			return err;
	}
	return err;
}

int ghost_data_restore(struct restore *r, uint32_t id, const GhostFileEntry *e, const char *name, int fd)
{
	_cleanup_image_ struct image *img = NULL;
	_cleanup_free_ char *buffer = malloc(GHOST_DATA_BUFFER);
	struct ghost_source s = { .name = name, .buffer = buffer };
	GhostFileEntry *again;
	int err = buffer ? image_open(r->dir, IMG_GHOST_FILE, id, &img) : -ENOMEM;

	if (err)
		return log_errno(err, "%s (deleted): opening ghost-file-%x.img", name, id);
	s.img = img;
	err = image_read(img, &ghost_file_entry__descriptor, r->arena, &again);
	if (err <= 0)
		return err ?: log_errno(-ENODATA, "%s is empty", image_name(img));
	if (!e->chunks)
		return copy_data(&s, fd, 0, image_left(img));
	if (ftruncate(fd, (off_t)e->size))
		return log_errno(-errno, "%s (deleted): ftruncate to %llu", name, (unsigned long long)e->size);
	return copy_data_chunks(r, &s, e->size, fd);
}
