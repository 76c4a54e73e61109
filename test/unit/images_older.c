/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A directory that holds a checkpoint already: at every instant it holds a whole one, the older or the new, whatever
 * becomes of the dump.
 */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "image/image.h"
#include "image/image_exchange.h"
#include "image/image_messages.h"
#include "image/image_names.h"
#include "lib/fault.h"
#include "lib/log.h"

struct place {
	char path[64];
	int fd;
};

static int enter(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	strcpy(p->path, "/tmp/unit-older-XXXXXX");
	assert_non_null(mkdtemp(p->path));
	p->fd = open(p->path, O_RDONLY | O_DIRECTORY);
	assert_true(p->fd >= 0);
	*state = p;
	return 0;
}

/* Those of ours that are hidden are none: nothing of them may be left. */
static int count_files(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	int n = 0;

	assert_non_null(d);
	while ((e = readdir(d)))
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static int leave(void **state)
{
	struct place *p = *state;
	DIR *d = opendir(p->path);
	struct dirent *e;

	while ((e = readdir(d)))
		if (e->d_name[0] != '.')
			unlinkat(p->fd, e->d_name, 0);
	closedir(d);
	close(p->fd);
	assert_int_equal(rmdir(p->path), 0);
	free(p);
	return 0;
}

/* A checkpoint of generation n: its number is in every image, and each generation has images that others have not. */
static void write_generation(struct image_dir *dir, uint32_t n)
{
	InventoryEntry inventory = INVENTORY_ENTRY__INIT;
	FsEntry fs = FS_ENTRY__INIT;
	int fd = image_pages_create(dir, 1);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, &n, sizeof(n)), sizeof(n));
	close(fd);
	fs.cwd_id = fs.root_id = n;
	for (unsigned i = 1; i < 6; i++)
		assert_int_equal(image_write_one(dir, IMG_FS, i, &fs), 0);
	assert_int_equal(image_write_one(dir, IMG_FS, 100 + n, &fs), 0);
	close(openat(image_dir_fd(dir), "config.dump", O_WRONLY | O_CREAT, 0600));
	/* The reading end looks for it; what it says is nothing to this test. */
	inventory.img_version = 1;
	assert_int_equal(image_write_one(dir, IMG_INVENTORY, 0, &inventory), 0);
}

/* Which generation stands there, whole and alone. */
static uint32_t read_generation(struct place *p)
{
	struct arena *a = arena_new();
	struct image_dir *dir;
	uint32_t n = 0, of_pages = 0;
	FsEntry *fs;
	uint64_t at, size;
	int fd;

	assert_int_equal(image_dir_open(p->path, false, &dir), 0);
	for (unsigned i = 1; i < 6; i++) {
		assert_int_equal(image_read_one(dir, IMG_FS, i, a, &fs), 0);
		assert_true(!n || n == fs->cwd_id);
		n = fs->cwd_id;
	}
	for (unsigned i = 1; i < 6; i++)
		assert_int_equal(image_read_one(dir, IMG_FS, 100 + i, a, &fs), i == n ? 0 : -ENOENT);
	fd = image_pages_open(dir, 1, &at, &size);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, &of_pages, sizeof(of_pages)), sizeof(of_pages));
	close(fd);
	assert_int_equal(of_pages, n);
	image_dir_close(dir);
	arena_free(a);
	return n;
}

static void make_generation(struct place *p, uint32_t n, bool sums)
{
	struct image_dir *dir;

	assert_int_equal(image_dir_create(p->path, &dir), 0);
	write_generation(dir, n);
	assert_int_equal(image_dir_seal(dir), 0);
	image_dir_keep(dir);
	image_dir_drop_older(dir);
	image_dir_close(dir);
	if (!sums)
		assert_int_equal(unlinkat(p->fd, IMAGE_SUMS, 0), 0);
}

static void test_older(void **state)
{
	struct place *p = *state;
	struct image_dir *dir, *second;
	struct stat st;

	make_generation(p, 1, true);
	assert_int_equal(read_generation(p), 1);
	assert_int_equal(image_dir_create(p->path, &dir), 0);
	image_dir_discard(dir);
	assert_int_equal(read_generation(p), 1);
	assert_int_equal(image_dir_create(p->path, &second), -EBUSY);
	write_generation(dir, 2);
	assert_int_equal(read_generation(p), 1);
	image_dir_discard(dir);
	image_dir_close(dir);
	assert_int_equal(read_generation(p), 1);
	assert_int_equal(count_files(p->path), 10);

	/* Sealed and then taken back. */
	assert_int_equal(image_dir_create(p->path, &dir), 0);
	write_generation(dir, 2);
	assert_int_equal(image_dir_seal(dir), 0);
	assert_int_equal(read_generation(p), 2);
	image_dir_discard(dir);
	image_dir_close(dir);
	assert_int_equal(read_generation(p), 1);
	assert_int_equal(count_files(p->path), 10);

	make_generation(p, 3, true);
	assert_int_equal(read_generation(p), 3);
	assert_int_equal(count_files(p->path), 10);
	assert_int_equal(fstatat(p->fd, "fs-2.img", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
}

/* A restore that reads is waited for; a new one waits for the exchange. */
static void test_older_read(void **state)
{
	struct place *p = *state;
	struct image_dir *dir, *reader;
	pid_t pid;
	int status;

	make_generation(p, 1, true);
	assert_int_equal(image_dir_open(p->path, false, &reader), 0);
	pid = fork();
	if (!pid) {
		make_generation(p, 2, true);
		_exit(0);
	}
	usleep(100000);
	assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
	image_dir_close(reader);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(read_generation(p), 2);
	assert_int_equal(image_dir_create(p->path, &dir), 0);
	image_dir_close(dir);
}

/* Kills a dump at a point; whether it came to its end instead. */
static bool killed_dump(struct place *p, unsigned point, bool discard)
{
	pid_t pid = fork();
	struct image_dir *dir;
	int status;

	if (!pid) {
		fault_init(point);
		assert_int_equal(image_dir_create(p->path, &dir), 0);
		fault_point("begun");
		write_generation(dir, 2);
		fault_point("written");
		assert_int_equal(image_dir_seal(dir), 0);
		fault_point("sealed");
		if (discard)
			image_dir_discard(dir);
		else
			image_dir_drop_older(dir);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(!status || WIFSIGNALED(status));
	return !status;
}

/* At each point: read as it lies, then put in order by a restore, or by the next dump; with and without the integrity
 * file. */
static void test_older_killed(void **state)
{
	struct place *p = *state;
	unsigned seen[4] = {};

	for (unsigned how = 0; how < 8; how++) {
		bool ended = false;

		for (unsigned point = 1; !ended; point++) {
			int busy;
			uint32_t n;

			make_generation(p, 1, how & 1);
			ended = killed_dump(p, point, how & 2);
			busy = open(p->path, O_RDONLY | O_DIRECTORY);
			assert_int_equal(flock(busy, LOCK_EX | LOCK_NB), 0);
			n = read_generation(p); /* the lock keeps it from putting things in order */
			close(busy);
			seen[n]++;
			if (how & 4) {
				assert_int_equal(read_generation(p), n);
				assert_int_equal(count_files(p->path), n == 1 && !(how & 1) ? 9 : 10);
				assert_true(image_exchange_is_settled(p->fd));
				assert_int_equal(read_generation(p), n);
			}
			make_generation(p, 3, true);
			assert_true(image_exchange_is_settled(p->fd));
			assert_int_equal(read_generation(p), 3);
			assert_int_equal(count_files(p->path), 10);
		}
	}
	assert_true(seen[1] > 20 && seen[2] > 20 && !seen[3]);
}

static void test_names(void **state)
{
	assert_true(image_names_has("inventory.img"));
	assert_true(image_names_has("core-12.img"));
	assert_true(image_names_has("ghost-file-1af.img"));
	assert_true(image_names_has("tmpfs-dev-12.tar.gz.img"));
	assert_true(image_names_has(IMAGE_SUMS));
	assert_false(image_names_has("core-.img"));
	assert_false(image_names_has("core-12a.img"));
	assert_false(image_names_has("core-12.img.old"));
	assert_false(image_names_has("stats-dump"));
	assert_false(image_names_has("descriptors.json"));
	assert_false(image_names_has("dump.log"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_older, enter, leave),
		cmocka_unit_test_setup_teardown(test_older_read, enter, leave),
		cmocka_unit_test_setup_teardown(test_older_killed, enter, leave),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
