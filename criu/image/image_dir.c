/* SPDX-License-Identifier: GPL-2.0-only */
/* A directory of images: what was made in it, and whether it is whole. */
#include "image/image_file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "image/image_chain.h"
#include "image/image_change.h"
#include "image/image_dir_own.h"
#include "image/image_exchange.h"
#include "image/image_stream.h"
#include "image/image_sums.h"
#include "lib/arena.h"
#include "lib/log.h"

#define SUMS_TEMP      IMAGE_SUMS ".tmp"
#define SETTLE_WAIT_MS 10000 /* for a restore that reads what a killed dump left */

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
		err = image_exchange_is_empty(dir->fd, path, true);
	if (err < 0)
		return err;
	dir->was_empty = err;
	clock_gettime(CLOCK_REALTIME_COARSE, &dir->begun);
	if (dir->was_empty)
		dir->places[0] = dir->fd;
	dir->sums = integrity_new();
	if (!dir->sums)
		return log_errno(-ENOMEM, "%s", path);
	*dirp = move_ptr(dir);
	return 0;
}

int image_dir_create_stream(const char *path, unsigned limit, struct image_dir **dirp)
{
	__attribute__((cleanup(cleanup_dir))) struct image_dir *dir = NULL;
	int err = open_image_dir(path, &dir);

	if (!err)
		err = image_stream_connect(dir->fd, path, true, limit, &dir->stream);
	if (err)
		return err;
	dir->writing = true;
	dir->sums = integrity_new();
	if (!dir->sums)
		return log_errno(-ENOMEM, "%s", path);
	*dirp = move_ptr(dir);
	return 0;
}

/* The directory in which a file is. A dump in progress may have moved it in between: from the one to the other, and
 * back. */
int image_dir_place_of(const struct image_dir *dir, const char *name)
{
	for (int i = 0; i < 3 && dir->places[1] >= 0; i++)
		if (faccessat(dir->places[i % 2], name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			return dir->places[i % 2];
	return dir->places[0];
}

/* The largest file without which nothing says how large it is; the checkpoint may be CRIU's. */
#define STREAMED_MAX (1ULL << 50)

static int read_streamed_sums(struct image_dir *dir, char *why, size_t why_size)
{
	struct image_stretch where;
	int err = image_stream_fetch(dir->stream, IMAGE_SUMS, STREAMED_MAX, &where);
	_cleanup_close_ int fd = err ? -1 : image_stream_copy(&where, IMAGE_SUMS);

	return integrity_read_from(err ?: fd, &dir->sums, why, why_size);
}

static int read_sums(struct image_dir *dir)
{
	char why[128];
	int err = dir->stream
	              ? read_streamed_sums(dir, why, sizeof(why))
	              : integrity_read(image_dir_place_of(dir, IMAGE_SUMS), IMAGE_SUMS, &dir->sums, why, sizeof(why));

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
	for (const struct sum *sum = dir->sums->all; sum; sum = sum->hh.next)
		dir->some_sent |= sum->sent;
	if (dir->stream && dir->some_sent)
		return log_errno(-EOPNOTSUPP, "--stream: the pages of this checkpoint were sent to a page server: put "
		                              "its files and these into one directory, and restore from there");
	err = dir->stream ? 0 : image_sums_check(dir, dir->sums);
	dir->sealed = !err;
	return err;
}

/* CRIU's page server writes none. What another checkpoint has left of it means nothing. */
static int read_server_sums(struct image_dir *dir)
{
	char why[128];
	int err;

	if (dir->sealed && !dir->some_sent)
		return 0;
	err = integrity_read(image_dir_place_of(dir, IMAGE_SERVER_SUMS), IMAGE_SERVER_SUMS, &dir->server, why,
	                     sizeof(why));
	if (err == -ENOENT)
		return 0;
	if (err && dir->allow_edited)
		log_warn("%s/%s %s: not checked", dir->path, IMAGE_SERVER_SUMS, why);
	else if (err)
		return log_errno(err, "%s/%s %s " TAKE_IT, dir->path, IMAGE_SERVER_SUMS, why);
	return dir->server ? image_sums_check(dir, dir->server) : 0;
}

int image_dir_check_sent(const struct image_dir *dir, const char *name, uint64_t pages, uint32_t where)
{
	const struct sum *sum = dir->sealed ? integrity_find(dir->sums, name) : NULL;

	if (!sum || !sum->sent || (sum->size == pages && sum->crc == where))
		return 0;
	if (!dir->allow_edited)
		return log_errno(-EBADMSG,
		                 "%s/%s tells of %" PRIu64 " pages and is not what the dump has sent (%" PRIu64
		                 " pages): the page server has written this file for another dump; " TAKE_IT,
		                 dir->path, name, pages, sum->size);
	log_warn("%s/%s is not what the dump has sent to the page server", dir->path, name);
	return 0;
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

int image_dir_open_like(const char *path, const struct image_dir *like, struct image_dir **dirp)
{
	__attribute__((cleanup(cleanup_dir))) struct image_dir *dir = NULL;
	int err = open_image_dir(path, &dir);

	if (err)
		return err;
	dir->allow_edited = like->allow_edited;
	dir->sent_elsewhere = like->sent_elsewhere;
	settle_for_reading(dir);
	err = image_exchange_read(dir->fd, path, dir->places, &dir->readers);
	if (!err)
		err = read_sums(dir);
	if (!err)
		err = read_server_sums(dir);
	if (err)
		return err;
	*dirp = move_ptr(dir);
	return 0;
}

int image_dir_open(const char *path, bool allow_edited, struct image_dir **dirp)
{
	return image_dir_open_like(path, &(struct image_dir) { .allow_edited = allow_edited }, dirp);
}

int image_dir_open_stream(const char *path, unsigned limit, bool allow_edited, struct image_dir **dirp)
{
	__attribute__((cleanup(cleanup_dir))) struct image_dir *dir = NULL;
	int err = open_image_dir(path, &dir);

	if (err)
		return err;
	dir->allow_edited = allow_edited;
	err = image_stream_connect(dir->fd, path, false, limit, &dir->stream);
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
	int fd = dir->places[0] >= 0 || dir->stream ? 0 : image_exchange_begin(dir->fd, dir->path);

	if (fd < 0)
		return fd;
	if (dir->places[0] < 0 && !dir->stream)
		dir->places[0] = fd;
	return 0;
}

/* A file that is begun again (a queue that was not as it seemed) is made anew. */
static int create_new(struct image_dir *dir, const char *name)
{
	if (dir->stream) {
		int fd = memfd_create(name, MFD_CLOEXEC);

		return fd < 0 ? -errno : fd;
	}
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

int image_dir_files_fd(struct image_dir *dir)
{
	int err = 0;

	if (!dir->writing || dir->sealed)
		return dir->fd;
	pthread_mutex_lock(&dir->lock);
	err = begin_writing(dir);
	pthread_mutex_unlock(&dir->lock);
	return err ?: dir->places[0];
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

/* Whether the file, which is there, is one of this checkpoint: not one that another has left. */
static bool belongs_to_it(const struct image_dir *dir, const char *name)
{
	if (dir->writing || !dir->sealed || integrity_find(dir->sums, name) || image_change_is_later(name))
		return true;
	if (dir->server ? integrity_find(dir->server, name) != NULL : dir->some_sent && !strncmp(name, "pages-", 6))
		return true;
	log_warn("%s/%s is not in %s%s", dir->path, name, IMAGE_SUMS,
	         dir->allow_edited ? "" : ": left over from another checkpoint, not used");
	return dir->allow_edited;
}

/* Of a streamer nothing is asked that the checkpoint has not. */
static int fetch_file(struct image_dir *dir, const char *name, struct image_stretch *where)
{
	const struct sum *sum = dir->sealed ? integrity_find(dir->sums, name) : NULL;
	uint64_t most = sum && !dir->allow_edited ? sum->size : STREAMED_MAX;
	int err;

	if (dir->sealed && !sum && !dir->allow_edited)
		return -ENOENT;
	err = image_stream_fetch(dir->stream, name, most, where);
	return err == -ENOENT && sum
	           ? log_errno(err, "%s: the image streamer has no such file, but %s has", name, IMAGE_SUMS)
	           : err;
}

static int check_fetched(const struct image_dir *dir, const char *name, int fd)
{
	const struct sum *sum = dir->sealed ? integrity_find(dir->sums, name) : NULL;
	char why[128];
	int err = sum ? integrity_check_from(sum, fd, why, sizeof(why)) : 0;

	if (err && dir->allow_edited)
		log_warn("%s %s", name, why);
	else if (err)
		return log_errno(err == -EBADMSG ? 0 : err, "%s %s: the checkpoint is not as it was written; " TAKE_IT,
		                 name, why)
		           ?: err;
	return lseek(fd, 0, SEEK_SET) < 0 ? log_errno(-errno, "%s: lseek", name) : 0;
}

static int open_streamed(struct image_dir *dir, const char *name)
{
	_cleanup_close_ int fd = -1;
	struct image_stretch where;
	int err = fetch_file(dir, name, &where);

	if (err)
		return err;
	fd = image_stream_copy(&where, name);
	if (fd < 0)
		return fd;
	err = check_fetched(dir, name, fd);
	return err ?: move_fd(&fd);
}

unsigned char *image_dir_take_kept(struct image_dir *dir, const char *name, uint64_t *size)
{
	return dir->sealed && !dir->writing ? integrity_take_kept(dir->sums, name, size) : NULL;
}

int image_dir_open_file(struct image_dir *dir, const char *name)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (dir->stream)
		return open_streamed(dir, name);
	fd = openat(image_dir_place_of(dir, name), name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return errno == ENOENT ? -ENOENT : log_errno(-errno, "%s/%s: openat", dir->path, name);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return log_errno(-EBADMSG, "%s/%s is not a regular file", dir->path, name);
	return belongs_to_it(dir, name) ? move_fd(&fd) : -ENOENT;
}

static void note_done(struct image_dir *dir, struct sum *sum, bool failed, uint64_t size, uint32_t crc)
{
	pthread_mutex_lock(&dir->lock);
	sum->size = size;
	sum->crc = crc;
	sum->state = failed ? SUM_FAILED : SUM_DONE;
	pthread_mutex_unlock(&dir->lock);
}

int image_dir_file_done(struct image_dir *dir, struct sum *sum, int err, int fd, uint64_t size, uint32_t crc)
{
	if (!err && dir->stream && fd >= 0)
		err = image_stream_keep(dir->stream, sum->name, fd);
	note_done(dir, sum, err != 0, size, crc);
	return err;
}

/* ---- pages ---- */

static int stream_pages(struct image_dir *dir, const char *name)
{
	struct sum *sum;
	int fd;

	pthread_mutex_lock(&dir->lock);
	sum = integrity_add(dir->sums, name);
	if (sum)
		sum->size_only = true;
	pthread_mutex_unlock(&dir->lock);
	fd = sum ? image_stream_begin(dir->stream, name) : log_errno(-ENOMEM, "%s", name);
	if (sum && fd < 0)
		note_done(dir, sum, true, 0, 0);
	return fd;
}

int image_dir_create_pages(struct image_dir *dir, const char *name)
{
	struct sum *sum;
	int fd = dir->stream ? stream_pages(dir, name) : image_dir_create_file(dir, name, &sum);

	if (fd < 0 || dir->stream)
		return fd;
	pthread_mutex_lock(&dir->lock);
	sum->size_only = true;
	sum->state = SUM_DONE;
	pthread_mutex_unlock(&dir->lock);
	return fd;
}

int image_dir_note_sent(struct image_dir *dir, const char *name, uint64_t pages, uint32_t where)
{
	struct sum *sum;

	pthread_mutex_lock(&dir->lock);
	sum = integrity_add(dir->sums, name);
	if (sum)
		sum->sent = true;
	pthread_mutex_unlock(&dir->lock);
	if (!sum)
		return log_errno(-ENOMEM, "%s/%s", dir->path, name);
	note_done(dir, sum, false, pages, where);
	return 0;
}

int image_dir_append_pages(struct image_dir *dir, const char *name, int fd, const void *data, size_t len)
{
	return image_stream_write(dir->stream, name, fd, data, len);
}

int image_dir_end_pages(struct image_dir *dir, const char *name, int *fd, uint64_t size)
{
	struct sum *sum;
	int err = dir->stream ? image_stream_end(dir->stream, name, fd) : 0;

	if (!dir->stream)
		return 0;
	pthread_mutex_lock(&dir->lock);
	sum = integrity_find(dir->sums, name);
	pthread_mutex_unlock(&dir->lock);
	if (sum)
		note_done(dir, sum, err != 0, size, 0);
	return err;
}

int image_dir_open_pages(struct image_dir *dir, const char *name, uint64_t *at, uint64_t *size)
{
	struct image_stretch where = { .fd = -1 };
	struct stat st;
	int fd = dir->stream ? fetch_file(dir, name, &where) : image_dir_open_file(dir, name);

	if (fd < 0)
		return fd;
	if (dir->stream) {
		fd = fcntl(where.fd, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return log_errno(-errno, "%s: fcntl(F_DUPFD_CLOEXEC)", name);
	} else if (fstat(fd, &st)) {
		int err = log_errno(-errno, "%s/%s: fstat", dir->path, name);

		close(fd);
		return err;
	}
	*at = where.at;
	*size = dir->stream ? where.size : (uint64_t)st.st_size;
	return fd;
}

void image_dir_forget_pages(struct image_dir *dir, const char *name)
{
	if (dir->stream)
		image_stream_forget(dir->stream, name);
}

/* ---- the end of a dump ---- */

/* The integrity file goes last: without it nothing counts. */
static int send_all(struct image_dir *dir)
{
	_cleanup_close_ int fd = memfd_create(IMAGE_SUMS, MFD_CLOEXEC);
	int err =
	    fd < 0 ? log_errno(-errno, "%s: memfd_create", IMAGE_SUMS) : integrity_write_to(dir->sums, fd, IMAGE_SUMS);

	err = err ?: image_stream_keep(dir->stream, IMAGE_SUMS, fd);
	return err ?: image_stream_send_kept(dir->stream);
}

/* A page server has written the file into what the new checkpoint is to take the place of. */
static bool is_written_beside(const struct image_dir *dir, const char *name)
{
	struct stat st;

	if (dir->places[0] == dir->fd || fstatat(dir->fd, name, &st, AT_SYMLINK_NOFOLLOW))
		return false;
	return st.st_ctim.tv_sec != dir->begun.tv_sec ? st.st_ctim.tv_sec > dir->begun.tv_sec
	                                              : st.st_ctim.tv_nsec > dir->begun.tv_nsec;
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
		if (sum->sent && is_written_beside(dir, sum->name))
			return log_errno(-EEXIST,
			                 "%s/%s: CRIU's page server writes into the directory of this dump, which has "
			                 "an older checkpoint in it: empty the directory, or give one of them another",
			                 dir->path, sum->name);
		if (!sum->size_only || dir->stream)
			continue;
		if (fstatat(dir->places[0], sum->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return log_errno(-errno, "%s/%s: fstat", dir->path, sum->name);
		sum->size = (uint64_t)st.st_size;
	}
	if (dir->stream)
		return send_all(dir);
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
	if (!dir->stream && unlinkat(dir->places[0], IMAGE_SUMS, 0) < 0)
		err = log_errno(-errno, "%s/%s: unlink", dir->path, IMAGE_SUMS);
	dir->sealed = err;
	pthread_mutex_unlock(&dir->lock);
	return err;
}

void image_dir_discard(struct image_dir *dir)
{
	if (!dir->writing || dir->kept || dir->places[0] < 0) /* with a streamer there is nothing of ours */
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
	if (!dir->stream)
		image_exchange_settle(dir->fd, dir->path, 0);
}

void image_dir_close(struct image_dir *dir)
{
	if (!dir)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(dir->places); i++)
		if (dir->places[i] >= 0 && dir->places[i] != dir->fd)
			close(dir->places[i]);
	image_dir_close(dir->prev);
	image_exchange_end_read(dir->readers);
	image_stream_close(dir->stream);
	if (dir->writing && !dir->stream)
		image_exchange_unlock(dir->fd);
	if (dir->fd >= 0)
		close(dir->fd);
	integrity_free(dir->sums);
	integrity_free(dir->server);
	arena_free(dir->arena);
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

bool image_dir_vouches_for(const struct image_dir *dir, const char *name)
{
	return (dir->sealed && integrity_find(dir->sums, name)) || (dir->server && integrity_find(dir->server, name));
}

bool image_dir_allows_edited(const struct image_dir *dir)
{
	return dir->allow_edited;
}

void image_dir_sent_elsewhere(struct image_dir *dir)
{
	dir->sent_elsewhere = true;
}

bool image_dir_streams(const struct image_dir *dir)
{
	return dir->stream != NULL;
}

int image_dir_fd(const struct image_dir *dir)
{
	return dir->fd;
}

void image_dir_set_ids(struct image_dir *dir, const struct image_ids *ids)
{
	dir->ids = ids;
}

const struct image_ids *image_dir_ids(const struct image_dir *dir)
{
	return dir->ids;
}
