/* SPDX-License-Identifier: GPL-2.0-only */
/* The hidden directory is an image directory, which is empty at first. Its lock keeps two page servers apart. */
#include "image/image_received.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "image/image_exchange.h"
#include "lib/log.h"

#define HIDDEN ".checkpoint.pages"

/* The directory itself stays when another page server has it. */
static int remove_left(const struct image_received *r)
{
	_cleanup_close_ int fd = openat(r->fd, HIDDEN, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : log_errno(-errno, "%s/" HIDDEN ": openat", r->path);
	if (!image_exchange_try_lock(fd))
		return log_errno(-EBUSY, "%s: another page server is writing into this image directory", r->path);
	return image_exchange_remove(r->fd, r->path, HIDDEN);
}

static int open_hidden(struct image_received *r)
{
	_cleanup_free_ char *path = NULL;

	if (mkdirat(r->fd, HIDDEN, 0700))
		return log_errno(-errno, "%s/" HIDDEN ": mkdirat", r->path);
	if (asprintf(&path, "%s/" HIDDEN, r->path) < 0) {
		path = NULL;
		return log_errno(-ENOMEM, "%s", r->path);
	}
	return image_dir_create(path, &r->dir);
}

int image_received_begin(struct image_received *r, const char *path)
{
	int err;

	*r = (struct image_received) { .path = path };
	r->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (r->fd < 0)
		return log_errno(-errno, "%s: open of the image directory", path);
	/* Not the coarse clock: a file of a moment ago may have a later time than that shows (Linux 6.13). */
	clock_gettime(CLOCK_REALTIME, &r->begun);
	err = image_exchange_is_empty(r->fd, path, false);
	if (err < 0)
		return err;
	r->replace = !err || !image_exchange_is_settled(r->fd);
	return remove_left(r) ?: open_hidden(r);
}

int image_received_publish(struct image_received *r)
{
	int fd = image_dir_fd(r->dir), err = image_dir_seal(r->dir);

	if (err)
		return err;
	if (renameat(fd, IMAGE_SUMS, fd, IMAGE_SERVER_SUMS))
		return log_errno(-errno, "%s/" HIDDEN "/" IMAGE_SUMS ": rename to " IMAGE_SERVER_SUMS, r->path);
	err = image_exchange_add(r->fd, r->path, HIDDEN, r->replace ? &r->begun : NULL);
	r->published = !err;
	return err;
}

void image_received_end(struct image_received *r)
{
	if (r->dir && !r->published)
		image_exchange_remove(r->fd, r->path, HIDDEN);
	image_dir_close(r->dir);
	if (r->fd >= 0)
		close(r->fd);
}
