/* SPDX-License-Identifier: GPL-2.0-only */
/* Archives of a root directory alone: what tar(1) makes of one, and what is not one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mnt/mnt_lone_root.h"

#define ROOM 65536

/* Runs a shell command in a new directory, and reads the archive that it makes of d. */
static size_t archive_of(const char *command, const char *options, char *bytes)
{
	char dir[] = "/tmp/lone_root.XXXXXX", line[1024];
	size_t n;
	FILE *f;

	assert_non_null(mkdtemp(dir));
	snprintf(line, sizeof(line),
	         "cd %s && mkdir d && (%s) && tar --create --numeric-owner "
	         "--atime-preserve=system %s -C d .; rm -rf %s",
	         dir, command, options, dir);
	f = popen(line, "r");
	assert_non_null(f);
	n = fread(bytes, 1, ROOM, f);
	assert_int_equal(pclose(f), 0);
	return n;
}

static void what_tar_makes(void **state)
{
	static char bytes[ROOM];
	size_t n = archive_of("chmod 3751 d; touch -a -d @17.25 d; touch -m -d @1234567890.000000012 d",
	                      "--format=posix", bytes);
	struct lone_root root;

	assert_true(n % 512 == 0 && n > 1536);
	assert_true(mnt_lone_root_read(bytes, n, &root));
	assert_int_equal(root.mode & 07777, 03751);
	assert_int_equal(root.uid, getuid());
	assert_int_equal(root.gid, getgid());
	assert_int_equal(root.mtime.tv_sec, 1234567890);
	assert_int_equal(root.mtime.tv_nsec, 12);
	assert_int_equal(root.atime.tv_sec, 17);
	assert_int_equal(root.atime.tv_nsec, 250000000);
}

static void what_is_more(void **state)
{
	static const struct {
		const char *command, *options;
	} rows[] = {
		{ ": > d/file", "--format=posix" },
		{ "mkdir d/e", "--format=posix" },
		{ "touch -d 1960-01-01 d", "--format=posix" }, /* before 1970 */
		{ ":", "--format=gnu" },                       /* CRIU's own: without times of access */
		{ ":", "--format=posix --transform='s|^\\.|./sub|'" },
		{ ":", "--format=posix --pax-option=comment:=x" },
		{ ":", "--format=posix --owner=4000000000" },
	};
	static char bytes[ROOM];
	struct lone_root root;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		size_t n = archive_of(rows[i].command, rows[i].options, bytes);

		if (mnt_lone_root_read(bytes, n, &root))
			fail_msg("%s, %s is taken as a root directory alone", rows[i].command, rows[i].options);
	}
}

/* Each byte of it changed: refused, or read to the same. */
static void damaged(void **state)
{
	static char bytes[ROOM];
	size_t n = archive_of(":", "--format=posix", bytes);
	struct lone_root whole, root;

	assert_true(mnt_lone_root_read(bytes, n, &whole));
	for (size_t i = 0; i < n; i++) {
		if (i >= 512 && i < 1024)
			continue; /* no sum covers that but the compression's */
		for (int bit = 1; bit < 256; bit *= 2) {
			bytes[i] ^= (char)bit;
			if (mnt_lone_root_read(bytes, n, &root))
				assert_memory_equal(&root, &whole, sizeof(root));
			bytes[i] ^= (char)bit;
		}
	}
	for (size_t size = 0; size < 1536; size += 1)
		assert_false(mnt_lone_root_read(bytes, size, &root));
	memset(bytes + 512, '9', 512);
	assert_false(mnt_lone_root_read(bytes, n, &root));
}

/* What is written for a directory, read again, and by tar(1). */
static void what_is_written(void **state)
{
	static const char *const more[] = { "touch d/x", "mkdir d/.e", "touch -m -d 1960-01-01 d",
		                            "chown 4000000000 d" };
	char at[] = "/tmp/lone_root.XXXXXX", bytes[LONE_ROOT_BYTES], line[512], out[64];
	struct lone_root root;
	struct stat st, after;
	int dir;
	FILE *f;

	assert_non_null(mkdtemp(at));
	for (size_t i = 0; i <= ARRAY_SIZE(more); i++) {
		if (i == ARRAY_SIZE(more) && geteuid()) /* its last needs root */
			continue;
		snprintf(line, sizeof(line),
		         "cd %s && rm -rf d && mkdir d && chmod 3751 d && touch -a -d @17.25 d && %s", at,
		         i ? more[i - 1] : ":");
		assert_int_equal(system(line), 0);
		snprintf(line, sizeof(line), "%s/d", at);
		dir = open(line, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_int_equal(fstat(dir, &st), 0);
		assert_int_equal(mnt_lone_root_write(dir, bytes), i == 0);
		assert_int_equal(fstat(dir, &after), 0);
		assert_int_equal(st.st_atim.tv_sec, after.st_atim.tv_sec);
		close(dir);
		if (i)
			continue;
		assert_true(mnt_lone_root_read(bytes, sizeof(bytes), &root));
		assert_int_equal(root.mode & 07777, 03751);
		assert_int_equal(root.uid, getuid());
		assert_memory_equal(&root.mtime, &st.st_mtim, sizeof(root.mtime));
		assert_memory_equal(&root.atime, &st.st_atim, sizeof(root.atime));
		snprintf(line, sizeof(line), "tar --list --verbose > %s/list", at);
		f = popen(line, "w");
		assert_non_null(f);
		assert_int_equal(fwrite(bytes, 1, sizeof(bytes), f), sizeof(bytes));
		assert_int_equal(pclose(f), 0);
		snprintf(line, sizeof(line), "grep '^drwxr-s--t.* ./$' %s/list", at);
		f = popen(line, "r");
		assert_non_null(f);
		assert_non_null(fgets(out, sizeof(out), f));
		assert_int_equal(pclose(f), 0);
	}
	snprintf(line, sizeof(line), "rm -rf %s", at);
	assert_int_equal(system(line), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_tar_makes),
		cmocka_unit_test(what_is_more),
		cmocka_unit_test(damaged),
		cmocka_unit_test(what_is_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
