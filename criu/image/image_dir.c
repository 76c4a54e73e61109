/* SPDX-License-Identifier: GPL-2.0-only */
/* A directory of images: what was made in it, and whether it is whole. */
#include "image/image_file.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include "image/image_exchange.h"
#include "lib/log.h"

#define SUMS_TEMP      IMAGE_SUMS ".tmp"
#define SETTLE_WAIT_MS 10000 /* for a restore that reads what a killed dump left */
#define TAKE_IT        "(--allow-edited-images takes it as it is)"

struct image_dir {
	int fd;
	int places[2]; /* where its files are: see image_exchange_read(). Writing: the hidden directory, once made, or
	                * fd
	                */
	int readers;   /* reading: the descriptor that keeps them there */
	char *path;
	bool writing, was_empty, sealed, kept, allow_edited;
	pthread_mutex_t lock; /* for sums */
	struct sums *sums;    /* reading: NULL where the checkpoint has none */
};

static void cleanup_dir(struct image_dir **dir)
{
	image_dir_close(*dir);
}

static int open_image_dir(const char *path, struct image_dir **dirp)
{
	__attribute__((cleanup(cleanup_dir))) struct image_dir *dir = calloc(1, sizeof(*dir));

	if (!dir)
		return log_errno(-ENOMEM, "%s", path);
	pthread_mutex_init(&dir->lock, NULL);
	dir->places[0] = dir->places[1] = dir->readers = -1;
	dir->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir->fd < 0)
		return log_errno(-errno, "%s: open of the image directory", path);
	dir->path = strdup(path);
	if (!dir->path)
		return log_errno(-ENOMEM, "%s", path);
	*dirp = move_ptr(dir);
	return 0;
}

int image_dir_create(const char *path, struct image_dir **dirp)
{
	__attribute__((cleanup(cleanup_dir))) struct image_dir *dir = NULL;
	int err = open_image_dir(path, &dir);

	if (err)
		return err;
	if (faccessat(dir->fd, ".", W_OK | X_OK, AT_EACCESS) < 0)
		return log_errno(-errno, "%s: access to the image directory for writing", path);
	err = image_exchange_lock(dir->fd, path);
	if (err)
		return err;
	dir->writing = true; /* closing it gives the lock back */
	err = image_exchange_settle(dir->fd, path, SETTLE_WAIT_MS);
	if (!err)
		err = image_exchange_is_empty(dir->fd, path);
	if (err < 0)
		return err;
	dir->was_empty = err;
	if (dir->was_empty)
		dir->places[0] = dir->fd;
	dir->sums = integrity_new();
	if (!dir->sums)
		return log_errno(-ENOMEM, "%s", path);
	*dirp = move_ptr(dir);
	return 0;
}

/* The directory in which a file is. A dump in progress may have moved it in between: from the one to the other, and
 * back. */
static int place_of(const struct image_dir *dir, const char *name)
{
	for (int i = 0; i < 3 && dir->places[1] >= 0; i++)
		if (faccessat(dir->places[i % 2], name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			return dir->places[i % 2];
	return dir->places[0];
}

/* Says what is wrong with every file; the first error is what is returned. */
static int check_files(struct image_dir *dir)
{
	int first = 0;

	for (struct sum *sum = dir->sums->all; sum; sum = sum->hh.next) {
		char why[128];
		int err = integrity_check(sum, place_of(dir, sum->name), why, sizeof(why));

		if (!err)
			continue;
		if (dir->allow_edited)
			log_warn("%s/%s %s", dir->path, sum->name, why);
		else
			log_errno(err == -EBADMSG ? 0 : err,
			          "%s/%s %s: the checkpoint is not as it was written; " TAKE_IT, dir->path, sum->name,
			          why);
		if (!first)
			first = err;
	}
	return dir->allow_edited ? 0 : first;
}

static int read_sums(struct image_dir *dir)
{
	char why[128];
	int err = integrity_read(place_of(dir, IMAGE_SUMS), IMAGE_SUMS, &dir->sums, why, sizeof(why));

	if (err == -ENOENT) {
		log_info("%s has no %s: not checked as a whole", dir->path, IMAGE_SUMS);
		log_name_images();
		return 0;
	}
	if (err && dir->allow_edited) {
		log_warn("%s/%s %s: not checked as a whole", dir->path, IMAGE_SUMS, why);
		return 0;
	}
	if (err)
		return log_errno(err, "%s/%s %s " TAKE_IT, dir->path, IMAGE_SUMS, why);
	err = check_files(dir);
	dir->sealed = !err;
	return err;
}

/* What a dump that was killed has left. A restore need not write: it can read the checkpoint as it lies. */
static void settle_for_reading(const struct image_dir *dir)
{
	if (image_exchange_is_settled(dir->fd) || faccessat(dir->fd, ".", W_OK | X_OK, AT_EACCESS) < 0)
		return;
	if (!image_exchange_try_lock(dir->fd))
		return;
	log_info("%s: a dump into it was killed: putting the files of the checkpoint in order", dir->path);
	image_exchange_settle(dir->fd, dir->path, 0);
	image_exchange_unlock(dir->fd);
}

int image_dir_open(const char *path, bool allow_edited, struct image_dir **dirp)
{
	__attribute__((cleanup(cleanup_dir))) struct image_dir *dir = NULL;
	int err = open_image_dir(path, &dir);

	if (err)
		return err;
	dir->allow_edited = allow_edited;
	settle_for_reading(dir);
	err = image_exchange_read(dir->fd, path, dir->places, &dir->readers);
	if (!err)
		err = read_sums(dir);
	if (err)
		return err;
	*dirp = move_ptr(dir);
	return 0;
}

/* Before the first file of a dump. Under the lock. */
static int begin_writing(struct image_dir *dir)
{
	int fd = dir->places[0] >= 0 ? 0 : image_exchange_begin(dir->fd, dir->path);

	if (fd < 0)
		return fd;
	if (dir->places[0] < 0)
		dir->places[0] = fd;
	return 0;
}

/* A file that is begun again (a queue that was not as it seemed) is made anew. */
static int create_new(struct image_dir *dir, const char *name)
{
	for (int again = 0;; again++) {
		int fd = openat(dir->places[0], name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

		if (fd >= 0)
			return fd;
		if (errno != EEXIST || again)
			return -errno;
		if (unlinkat(dir->places[0], name, 0) < 0)
			return -errno;
	}
}

static int create_locked(struct image_dir *dir, const char *name, struct sum **sump)
{
	struct sum *sum = integrity_find(dir->sums, name);
	int err, fd;

	if (sum && sum->state == SUM_OPEN && !sum->size_only)
		return log_errno(-EBUSY, "%s/%s is being written already", dir->path, name);
	err = begin_writing(dir);
	if (err)
		return err;
	sum = integrity_add(dir->sums, name);
	if (!sum)
		return log_errno(-ENOMEM, "%s/%s", dir->path, name);
	sum->state = SUM_FAILED;
	fd = create_new(dir, name);
	if (fd < 0)
		return log_errno(fd, "%s/%s: openat for writing", dir->path, name);
	sum->state = SUM_OPEN;
	*sump = sum;
	return fd;
}

int image_dir_create_file(struct image_dir *dir, const char *name, struct sum **sump)
{
	int fd;

	if (!dir->writing || dir->sealed)
		return log_errno(-EROFS, "%s/%s: the checkpoint is complete", dir->path, name);
	pthread_mutex_lock(&dir->lock);
	fd = create_locked(dir, name, sump);
	pthread_mutex_unlock(&dir->lock);
	return fd;
}

int image_dir_open_file(struct image_dir *dir, const char *name)
{
	_cleanup_close_ int fd = openat(place_of(dir, name), name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return errno == ENOENT ? -ENOENT : log_errno(-errno, "%s/%s: openat", dir->path, name);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return log_errno(-EBADMSG, "%s/%s is not a regular file", dir->path, name);
	if (!dir->writing && dir->sealed && !integrity_find(dir->sums, name)) {
		log_warn("%s/%s is not in %s%s", dir->path, name, IMAGE_SUMS,
		         dir->allow_edited ? "" : ": left over from another checkpoint, not used");
		if (!dir->allow_edited)
			return -ENOENT;
	}
	return move_fd(&fd);
}

void image_dir_file_done(struct image_dir *dir, struct sum *sum, bool failed, uint64_t size, uint32_t crc)
{
	pthread_mutex_lock(&dir->lock);
	sum->size = size;
	sum->crc = crc;
	sum->state = failed ? SUM_FAILED : SUM_DONE;
	pthread_mutex_unlock(&dir->lock);
}

void image_dir_size_only(struct image_dir *dir, struct sum *sum)
{
	pthread_mutex_lock(&dir->lock);
	sum->size_only = true;
	sum->state = SUM_DONE;
	pthread_mutex_unlock(&dir->lock);
}

static int seal_locked(struct image_dir *dir)
{
	int err = begin_writing(dir);

	if (err)
		return err;
	for (struct sum *sum = dir->sums->all; sum; sum = sum->hh.next) {
		struct stat st;

		if (sum->state != SUM_DONE)
			return log_errno(-EIO, "%s/%s is not complete", dir->path, sum->name);
		if (!sum->size_only)
			continue;
		if (fstatat(dir->places[0], sum->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return log_errno(-errno, "%s/%s: fstat", dir->path, sum->name);
		sum->size = (uint64_t)st.st_size;
	}
	err = integrity_write(dir->sums, dir->places[0], SUMS_TEMP, IMAGE_SUMS);
	if (err || dir->places[0] == dir->fd) /* it was empty, or this is the second time */
		return err;
	err = image_exchange_publish(dir->fd, dir->path);
	if (err)
		return err;
	close(dir->places[0]);
	dir->places[0] = dir->fd;
	return 0;
}

int image_dir_seal(struct image_dir *dir)
{
	int err;

	if (!dir->writing || dir->sealed)
		return log_errno(-EROFS, "%s: the checkpoint is complete", dir->path);
	pthread_mutex_lock(&dir->lock);
	err = seal_locked(dir);
	dir->sealed = !err;
	pthread_mutex_unlock(&dir->lock);
	return err;
}

int image_dir_unseal(struct image_dir *dir)
{
	int err = 0;

	if (!dir->writing || !dir->sealed)
		return log_errno(-EINVAL, "%s: the checkpoint is not complete", dir->path);
	pthread_mutex_lock(&dir->lock);
	if (unlinkat(dir->places[0], IMAGE_SUMS, 0) < 0)
		err = log_errno(-errno, "%s/%s: unlink", dir->path, IMAGE_SUMS);
	dir->sealed = err;
	pthread_mutex_unlock(&dir->lock);
	return err;
}

void image_dir_discard(struct image_dir *dir)
{
	if (!dir->writing || dir->kept || dir->places[0] < 0)
		return;
	pthread_mutex_lock(&dir->lock);
	image_exchange_take_back(dir->fd, dir->path, dir->was_empty);
	dir->sealed = true;
	pthread_mutex_unlock(&dir->lock);
}

void image_dir_keep(struct image_dir *dir)
{
	dir->kept = true;
}

void image_dir_drop_older(struct image_dir *dir)
{
	image_exchange_settle(dir->fd, dir->path, 0);
}

void image_dir_close(struct image_dir *dir)
{
	if (!dir)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(dir->places); i++)
		if (dir->places[i] >= 0 && dir->places[i] != dir->fd)
			close(dir->places[i]);
	image_exchange_end_read(dir->readers);
	if (dir->writing)
		image_exchange_unlock(dir->fd);
	if (dir->fd >= 0)
		close(dir->fd);
	integrity_free(dir->sums);
	pthread_mutex_destroy(&dir->lock);
	free(dir->path);
	free(dir);
}

bool image_dir_was_empty(const struct image_dir *dir)
{
	return dir->was_empty;
}

bool image_dir_sealed(const struct image_dir *dir)
{
	return dir->sealed;
}

int image_dir_fd(const struct image_dir *dir)
{
	return dir->fd;
}
