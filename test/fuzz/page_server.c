/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fuzzing what a dump may send to a page server. Nothing comes into the directory unless all has been sent, and what
 * comes is never what a restore finds damaged.
 */
#include <string.h>
#include <sys/socket.h>

#include "fuzz_dir.h"
#include "pages/page_receive.h"
#include "pages/pages_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The images of these numbers are looked at; the parent directory has the first. */
#define A_TASK   77
#define A_OBJECT 5

static void make_parent(void)
{
	char path[300];

	snprintf(path, sizeof(path), "%s/parent", fuzz_dir());
	if (!mkdir(path, 0700))
		fuzz_put("parent/pagemap-77.img", NULL, 0, NULL, 0);
}

static size_t count_files(bool *hidden)
{
	DIR *d = opendir(fuzz_dir());
	struct dirent *e;
	size_t n = 0;

	while ((e = readdir(d))) {
		*hidden |= !strncmp(e->d_name, ".checkpoint", 11);
		n += e->d_name[0] != '.' && strcmp(e->d_name, "parent");
	}
	closedir(d);
	return n;
}

/* Pages of a parent checkpoint are refused, but not as damage. */
static void look_at(struct image_dir *dir, enum image_type type, uint64_t id)
{
	struct arena *a = arena_new();
	struct pagemap *map;
	int err = pagemap_read(dir, a, type, id, INT64_MAX & ~(PAGE_SIZE - 1), &map);

	if (!err)
		err = pages_file_check(dir, map);
	if (err && err != -ENOENT && err != -EOPNOTSUPP)
		abort();
	arena_free(a);
}

static void look_at_all(void)
{
	struct image_dir *dir;

	if (image_dir_open(fuzz_dir(), false, &dir))
		abort();
	look_at(dir, IMG_PAGEMAP, A_TASK);
	look_at(dir, IMG_SHMEM_PAGEMAP, A_OBJECT);
	image_dir_close(dir);
}

static int receive_from(int sock)
{
	const struct page_peer peer = { .fd = sock, .limit = 1 };
	struct image_received images;
	int err = image_received_begin(&images, fuzz_dir(), NULL);

	if (err)
		abort();
	err = page_receive(&peer, &images);
	image_received_end(&images);
	return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	bool hidden = false;
	int pair[2], err;

	fuzz_dir_empty();
	make_parent();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) ||
	    send(pair[0], data, size, MSG_DONTWAIT) != (ssize_t)size || shutdown(pair[0], SHUT_WR))
		abort();
	err = receive_from(pair[1]);
	close(pair[0]);
	close(pair[1]);
	if ((count_files(&hidden) && err) || hidden)
		abort();
	if (!err)
		look_at_all();
	return 0;
}
