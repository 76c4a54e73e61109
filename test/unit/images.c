/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Images: every file of a real checkpoint (data/images: made by CRIU 4.2, pages left out) comes through reading and
 * writing byte for byte; damage is refused; a dump that fails leaves nothing. Runs in the top folder of the sources.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "image/image.h"
#include "image/image_check.h"
#include "image/image_messages.h"
#include "lib/log.h"

#define DATA     "test/unit/data/images"
#define FILE_MAX 65536

enum extra { NONE, HEAD, BYTES, LENGTH, QUEUES, MAP, FILE_, SEMS, MSGS, SHM };

static const struct {
	const char *name;
	enum extra extra;
} table[] = {
#define FILE                                             FILE_
#define IMAGE(id, name_, header, magic, message, extra_) { name_, extra_ },
#include "images.def"
#undef IMAGE
#undef FILE
};

struct bytes {
	uint8_t data[FILE_MAX];
	size_t len;
};

struct place {
	char path[64];
	int fd;
};

static int enter(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	strcpy(p->path, "/tmp/unit-images-XXXXXX");
	assert_non_null(mkdtemp(p->path));
	p->fd = open(p->path, O_RDONLY | O_DIRECTORY);
	assert_true(p->fd >= 0);
	*state = p;
	return 0;
}

/* Calls fn for every file of a directory; returns how many there were. */
static int each_file(const char *path, void (*fn)(const char *name, void *arg), void *arg)
{
	DIR *d = opendir(path);
	struct dirent *e;
	int n = 0;

	assert_non_null(d);
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		n++;
		if (fn)
			fn(e->d_name, arg);
	}
	closedir(d);
	return n;
}

static void remove_file(const char *name, void *arg)
{
	assert_int_equal(unlinkat(((struct place *)arg)->fd, name, 0), 0);
}

static int leave(void **state)
{
	struct place *p = *state;

	each_file(p->path, remove_file, p);
	close(p->fd);
	rmdir(p->path);
	free(p);
	return 0;
}

static void load(int dirfd, const char *name, struct bytes *b)
{
	int fd = openat(dirfd, name, O_RDONLY);
	ssize_t n;

	assert_true(fd >= 0);
	n = read(fd, b->data, sizeof(b->data));
	assert_true(n >= 0 && n < FILE_MAX);
	b->len = (size_t)n;
	close(fd);
}

static void store(int dirfd, const char *name, const uint8_t *data, size_t len)
{
	int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

/*
 * Calls fn with a file in every shorter length, then with one bit of each byte changed, and leaves it as it was.
 */
static void each_damage(struct place *p, const char *name, struct bytes *b, void (*fn)(void *arg, size_t at), void *arg)
{
	int fd = openat(p->fd, name, O_RDWR);

	assert_true(fd >= 0);
	for (size_t i = b->len; i--;) {
		assert_int_equal(ftruncate(fd, (off_t)i), 0);
		fn(arg, i);
	}
	assert_int_equal(pwrite(fd, b->data, b->len, 0), b->len);
	for (size_t i = 0; i < b->len; i++) {
		uint8_t changed = b->data[i] ^ (uint8_t)(1 << (i % 8));

		assert_int_equal(pwrite(fd, &changed, 1, (off_t)i), 1);
		fn(arg, i);
		assert_int_equal(pwrite(fd, &b->data[i], 1, (off_t)i), 1);
	}
	close(fd);
}

static void must_refuse(void *path, size_t at)
{
	struct image_dir *dir;

	assert_int_equal(image_dir_open(path, false, &dir), -EBADMSG);
}

/* The row and the number of a file's name. */
static enum image_type type_of(const char *name, uint64_t *id)
{
	for (unsigned i = 0; i < IMG_COUNT; i++) {
		const char *mark = strchr(table[i].name, '%');
		char *end;

		*id = 0;
		if (!mark && !strcmp(name, table[i].name))
			return i;
		if (!mark || strncmp(name, table[i].name, (size_t)(mark - table[i].name)) != 0)
			continue;
		*id = strtoull(name + (mark - table[i].name), &end, mark[1] == 'x' ? 16 : 10);
		if (end != name + (mark - table[i].name) && !strcmp(end, mark + 2))
			return i;
	}
	fail_msg("%s is in no row", name);
	return 0;
}

static uint64_t number_in(const ProtobufCMessage *msg, const char *name)
{
	const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(msg->descriptor, name);

	assert_non_null(f);
	return *(const uint32_t *)((const char *)msg + f->offset);
}

/* How many raw bytes stand behind an entry. */
static uint64_t raw_behind(enum image_type type, const struct image *img, const ProtobufCMessage *msg)
{
	switch (table[type].extra) {
	case NONE:
	case HEAD:
		return 0;
	case BYTES:
		return number_in(msg, "bytes");
	case LENGTH:
		return number_in(msg, "length");
	case QUEUES:
		return number_in(msg, "inq_len") + number_in(msg, "outq_len");
	case FILE_:
		return image_left(img);
	default:
		fail_msg("%s is not in the example", table[type].name);
		return 0;
	}
}

/* Reads all of an image, and writes it again where `to` is one. 0 or the error of reading. */
static int copy_image(struct image_dir *from, struct image_dir *to, const char *name)
{
	struct arena *a = arena_new();
	struct image *in, *out = NULL;
	const ProtobufCMessageDescriptor *pb;
	ProtobufCMessage *msg;
	uint64_t id;
	enum image_type type = type_of(name, &id);
	int err = image_open(from, type, id, &in);

	if (err) {
		arena_free(a);
		return err;
	}
	assert_string_equal(image_name(in), name);
	if (to)
		assert_int_equal(image_create(to, type, id, &out), 0);
	pb = table[type].extra == HEAD ? &pagemap_head__descriptor : image_pb(type);
	while (pb && (err = image_read(in, pb, a, &msg)) > 0) {
		uint64_t len = raw_behind(type, in, msg);
		uint8_t raw[FILE_MAX];

		if (len >= sizeof(raw)) {
			err = -EBADMSG;
			break;
		}
		err = image_read_raw(in, raw, len);
		if (err)
			break;
		if (to) {
			assert_int_equal(image_write(out, msg), 0);
			assert_int_equal(image_write_raw(out, raw, len), 0);
		}
		pb = image_pb(type);
	}
	assert_int_equal(image_close(in), 0);
	if (to)
		assert_int_equal(image_close(out), 0);
	arena_free(a);
	return err;
}

static void same_again(const char *name, void *arg)
{
	static struct bytes before, after;
	struct place *p = arg;
	struct image_dir *from, *to;
	int data = open(DATA, O_RDONLY | O_DIRECTORY);

	assert_int_equal(image_dir_open(DATA, false, &from), 0);
	assert_int_equal(image_dir_create(p->path, &to), 0);
	assert_int_equal(copy_image(from, to, name), 0);
	assert_int_equal(image_dir_seal(to), 0);
	load(data, name, &before);
	load(p->fd, name, &after);
	assert_int_equal(before.len, after.len);
	assert_memory_equal(before.data, after.data, before.len);
	image_dir_close(from);
	image_dir_close(to);
	close(data);
}

static void test_example(void **state)
{
	assert_int_equal(each_file(DATA, same_again, *state), 34);
}

/* One image of the example in a sealed checkpoint of its own, in every length and with every byte changed. */
static void damage_sealed(const char *name, void *arg)
{
	static struct bytes b;
	struct place *p = arg;
	struct image_dir *from, *to;

	assert_int_equal(image_dir_open(DATA, false, &from), 0);
	assert_int_equal(image_dir_create(p->path, &to), 0);
	assert_int_equal(copy_image(from, to, name), 0);
	assert_int_equal(image_dir_seal(to), 0);
	image_dir_close(from);
	image_dir_close(to);
	load(p->fd, name, &b);
	each_damage(p, name, &b, must_refuse, p->path);
	assert_int_equal(image_dir_open(p->path, false, &to), 0);
	image_dir_close(to);
	unlinkat(p->fd, name, 0);
	assert_int_equal(image_dir_open(p->path, false, &to), -ENOENT);
}

static void test_damage_sealed(void **state)
{
	each_file(DATA, damage_sealed, *state);
}

struct bare {
	struct image_dir *dir;
	const char *name;
};

static void read_damaged(void *arg, size_t at)
{
	struct bare *bare = arg;
	int err = copy_image(bare->dir, NULL, bare->name);

	if (at < 4)
		assert_int_equal(err, -EBADMSG);
}

/* The same without an integrity file: past the magic it may be taken or refused, but must not break anything. */
static void damage_bare(const char *name, void *arg)
{
	static struct bytes b;
	struct place *p = arg;
	struct bare bare = { .name = name };
	int data = open(DATA, O_RDONLY | O_DIRECTORY);

	load(data, name, &b);
	close(data);
	store(p->fd, name, b.data, b.len);
	assert_int_equal(image_dir_open(p->path, false, &bare.dir), 0);
	each_damage(p, name, &b, read_damaged, &bare);
	assert_int_equal(copy_image(bare.dir, NULL, name), 0);
	image_dir_close(bare.dir);
}

static void test_damage_bare(void **state)
{
	each_file(DATA, damage_bare, *state);
}

/* Two images and a pages file, sealed. */
static void make_checkpoint(struct place *p)
{
	struct image_dir *dir;
	FsEntry fs = FS_ENTRY__INIT;
	int fd;

	assert_int_equal(image_dir_create(p->path, &dir), 0);
	assert_int_equal(image_write_one(dir, IMG_FS, 7, &fs), 0);
	assert_int_equal(image_write_one(dir, IMG_FS, 8, &fs), 0);
	fd = image_pages_create(dir, 1);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "pages", 5, 4096), 5);
	close(fd);
	assert_int_equal(image_dir_seal(dir), 0);
	assert_true(image_dir_sealed(dir));
	assert_int_equal(image_write_one(dir, IMG_FS, 9, &fs), -EROFS);
	image_dir_close(dir);
}

static void test_sums(void **state)
{
	static struct bytes b;
	struct place *p = *state;
	struct image_dir *dir;

	make_checkpoint(p);
	assert_int_equal(each_file(p->path, NULL, NULL), 4);
	load(p->fd, IMAGE_SUMS, &b);
	each_damage(p, IMAGE_SUMS, &b, must_refuse, p->path);
	b.data[b.len] = '\n';
	store(p->fd, IMAGE_SUMS, b.data, b.len + 1);
	assert_int_equal(image_dir_open(p->path, false, &dir), -EBADMSG);
	assert_int_equal(image_dir_open(p->path, true, &dir), 0);
	assert_false(image_dir_sealed(dir));
	image_dir_close(dir);
	store(p->fd, IMAGE_SUMS, b.data, b.len);
	assert_int_equal(image_dir_open(p->path, false, &dir), 0);
	assert_true(image_dir_sealed(dir));
	image_dir_close(dir);
}

/* Pages files: their size counts, not what is in them. */
static void test_pages(void **state)
{
	struct place *p = *state;
	struct image_dir *dir;
	uint64_t at, size;
	int fd;

	make_checkpoint(p);
	fd = openat(p->fd, "pages-1.img", O_RDWR);
	assert_int_equal(pwrite(fd, "PAGES", 5, 4096), 5);
	assert_int_equal(image_dir_open(p->path, false, &dir), 0);
	close(image_pages_open(dir, 1, &at, &size));
	assert_int_equal(image_pages_open(dir, 2, &at, &size), -ENOENT);
	image_dir_close(dir);
	assert_int_equal(ftruncate(fd, 4096), 0);
	close(fd);
	assert_int_equal(image_dir_open(p->path, false, &dir), -EBADMSG);
}

/* What was edited on purpose is taken with the option; what is left over from elsewhere is not read without it. */
static void test_edited(void **state)
{
	static struct bytes b;
	struct place *p = *state;
	struct arena *a = arena_new();
	struct image_dir *dir;
	FsEntry *fs;

	make_checkpoint(p);
	load(p->fd, "fs-7.img", &b);
	store(p->fd, "fs-9.img", b.data, b.len);
	assert_int_equal(image_dir_open(p->path, false, &dir), 0);
	assert_int_equal(image_read_one(dir, IMG_FS, 9, a, &fs), -ENOENT);
	assert_int_equal(image_read_one(dir, IMG_FS, 10, a, &fs), -ENOENT);
	image_dir_close(dir);
	b.data[b.len - 1] = 5;
	store(p->fd, "fs-7.img", b.data, b.len);
	assert_int_equal(image_dir_open(p->path, false, &dir), -EBADMSG);
	assert_int_equal(image_dir_open(p->path, true, &dir), 0);
	assert_int_equal(image_read_one(dir, IMG_FS, 7, a, &fs), 0);
	assert_int_equal(fs->root_id, 5);
	assert_int_equal(image_read_one(dir, IMG_FS, 9, a, &fs), 0);
	image_dir_close(dir);
	arena_free(a);
}

static void test_discard(void **state)
{
	struct place *p = *state;
	struct image_dir *dir;
	struct image *open_one;
	FsEntry fs = FS_ENTRY__INIT;
	int fd;

	assert_int_equal(image_dir_create(p->path, &dir), 0);
	assert_int_equal(image_write_one(dir, IMG_FS, 1, &fs), 0);
	assert_int_equal(image_create(dir, IMG_GHOST_FILE, 0xab, &open_one), 0);
	assert_int_equal(image_create(dir, IMG_GHOST_FILE, 0xab, &(struct image *) { NULL }), -EBUSY);
	fd = image_pages_create(dir, 3);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(image_dir_seal(dir), -EIO);
	assert_int_equal(image_close(open_one), 0);
	assert_int_equal(image_create(dir, IMG_FS, 2, &open_one), 0);
	assert_int_equal(image_dir_seal(dir), -EIO);
	image_close(open_one);
	image_dir_discard(dir);
	image_dir_close(dir);
	assert_int_equal(each_file(p->path, NULL, NULL), 0);

	/* After it is sealed too: the post-dump script may veto. */
	assert_int_equal(image_dir_create(p->path, &dir), 0);
	assert_int_equal(image_write_one(dir, IMG_FS, 1, &fs), 0);
	assert_int_equal(image_dir_seal(dir), 0);
	assert_int_equal(each_file(p->path, NULL, NULL), 2);
	image_dir_discard(dir);
	image_dir_close(dir);
	assert_int_equal(each_file(p->path, NULL, NULL), 0);
}

/* Entries and raw bytes of all sizes, across the ends of buffers. */
static void test_large(void **state)
{
	struct place *p = *state;
	struct arena *a = arena_new();
	uint8_t *data = arena_alloc(a, 300000), *back = arena_alloc(a, 300000);
	struct image_dir *dir;
	struct image *img;
	int n = 0;

	for (size_t i = 0; i < 300000; i++)
		data[i] = (uint8_t)(i * 31 + i / 251);
	assert_int_equal(image_dir_create(p->path, &dir), 0);
	assert_int_equal(image_create(dir, IMG_TTY_DATA, 0, &img), 0);
	for (size_t len = 0; len < 300000; len = len * 3 / 2 + 1, n++) {
		TtyDataEntry e = TTY_DATA_ENTRY__INIT;

		e.tty_id = (uint32_t)n;
		e.data = (ProtobufCBinaryData) { len, data };
		assert_int_equal(image_write(img, &e), 0);
		assert_int_equal(image_write_raw(img, data, len), 0);
	}
	assert_int_equal(image_close(img), 0);
	assert_int_equal(image_dir_seal(dir), 0);
	image_dir_close(dir);

	assert_int_equal(image_dir_open(p->path, false, &dir), 0);
	assert_int_equal(image_open(dir, IMG_TTY_DATA, 0, &img), 0);
	for (size_t len = 0; len < 300000; len = len * 3 / 2 + 1, n--) {
		TtyDataEntry *e;

		assert_int_equal(image_read(img, &tty_data_entry__descriptor, a, &e), 1);
		assert_int_equal(e->data.len, len);
		assert_memory_equal(e->data.data, data, len);
		assert_int_equal(image_read_raw(img, back, len), 0);
		assert_memory_equal(back, data, len);
	}
	assert_int_equal(n, 0);
	assert_int_equal(image_left(img), 0);
	assert_int_equal(image_read_raw(img, back, 1), -EBADMSG);
	image_close(img);
	image_dir_close(dir);
	arena_free(a);
}

/* What we add beyond the format is there after reading, and stays when it is written again. */
static void test_own_fields(void **state)
{
	struct place *p = *state;
	struct arena *a = arena_new();
	struct image_dir *dir;
	PagemapEntry entry = PAGEMAP_ENTRY__INIT, *back;
	PagemapHead head = PAGEMAP_HEAD__INIT, *head_back;
	struct image *img;

	entry.vaddr = 0x1000;
	entry.has_thp = entry.thp = entry.has_cow = true;
	assert_int_equal(image_dir_create(p->path, &dir), 0);
	assert_int_equal(image_create(dir, IMG_PAGEMAP, 5, &img), 0);
	assert_int_equal(image_write(img, &head), 0);
	assert_int_equal(image_write(img, &entry), 0);
	assert_int_equal(image_close(img), 0);
	assert_int_equal(image_open(dir, IMG_PAGEMAP, 5, &img), 0);
	assert_int_equal(image_read(img, &pagemap_head__descriptor, a, &head_back), 1);
	assert_int_equal(image_read(img, &pagemap_entry__descriptor, a, &back), 1);
	assert_true(back->has_thp && back->thp && back->has_cow && !back->cow && !back->has_nr_pages);
	assert_int_equal(image_read(img, &pagemap_entry__descriptor, a, &back), 0);
	image_close(img);
	image_dir_close(dir);
	arena_free(a);
}

#define REFUSES(pb, text, ...)                                                                                         \
	do {                                                                                                           \
		const uint8_t bytes_[] = { __VA_ARGS__ };                                                              \
		char why_[160];                                                                                        \
		assert_int_equal(image_check_message(pb, bytes_, sizeof(bytes_), why_, sizeof(why_)), -EBADMSG);       \
		assert_string_equal(why_, text);                                                                       \
	} while (0)

static void test_check(void **state)
{
	static uint8_t deep[4096];
	char why[160];
	size_t at = sizeof(deep);

	REFUSES(&fdinfo_entry__descriptor, "fdinfo_entry.type has the unknown value 99", 0x08, 1, 0x10, 0, 0x18, 99,
	        0x20, 3);
	REFUSES(&fdinfo_entry__descriptor, "fdinfo_entry.type is missing", 0x08, 1, 0x10, 0, 0x20, 3);
	REFUSES(&fdinfo_entry__descriptor, "fdinfo_entry is cut short or damaged in field 4", 0x08, 1, 0x20);
	REFUSES(&fdinfo_entry__descriptor, "fdinfo_entry is cut short or damaged in field 5", 0x2a, 9, 'x');
	REFUSES(&fdinfo_entry__descriptor, "fdinfo_entry has a damaged field number", 0x00);
	REFUSES(&utsns_entry__descriptor, "utsns_entry.nodename holds a zero byte", 0x0a, 3, 'a', 0, 'b', 0x12, 0);
	/* A namespace (apparmor) in a namespace in ... */
	while (at > sizeof(deep) - 800) {
		size_t len = sizeof(deep) - at, head = len > 127 ? 3 : 2;

		at -= head;
		deep[at] = 0x1a;
		deep[at + 1] = (uint8_t)(len & 127) | (len > 127 ? 128 : 0);
		if (head == 3)
			deep[at + 2] = (uint8_t)(len >> 7);
	}
	assert_int_equal(image_check_message(&aa_namespace__descriptor, deep + at, sizeof(deep) - at, why, sizeof(why)),
	                 -EBADMSG);
	assert_string_equal(why, "aa_namespace is nested deeper than 100");
}

static void test_arena(void **state)
{
	struct arena *a = arena_new();
	uint32_t *numbers = NULL;
	size_t count = 0;

	for (size_t size = 0; size < 3 << 20; size = size * 2 + 7) {
		uint8_t *p = arena_alloc(a, size);

		assert_int_equal((uintptr_t)p % 16, 0);
		for (size_t i = 0; i < size; i++)
			assert_int_equal(p[i], 0);
		memset(p, 0xff, size);
	}
	for (uint32_t i = 0; i < 100000; i++)
		arena_push(a, &numbers, &count, i);
	assert_int_equal(count, 100000);
	for (uint32_t i = 0; i < 100000; i++)
		assert_int_equal(numbers[i], i);
	assert_string_equal(arena_printf(a, "%s-%d", arena_strdup(a, "core"), 7), "core-7");
	assert_memory_equal(arena_memdup(a, "ab\0c", 4), "ab\0c", 4);
	assert_int_equal(arena_msg(a, MmEntry, mm_entry)->base.descriptor == &mm_entry__descriptor, 1);
	arena_free(a);
	arena_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arena),
		cmocka_unit_test(test_check),
		cmocka_unit_test_setup_teardown(test_example, enter, leave),
		cmocka_unit_test_setup_teardown(test_damage_sealed, enter, leave),
		cmocka_unit_test_setup_teardown(test_damage_bare, enter, leave),
		cmocka_unit_test_setup_teardown(test_sums, enter, leave),
		cmocka_unit_test_setup_teardown(test_pages, enter, leave),
		cmocka_unit_test_setup_teardown(test_edited, enter, leave),
		cmocka_unit_test_setup_teardown(test_discard, enter, leave),
		cmocka_unit_test_setup_teardown(test_large, enter, leave),
		cmocka_unit_test_setup_teardown(test_own_fields, enter, leave),
	};

	/* Thousands of refusals are expected: level 0 leaves errors out. */
	log_init(-1, LOG_MSG);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
