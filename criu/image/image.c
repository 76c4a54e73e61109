/* SPDX-License-Identifier: GPL-2.0-only */
/* One image: header, messages and raw bytes, through a buffer. */
#include "image/image.h"
#include "image/image_ids.h"

#include <endian.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <zlib.h>

#include "image/image_check.h"
#include "image/image_file.h"
#include "image/image_messages.h"
#include "lib/io.h"
#include "lib/log.h"

#define MAGIC_COMMON  0x54564319U
#define MAGIC_SERVICE 0x55105940U
#define BUFFER        (64UL << 10)

enum header { SINGLE, COMMON, SERVICE, RAW };

struct row {
	const char *name;
	enum header header;
	uint32_t magic;
	const ProtobufCMessageDescriptor *pb;
};

static const ProtobufCMessageDescriptor no_message__descriptor;

static const struct row rows[] = {
#define IMAGE(id, file, head, number, message, extra)                                                                  \
	[IMG_##id] = { .name = (file), .header = (head), .magic = (number), .pb = &message##__descriptor },
#include "images.def"
#undef IMAGE
};

struct image {
	struct image_dir *dir; /* NULL: no part of a checkpoint */
	struct sum *sum;       /* writing */
	char name[IMAGE_NAME_MAX];
	int fd;
	bool writing;
	int err;      /* writing: the first error */
	uint8_t *buf; /* writing: [0, fill) is to be written; reading: [at, fill) is what comes next */
	size_t size, at, fill;
	uint64_t length; /* writing: bytes in the file; reading: the file's size */
	uint64_t pos;    /* reading: the file's offset of buf[at] */
	uint32_t crc;
};

const ProtobufCMessageDescriptor *image_pb(enum image_type type)
{
	return rows[type].header == RAW ? NULL : rows[type].pb;
}

const char *image_name(const struct image *img)
{
	return img->name;
}

/* Puts the number in the place of %u or %x. */
void image_make_name(enum image_type type, uint64_t id, char buf[IMAGE_NAME_MAX])
{
	const char *name = rows[type].name, *mark = strchr(name, '%');
	const size_t size = IMAGE_NAME_MAX;

	if (!mark)
		snprintf(buf, size, "%s", name);
	else if (mark[1] == 'x')
		snprintf(buf, size, "%.*s%" PRIx64 "%s", (int)(mark - name), name, id, mark + 2);
	else
		snprintf(buf, size, "%.*s%" PRIu64 "%s", (int)(mark - name), name, id, mark + 2);
}

static struct image *new_image(struct image_dir *dir, enum image_type type, uint64_t id, bool writing)
{
	struct image *img = calloc(1, sizeof(*img));

	if (!img)
		return NULL;
	img->dir = dir;
	img->writing = writing;
	img->fd = -1;
	image_make_name(type, id, img->name);
	return img;
}

/* At least `size` bytes of buffer. */
static int want_buffer(struct image *img, size_t size)
{
	uint8_t *buf;

	if (size <= img->size)
		return 0;
	buf = realloc(img->buf, size);
	if (!buf)
		return log_errno(-ENOMEM, "%s", img->name);
	img->buf = buf;
	img->size = size;
	return 0;
}

/* ---- writing ---- */

static int mark_failed(struct image *img, int err)
{
	if (!img->err)
		img->err = err;
	return err;
}

static int write_through(struct image *img, const void *data, size_t len)
{
	int err = io_write_all(img->fd, data, len);

	if (err)
		return mark_failed(img, log_errno(err, "%s: write", img->name));
	img->crc = (uint32_t)crc32_z(img->crc, data, len);
	img->length += len;
	return 0;
}

static int flush_buffer(struct image *img)
{
	size_t len = img->fill;

	img->fill = 0;
	return len ? write_through(img, img->buf, len) : 0;
}

/* Room for `len` bytes behind what is in the buffer. */
static int reserve_buffer(struct image *img, size_t len)
{
	int err = 0;

	if (img->err)
		return img->err;
	if (img->fill + len > img->size && img->fill)
		err = flush_buffer(img);
	return err ?: mark_failed(img, want_buffer(img, MAX(len, BUFFER)));
}

static void put_u32(struct image *img, uint32_t v)
{
	v = htole32(v);
	memcpy(img->buf + img->fill, &v, sizeof(v));
	img->fill += sizeof(v);
}

static int put_header(struct image *img, enum image_type type)
{
	int err = reserve_buffer(img, 2 * sizeof(uint32_t));

	if (err || rows[type].header == RAW)
		return err;
	if (rows[type].header == COMMON)
		put_u32(img, MAGIC_COMMON);
	else if (rows[type].header == SERVICE)
		put_u32(img, MAGIC_SERVICE);
	put_u32(img, rows[type].magic);
	return 0;
}

int image_create(struct image_dir *dir, enum image_type type, uint64_t id, struct image **imgp)
{
	_cleanup_image_ struct image *img = new_image(dir, type, id, true);
	int err;

	if (!img)
		return log_errno(-ENOMEM, "%s", rows[type].name);
	img->fd = image_dir_create_file(dir, img->name, &img->sum);
	if (img->fd < 0)
		return mark_failed(img, img->fd);
	err = put_header(img, type);
	if (err)
		return err;
	*imgp = move_ptr(img);
	return 0;
}

static int write_message(struct image *img, const void *msg)
{
	size_t len = protobuf_c_message_get_packed_size(msg);
	int err;

	if (len > IMAGE_MESSAGE_MAX)
		return mark_failed(img, log_errno(-EFBIG, "%s: a message of %zu bytes", img->name, len));
	err = reserve_buffer(img, sizeof(uint32_t) + len);
	if (err)
		return err;
	put_u32(img, (uint32_t)len);
	img->fill += protobuf_c_message_pack(msg, img->buf + img->fill);
	return 0;
}

/* A copy of the message, with the ids that images have. */
static int write_with_ids(struct image *img, const ProtobufCMessage *msg, const struct image_ids *ids)
{
	size_t len = protobuf_c_message_get_packed_size(msg);
	_cleanup_free_ uint8_t *bytes = malloc(len + 1);
	ProtobufCMessage *copy;
	int err;

	if (bytes)
		protobuf_c_message_pack(msg, bytes);
	copy = bytes ? protobuf_c_message_unpack(msg->descriptor, NULL, len, bytes) : NULL;
	if (!copy)
		return mark_failed(img, log_errno(-ENOMEM, "%s: a message of %zu bytes", img->name, len));
	image_ids_to_images(ids, copy);
	err = write_message(img, copy);
	protobuf_c_message_free_unpacked(copy, NULL);
	return err;
}

int image_write(struct image *img, const void *msg)
{
	const struct image_ids *ids = img->dir ? image_dir_ids(img->dir) : NULL;
	const ProtobufCMessage *m = msg;

	return ids && image_ids_any(m->descriptor) ? write_with_ids(img, m, ids) : write_message(img, msg);
}

int image_write_raw(struct image *img, const void *data, size_t len)
{
	int err;

	if (img->err)
		return img->err;
	if (len > BUFFER) {
		err = flush_buffer(img);
		return err ?: write_through(img, data, len);
	}
	err = reserve_buffer(img, len);
	if (err || !len)
		return err;
	memcpy(img->buf + img->fill, data, len);
	img->fill += len;
	return 0;
}

int image_close(struct image *img)
{
	int err;

	if (!img)
		return 0;
	if (img->writing && !img->err)
		flush_buffer(img);
	err = img->sum ? image_dir_file_done(img->dir, img->sum, img->err, img->fd, img->length, img->crc) : img->err;
	if (img->fd >= 0)
		close(img->fd);
	free(img->buf);
	free(img);
	return err;
}

void image_cleanup(struct image **img)
{
	image_close(*img);
}

int image_write_one(struct image_dir *dir, enum image_type type, uint64_t id, const void *msg)
{
	struct image *img;
	int err = image_create(dir, type, id, &img);

	if (err)
		return err;
	image_write(img, msg);
	return image_close(img);
}

static int create_at(int dirfd, const char *name, enum image_type type, struct image *img)
{
	img->fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (img->fd < 0)
		return mark_failed(img, log_errno(-errno, "%s: openat", name));
	return put_header(img, type);
}

int image_create_at(int dirfd, const char *name, enum image_type type, struct image **imgp)
{
	_cleanup_image_ struct image *img = new_image(NULL, type, 0, true);
	int err = img ? create_at(dirfd, name, type, img) : log_errno(-ENOMEM, "%s", name);

	if (!err)
		*imgp = move_ptr(img);
	return err;
}

int image_write_at(int dirfd, enum image_type type, uint64_t id, const void *msg)
{
	struct image *img = new_image(NULL, type, id, true);

	if (!img)
		return log_errno(-ENOMEM, "%s", rows[type].name);
	if (!create_at(dirfd, img->name, type, img))
		image_write(img, msg);
	return image_close(img);
}

/* ---- reading ---- */

uint64_t image_left(const struct image *img)
{
	return img->length - img->pos;
}

static int read_some(struct image *img, void *buf, size_t len)
{
	for (;;) {
		ssize_t n = read(img->fd, buf, len);

		if (n > 0)
			return (int)n;
		if (!n)
			return log_errno(-EBADMSG, "%s ended while it was read", img->name);
		if (errno != EINTR)
			return log_errno(-errno, "%s: read", img->name);
	}
}

/* Makes `len` bytes, which the file has left, stand in the buffer from img->at. */
static int fill_buffer(struct image *img, size_t len)
{
	uint64_t behind = img->length - img->pos - (img->fill - img->at);
	int err;

	if (img->fill - img->at >= len)
		return 0;
	if (img->at)
		memmove(img->buf, img->buf + img->at, img->fill - img->at);
	img->fill -= img->at;
	img->at = 0;
	err = want_buffer(img, MAX(len, MIN(img->length, BUFFER)));
	while (!err && img->fill < len) {
		int n = read_some(img, img->buf + img->fill, MIN(img->size - img->fill, behind));

		if (n < 0)
			return n;
		img->fill += (size_t)n;
		behind -= (uint64_t)n;
	}
	return err;
}

static void skip_bytes(struct image *img, size_t len)
{
	img->at += len;
	img->pos += len;
}

/* The next u32, which stays unread. */
static int peek_u32(struct image *img, uint32_t *v, const char *what)
{
	int err;

	if (image_left(img) < sizeof(*v))
		return log_errno(-EBADMSG, "%s is cut short in %s at offset %" PRIu64, img->name, what, img->pos);
	err = fill_buffer(img, sizeof(*v));
	if (err)
		return err;
	memcpy(v, img->buf + img->at, sizeof(*v));
	*v = le32toh(*v);
	return 0;
}

static int expect_magic(struct image *img, uint32_t magic)
{
	uint32_t v = 0;
	int err = peek_u32(img, &v, "its header");

	if (err)
		return err;
	if (v != magic)
		return log_errno(-EBADMSG, "%s: its header says 0x%08x, not 0x%08x", img->name, v, magic);
	skip_bytes(img, sizeof(v));
	return 0;
}

static int check_header(struct image *img, enum image_type type)
{
	int err = 0;

	if (rows[type].header == RAW)
		return 0;
	if (rows[type].header == COMMON)
		err = expect_magic(img, MAGIC_COMMON);
	else if (rows[type].header == SERVICE)
		err = expect_magic(img, MAGIC_SERVICE);
	return err ?: expect_magic(img, rows[type].magic);
}

/* One that was read whole when it was checked is all in the buffer. */
static bool take_kept(struct image *img)
{
	img->buf = image_dir_take_kept(img->dir, img->name, &img->length);
	if (img->buf)
		img->size = img->fill = (size_t)img->length;
	return img->buf;
}

static int open_for_reading(struct image *img)
{
	struct stat st;

	if (take_kept(img))
		return 0;
	img->fd = image_dir_open_file(img->dir, img->name);
	if (img->fd < 0)
		return img->fd;
	if (fstat(img->fd, &st) < 0)
		return log_errno(-errno, "%s: fstat", img->name);
	img->length = (uint64_t)st.st_size;
	return 0;
}

int image_open(struct image_dir *dir, enum image_type type, uint64_t id, struct image **imgp)
{
	_cleanup_image_ struct image *img = new_image(dir, type, id, false);
	int err;

	if (!img)
		return log_errno(-ENOMEM, "%s", rows[type].name);
	err = open_for_reading(img) ?: check_header(img, type);
	if (err)
		return err;
	*imgp = move_ptr(img);
	return 0;
}

static int take_ids(const struct image *img, void *msg)
{
	const struct image_ids *ids = image_dir_ids(img->dir);
	uint32_t unknown;
	int err = ids ? image_ids_from_images(ids, msg, &unknown) : 0;

	return err ? log_errno(err,
	                       "%s: the entry at offset %" PRIu64 ": the id %u is in none of the maps of the tree's "
	                       "user namespace (userns-*.img)",
	                       img->name, img->pos, unknown)
	           : 0;
}

int image_read(struct image *img, const ProtobufCMessageDescriptor *pb, struct arena *a, void *msgp)
{
	char why[160];
	uint32_t len = 0;
	int err;

	if (!image_left(img))
		return 0;
	err = peek_u32(img, &len, "the length of an entry");
	if (err)
		return err;
	if (len > IMAGE_MESSAGE_MAX || len > image_left(img) - sizeof(len))
		return log_errno(-EBADMSG,
		                 "%s: the entry at offset %" PRIu64 " has %u bytes, the file %" PRIu64 " more",
		                 img->name, img->pos, len, image_left(img) - sizeof(len));
	err = fill_buffer(img, sizeof(len) + len);
	if (err)
		return err;
	err = image_check_message(pb, img->buf + img->at + sizeof(len), len, why, sizeof(why));
	if (err)
		return log_errno(err, "%s: the entry at offset %" PRIu64 ": %s", img->name, img->pos, why);
	*(void **)msgp = protobuf_c_message_unpack(pb, arena_pb(a), len, img->buf + img->at + sizeof(len));
	if (!*(void **)msgp)
		return log_errno(-EBADMSG, "%s: the entry at offset %" PRIu64 " is not a %s", img->name, img->pos,
		                 pb->name);
	err = take_ids(img, *(void **)msgp);
	if (err)
		return err;
	skip_bytes(img, sizeof(len) + len);
	return 1;
}

int image_read_raw(struct image *img, void *data, size_t len)
{
	size_t n = MIN(len, img->fill - img->at);
	uint8_t *to = data;

	if (len > image_left(img))
		return log_errno(-EBADMSG,
		                 "%s is cut short: %zu bytes expected at offset %" PRIu64 ", %" PRIu64 " found",
		                 img->name, len, img->pos, image_left(img));
	if (n)
		memcpy(to, img->buf + img->at, n);
	skip_bytes(img, n);
	while (n < len) {
		int got = read_some(img, to + n, len - n);

		if (got < 0)
			return got;
		n += (size_t)got;
		img->pos += (uint64_t)got;
	}
	return 0;
}

int image_read_one(struct image_dir *dir, enum image_type type, uint64_t id, struct arena *a, void *msgp)
{
	_cleanup_image_ struct image *img = NULL;
	int err = image_open(dir, type, id, &img);

	if (err)
		return err;
	err = image_read(img, rows[type].pb, a, msgp);
	if (err < 0)
		return err;
	if (!err || image_left(img))
		return log_errno(-EBADMSG, "%s should hold exactly one entry", img->name);
	return 0;
}

int image_reopen(const struct image *img)
{
	int fd = image_dir_open_file(img->dir, img->name);

	return fd == -ENOENT ? log_errno(fd, "%s", img->name) : fd;
}

/* ---- pages ---- */

int image_pages_create(struct image_dir *dir, uint32_t pages_id)
{
	char name[IMAGE_NAME_MAX];

	image_make_name(IMG_PAGES, pages_id, name);
	return image_dir_create_pages(dir, name);
}

int image_pages_append(struct image_dir *dir, uint32_t pages_id, int fd, const void *data, size_t len)
{
	char name[IMAGE_NAME_MAX];

	image_make_name(IMG_PAGES, pages_id, name);
	return image_dir_append_pages(dir, name, fd, data, len);
}

int image_pages_end(struct image_dir *dir, uint32_t pages_id, int *fd, uint64_t size)
{
	char name[IMAGE_NAME_MAX];

	image_make_name(IMG_PAGES, pages_id, name);
	return image_dir_end_pages(dir, name, fd, size);
}

int image_pages_open(struct image_dir *dir, uint32_t pages_id, uint64_t *at, uint64_t *size)
{
	char name[IMAGE_NAME_MAX];
	int fd;

	image_make_name(IMG_PAGES, pages_id, name);
	fd = image_dir_open_pages(dir, name, at, size);
	return fd == -ENOENT ? log_errno(fd, "%s", name) : fd;
}

void image_pages_forget(struct image_dir *dir, uint32_t pages_id)
{
	char name[IMAGE_NAME_MAX];

	image_make_name(IMG_PAGES, pages_id, name);
	image_dir_forget_pages(dir, name);
}

int image_dir_temp(const struct image_dir *dir)
{
	bool streams = image_dir_streams(dir);
	int fd = streams ? memfd_create("images", MFD_CLOEXEC)
	                 : openat(image_dir_fd(dir), ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	return fd < 0 ? log_errno(-errno, "the image directory: %s", streams ? "memfd_create" : "openat(O_TMPFILE)")
	              : fd;
}
