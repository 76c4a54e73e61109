/* SPDX-License-Identifier: GPL-2.0-only */
/* The hidden directory is an image directory, which is empty at first. Its lock keeps two page servers apart. */
#include "image/image_received.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "image/image_chain.h"
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

/* Where the link that is there leads; NULL: it is not there, or another one takes its place. */
static char *find_link(const struct image_received *r)
{
	char target[PATH_MAX];
	ssize_t n = r->replace ? -1 : readlinkat(r->fd, IMAGE_PREV, target, sizeof(target) - 1);

	target[MAX(n, 0)] = '\0';
	return n > 0 ? strdup(target) : NULL;
}

int image_received_open_prev(const struct image_received *r, struct image_dir **prevp)
{
	_cleanup_free_ char *path = NULL;

	if (asprintf(&path, "%s%s%s", *r->prev_path == '/' ? "" : r->path, *r->prev_path == '/' ? "" : "/",
	             r->prev_path) < 0) {
		path = NULL;
		return log_errno(-ENOMEM, "%s", r->path);
	}
	return image_dir_open(path, false, prevp);
}

/* Each image directory of a chain is another one. */
static int check_chain(const struct image_received *r)
{
	struct image_dir *prev = r->prev;
	int err = 0;

	while (!err) {
		struct stat a, b;

		if (!fstat(r->fd, &a) && !fstat(image_dir_fd(prev), &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
			return log_errno(-EINVAL,
			                 "--prev-images-dir %s: that checkpoint is in the image directory (-D), or "
			                 "made on top of one there: each needs a directory of its own",
			                 r->prev_path);
		err = image_dir_prev(prev, &prev);
	}
	return err == -ENOENT ? 0 : err;
}

static int begin_chain(struct image_received *r, const char *prev)
{
	char *link = find_link(r);
	bool make = prev && !link;
	int err;

	if (prev && link && strcmp(link, prev) != 0) {
		err = log_errno(-EEXIST, "%s/" IMAGE_PREV " leads to %s, not to %s (--prev-images-dir)", r->path, link,
		                prev);
		free(link);
		return err;
	}
	r->prev_path = link ?: prev ? strdup(prev) : NULL;
	if (!r->prev_path)
		return prev ? log_errno(-ENOMEM, "%s", r->path) : 0;
	err = image_received_open_prev(r, &r->prev);
	if (err)
		return log_errno(err,
		                 "%s: the checkpoint before this one (--prev-images-dir, or the link " IMAGE_PREV
		                 " in %s) cannot be used",
		                 r->prev_path, r->path);
	err = check_chain(r);
	return err ?: make ? image_dir_link_prev(r->dir, prev) : 0;
}

int image_received_begin(struct image_received *r, const char *path, const char *prev)
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
	return remove_left(r) ?: open_hidden(r) ?: begin_chain(r, prev);
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
	image_dir_close(r->prev);
	free(r->prev_path);
	if (r->fd >= 0)
		close(r->fd);
}
