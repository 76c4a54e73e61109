/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Fuzzing what a dump may send to a page server. Nothing comes into the directory unless all has been sent, and what
 * comes is never what a restore finds damaged.
 */
#include <string.h>
#include <sys/socket.h>

#include "fuzz_dir.h"
#include "pages/page_receive.h"
#include "pages/pagemap.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The images of these numbers are looked at; the parent directory has the first. */
#define A_TASK   77
#define A_OBJECT 5

/* Of the task, four pages. What it holds stays from one input to the next. */
static void make_parent(void)
{
	const uint32_t magics[] = { 0x54564319, 0x56084025 };
	const uint8_t listed[] = { 2, 0, 0, 0, 0x08, 1, 9, 0, 0, 0, 0x08, 0x80, 0x20, 0x10, 0, 0x20, 4, 0x28, 4 };
	const uint8_t size[] = { 0, 0x40, 0, 0 };
	char path[300];

	snprintf(path, sizeof(path), "%s/.before", fuzz_dir());
	if (!mkdir(path, 0700)) {
		fuzz_put(".before/pagemap-77.img", magics, 2, listed, sizeof(listed));
		fuzz_put_zeros(".before/pages-1.img", size, sizeof(size));
	}
	snprintf(path, sizeof(path), "%s/parent", fuzz_dir());
	if (symlink(".before", path))
		abort();
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

/* Also what is said to be in the parent checkpoint is there. -ESTALE: two marks of dumps were sent. */
static void look_at(struct image_dir *dir, enum image_type type, uint64_t id)
{
	struct arena *a = arena_new();
	struct pagemap *map;
	int err = pagemap_read_chain(dir, a, type, id, INT64_MAX & ~(PAGE_SIZE - 1), &map);

	if (err && err != -ENOENT && err != -ESTALE)
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
