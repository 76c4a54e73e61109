/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel's types: of the running kernel, made up ones, and what is none. And what is read of the kernel by them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <linux/btf.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "lib/kernel_view.h"
#include "unit_skip.h"

/* struct outer { int a; union { int b; struct inner { int x:3; int y; } c; }; }, by way of a typedef. */
struct made_up {
	struct btf_header h;
	struct btf_type int_type;
	uint32_t int_data;
	struct btf_type inner;
	struct btf_member x, y;
	struct btf_type name_of_inner, both;
	struct btf_member b, c;
	struct btf_type outer;
	struct btf_member a, un;
	char names[32];
};

static const struct made_up good = {
	.h = { .magic = BTF_MAGIC,
	       .version = BTF_VERSION,
	       .hdr_len = sizeof(struct btf_header),
	       .type_len = offsetof(struct made_up, names) - sizeof(struct btf_header),
	       .str_off = offsetof(struct made_up, names) - sizeof(struct btf_header),
	       .str_len = 32 },
	.int_type = { .name_off = 1, .info = BTF_KIND_INT << 24, .size = 4 },
	.int_data = 32,
	.inner = { .name_off = 5, .info = 1U << 31 | BTF_KIND_STRUCT << 24 | 2, .size = 8 },
	.x = { .name_off = 11, .type = 1, .offset = 3 << 24 | 1 },
	.y = { .name_off = 13, .type = 1, .offset = 32 },
	.name_of_inner = { .name_off = 15, .info = BTF_KIND_TYPEDEF << 24, .type = 2 },
	.both = { .info = BTF_KIND_UNION << 24 | 2, .size = 8 },
	.b = { .name_off = 17, .type = 1 },
	.c = { .name_off = 19, .type = 3 },
	.outer = { .name_off = 21, .info = BTF_KIND_STRUCT << 24 | 2, .size = 12 },
	.a = { .name_off = 27, .type = 1 },
	.un = { .type = 4, .offset = 32 },
	.names = "\0int\0inner\0x\0y\0t\0b\0c\0outer\0a",
};

static void places(void **state)
{
	struct btf_types *b;

	assert_int_equal(btf_parse(&good, sizeof(good), &b), 0);
	assert_int_equal(btf_size(b, "outer"), 12);
	assert_int_equal(btf_size(b, "t"), -ENOENT);
	assert_int_equal(btf_offset(b, "outer", "a"), 0);
	assert_int_equal(btf_offset(b, "outer", "b"), 4);
	assert_int_equal(btf_offset(b, "outer", "c"), 4);
	assert_int_equal(btf_offset(b, "outer", "c.y"), 8);
	assert_int_equal(btf_offset(b, "outer", "c.x"), -EINVAL);
	assert_int_equal(btf_span(b, "outer", "a"), 4);
	assert_int_equal(btf_span(b, "outer", "b"), 8);
	assert_int_equal(btf_span(b, "outer", "c.y"), 4);
	assert_int_equal(btf_span(b, "outer", "c.x"), -EINVAL);
	assert_int_equal(btf_span(b, "outer", "y"), -ENOENT);
	assert_int_equal(btf_offset(b, "outer", "y"), -ENOENT);
	assert_int_equal(btf_offset(b, "outer", "a.y"), -ENOENT);
	assert_int_equal(btf_offset(b, "other", "a"), -ENOENT);
	btf_free(b);
}

/* Each cut, and each byte changed: nothing is read that is not there. */
static void damaged(void **state)
{
	struct btf_types *b;

	for (size_t n = 0; n < sizeof(good); n++)
		if (!btf_parse(&good, n, &b))
			btf_free(b);
	for (size_t i = 0; i < sizeof(good); i++)
		for (int bit = 0; bit < 8; bit++) {
			struct made_up copy = good;

			((uint8_t *)&copy)[i] ^= (uint8_t)(1 << bit);
			if (btf_parse(&copy, sizeof(copy), &b))
				continue;
			btf_offset(b, "outer", "c.y");
			btf_span(b, "outer", "c.y");
			btf_size(b, "inner");
			btf_free(b);
		}
}

static kaddr_t file_of(struct kernel_view *v, int fd)
{
	kaddr_t file;

	assert_int_equal(kernel_file_of(v, fd, &file), 0);
	return file;
}

/* Bytes of ours, found by way of the kernel: a descriptor's position, and a page. */
static void read_back(void **state)
{
	struct kernel_view *v;
	const char *call;
	int fd = memfd_create("x", MFD_CLOEXEC), at, err = kernel_view_open(&v, &call);
	kaddr_t file, none;
	uint8_t both[2][64];
	int64_t pos;

	if (err)
		unit_skip("%s: %s", call, strerror(-err));
	assert_int_equal(lseek(fd, 123456789012, SEEK_SET), 123456789012);
	at = btf_offset(kernel_types(v), "file", "f_pos");
	assert_true(at > 0);
	assert_int_equal(kernel_file_of(v, fd, &file), 0);
	assert_int_equal(kernel_read(v, file + (unsigned)at, &pos, sizeof(pos)), 0);
	assert_int_equal(pos, 123456789012);
	assert_int_equal(kernel_file_of(v, 1000, &file), -EBADF);
	assert_true(kernel_read_pointer(v, 16, &none) < 0);
	pos = 0;
	assert_int_equal(kernel_read_of_file(v, fd, &(struct kernel_way) { .last = at }, &pos, sizeof(pos)), 0);
	assert_int_equal(pos, 123456789012);
	/* By way of its folder entry, back to what that belongs to. */
	at = btf_offset(kernel_types(v), "file", "f_path.dentry");
	assert_int_equal(kernel_read_pointer(v, file_of(v, fd) + (unsigned)at, &none), 0);
	assert_int_equal(kernel_read_of_file(v, fd, &(struct kernel_way) { .n = 1, .hops = { at } }, both[0], 64), 0);
	assert_int_equal(kernel_read(v, none, both[1], 64), 0);
	assert_memory_equal(both[0], both[1], 64);
	/* A descriptor that is not there, and a pointer that is none. */
	assert_true(kernel_read_of_file(v, 1000, &(struct kernel_way) { 0 }, both, 64) < 0);
	at = btf_offset(kernel_types(v), "file", "private_data");
	assert_true(kernel_read_of_file(v, fd, &(struct kernel_way) { .n = 1, .hops = { at } }, both, 64) < 0);
	assert_int_equal(kernel_read_page(v, 12345, 0, &none, sizeof(none)), -ENOTSUP);
	kernel_view_close(v);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places),
		cmocka_unit_test(damaged),
		cmocka_unit_test(read_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
