/* SPDX-License-Identifier: GPL-2.0-only */
/* What /proc says of file handles and mounts: read as it is, and never further than it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fd/epoll_numbers.h"
#include "path/fhandle.h"

static FhEntry *parse(struct arena *a, const char *text)
{
	return fhandle_parse(a, text, strlen(text));
}

static void handles(void **state)
{
	struct arena *a = arena_new();
	char line[400] = "inotify wd:1 ino:1 sdev:1 mask:1 ignored_mask:0 fhandle-bytes:80 fhandle-type:1 f_handle:";
	FhEntry *fh = parse(a, "inotify wd:1 fhandle-bytes:8 fhandle-type:1 f_handle:5d03000000abcdef");

	assert_non_null(fh);
	assert_int_equal(fh->bytes, 8);
	assert_int_equal(fh->type, 1);
	assert_int_equal(fh->n_handle, 16);
	assert_memory_equal(fh->handle, "\x5d\x03\0\0\0\xab\xcd\xef", 8);
	fh = parse(a, "inotify wd:3 ino:3 sdev:6 mask:2 ignored_mask:0 ");
	assert_non_null(fh);
	assert_int_equal(fh->bytes, 0);
	assert_null(parse(a, "fhandle-bytes:8 fhandle-type:1 f_handle:5d0300"));
	assert_null(parse(a, "fhandle-bytes:8 fhandle-type:1 f_handle:5d03xx0000abcdef"));
	assert_null(parse(a, "fhandle-bytes:81 fhandle-type:1 f_handle:00"));
	assert_null(parse(a, "fhandle-bytes:8 fhandle-type:1"));
	/* As many as there can be, and one digit less. */
	for (size_t at = strlen(line), i = 0; i < 256; i++)
		line[at + i] = 'f';
	assert_non_null(parse(a, line));
	line[strlen(line) - 1] = 0;
	assert_null(parse(a, line));
	arena_free(a);
}

static int mount(struct arena *a, const char *line, struct mount_at *m)
{
	return mountinfo_parse_line(line, strlen(line), a, m);
}

static void mounts(void **state)
{
	struct arena *a = arena_new();
	struct mount_at m, *all;
	size_t n;

	assert_int_equal(mount(a, "30 23 0:27 / /dev/shm rw,relatime - tmpfs tmpfs rw", &m), 0);
	assert_int_equal(m.id, 30);
	assert_int_equal(m.s_dev, 27);
	assert_string_equal(m.path, "/dev/shm");
	assert_int_equal(mount(a, "31 23 254:1 /a\\040b /mnt/x\\040y\\134z rw shared:7 - ext4 /dev/vda rw", &m), 0);
	assert_int_equal(m.s_dev, 254 << 20 | 1);
	assert_string_equal(m.path, "/mnt/x y\\z");
	assert_int_equal(mount(a, "31 23 254:1 /", &m), -EBADMSG);
	assert_int_equal(mount(a, "31 23 254:1 / mnt rw", &m), -EBADMSG);
	assert_int_equal(mount(a, "31 23 4096:1 / /mnt rw", &m), -EBADMSG);
	assert_int_equal(mount(a, "", &m), -EBADMSG);
	assert_int_equal(mountinfo_read(a, &all, &n), 0);
	assert_true(n > 0);
	arena_free(a);
}

static void disarmed(void **state)
{
	assert_true(epoll_is_disarmed(0x40000000));
	assert_true(epoll_is_disarmed(0xe0000000));
	assert_false(epoll_is_disarmed(0x40000018));
	assert_false(epoll_is_disarmed(0x00000000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handles),
		cmocka_unit_test(mounts),
		cmocka_unit_test(disarmed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
