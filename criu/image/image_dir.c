/* SPDX-License-Identifier: GPL-2.0-only */
/* A directory of images: what was made in it, and whether it is whole. */
#include "image/image_file.h"

#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/log.h"

#define SUMS_TEMP IMAGE_SUMS ".tmp"
#define TAKE_IT   "(--allow-edited-images takes it as it is)"

struct image_dir {
	int fd;
	char *path;
	bool writing, touched, sealed, allow_edited;
	pthread_mutex_t lock; /* for sums and the hook */
	struct sums *sums;    /* reading: NULL where the checkpoint has none */
	image_created_fn created;
	void *created_arg;
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
	dir->writing = true;
	dir->sums = integrity_new();
	if (!dir->sums)
		return log_errno(-ENOMEM, "%s", path);
	*dirp = move_ptr(dir);
	return 0;
}

void image_dir_on_create(struct image_dir *dir, image_created_fn fn, void *arg)
{
	dir->created = fn;
	dir->created_arg = arg;
}

/* Says what is wrong with every file; the first error is what is returned. */
static int check_files(struct image_dir *dir)
{
	int first = 0;

	for (struct sum *sum = dir->sums->all; sum; sum = sum->hh.next) {
		char why[128];
		int err = integrity_check(sum, dir->fd, why, sizeof(why));

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

int image_dir_open(const char *path, bool allow_edited, struct image_dir **dirp)
{
	__attribute__((cleanup(cleanup_dir))) struct image_dir *dir = NULL;
	char why[128];
	int err = open_image_dir(path, &dir);

	if (err)
		return err;
	dir->allow_edited = allow_edited;
	err = integrity_read(dir->fd, IMAGE_SUMS, &dir->sums, why, sizeof(why));
	if (err == -ENOENT) {
		log_info("%s has no %s: not checked as a whole", path, IMAGE_SUMS);
	} else if (err && allow_edited) {
		log_warn("%s/%s %s: not checked as a whole", path, IMAGE_SUMS, why);
	} else if (err) {
		return log_errno(err, "%s/%s %s " TAKE_IT, path, IMAGE_SUMS, why);
	} else {
		err = check_files(dir);
		if (err)
			return err;
		dir->sealed = true;
	}
	*dirp = move_ptr(dir);
	return 0;
}

/* Before the first change: what says that an older checkpoint is whole goes away. Under the lock. */
static int forget_older(struct image_dir *dir)
{
	if (dir->touched)
		return 0;
	if (unlinkat(dir->fd, IMAGE_SUMS, 0) < 0 && errno != ENOENT)
		return log_errno(-errno, "%s/%s: unlink", dir->path, IMAGE_SUMS);
	if (unlinkat(dir->fd, SUMS_TEMP, 0) < 0 && errno != ENOENT)
		return log_errno(-errno, "%s/%s: unlink", dir->path, SUMS_TEMP);
	dir->touched = true;
	return 0;
}

static int tell_created(struct image_dir *dir, const char *name)
{
	return dir->created ? dir->created(dir->created_arg, name) : 0;
}

/* Not written over: an older file may have other names, other readers, another owner. */
static int create_new(struct image_dir *dir, const char *name)
{
	for (int again = 0;; again++) {
		int fd = openat(dir->fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

		if (fd >= 0)
			return fd;
		if (errno != EEXIST || again)
			return -errno;
		if (unlinkat(dir->fd, name, 0) < 0)
			return -errno;
	}
}

static int create_locked(struct image_dir *dir, const char *name, struct sum **sump)
{
	struct sum *sum = integrity_find(dir->sums, name);
	int err, fd;

	if (sum && sum->state == SUM_OPEN && !sum->size_only)
		return log_errno(-EBUSY, "%s/%s is being written already", dir->path, name);
	err = forget_older(dir);
	if (err)
		return err;
	sum = integrity_add(dir->sums, name);
	if (!sum)
		return log_errno(-ENOMEM, "%s/%s", dir->path, name);
	sum->state = SUM_FAILED;
	err = tell_created(dir, name);
	if (err)
		return err;
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
	_cleanup_close_ int fd = openat(dir->fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
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
	int err = forget_older(dir);

	if (err)
		return err;
	for (struct sum *sum = dir->sums->all; sum; sum = sum->hh.next) {
		struct stat st;

		if (sum->state != SUM_DONE)
			return log_errno(-EIO, "%s/%s is not complete", dir->path, sum->name);
		if (!sum->size_only)
			continue;
		if (fstatat(dir->fd, sum->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return log_errno(-errno, "%s/%s: fstat", dir->path, sum->name);
		sum->size = (uint64_t)st.st_size;
	}
	err = tell_created(dir, SUMS_TEMP);
	if (!err)
		err = tell_created(dir, IMAGE_SUMS);
	if (!err)
		err = integrity_write(dir->sums, dir->fd, SUMS_TEMP, IMAGE_SUMS);
	return err;
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
	if (unlinkat(dir->fd, IMAGE_SUMS, 0) < 0)
		err = log_errno(-errno, "%s/%s: unlink", dir->path, IMAGE_SUMS);
	dir->sealed = err;
	pthread_mutex_unlock(&dir->lock);
	return err;
}

static void discard_file(struct image_dir *dir, const char *name)
{
	if (unlinkat(dir->fd, name, 0) < 0 && errno != ENOENT)
		log_warn("%s/%s: unlink: %s", dir->path, name, strerror(errno));
}

void image_dir_discard(struct image_dir *dir)
{
	if (!dir->writing || !dir->touched)
		return;
	pthread_mutex_lock(&dir->lock);
	/* The integrity file first: without it no reader takes the rest for a whole checkpoint. */
	discard_file(dir, IMAGE_SUMS);
	discard_file(dir, SUMS_TEMP);
	for (struct sum *sum = dir->sums->all; sum; sum = sum->hh.next)
		discard_file(dir, sum->name);
	dir->sealed = true;
	pthread_mutex_unlock(&dir->lock);
}

void image_dir_close(struct image_dir *dir)
{
	if (!dir)
		return;
	if (dir->fd >= 0)
		close(dir->fd);
	integrity_free(dir->sums);
	pthread_mutex_destroy(&dir->lock);
	free(dir->path);
	free(dir);
}

bool image_dir_sealed(const struct image_dir *dir)
{
	return dir->sealed;
}

int image_dir_fd(const struct image_dir *dir)
{
	return dir->fd;
}
