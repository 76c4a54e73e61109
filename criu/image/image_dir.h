/* SPDX-License-Identifier: GPL-2.0-only */
/* The directory of a checkpoint: what was made in it, and whether it is whole. Included by image/image.h. */
#ifndef CRIU_IMAGE_IMAGE_DIR_H
#define CRIU_IMAGE_IMAGE_DIR_H

#include "common.h"

/* A directory of images, and what is known of its files. */
struct image_dir;

/*
 * Opens path for writing (a dump), alone: another dump into it is -EBUSY. What a killed dump left in it is put in
 * order. Files are made with mode 0600; where images are already, in a hidden directory, so that the older checkpoint
 * stays as it is until image_dir_seal(). Logs its errors. A directory may be used by several threads, an image by one
 * at a time.
 */
int image_dir_create(const char *path, struct image_dir **dirp);

/*
 * Opens path for reading (a restore) and checks every metadata file against the integrity file: size and checksum;
 * pages files by size. Where that file does not exist, nothing is checked here. allow_edited (--allow-edited-images)
 * takes files that differ, with a warning each. A file that is missing, short or damaged is an error that names it and
 * that option. With an integrity file, an image that it does not name is as good as missing (left over from an older
 * checkpoint).
 */
int image_dir_open(const char *path, bool allow_edited, struct image_dir **dirp);

/*
 * The same through the image streamer that listens in the directory (--stream); limit: seconds in which it has to do
 * something. Nothing is written into the directory, and what lies in it stays and is not looked at. Of a restore each
 * file is checked when it is first read.
 */
int image_dir_create_stream(const char *path, unsigned limit, struct image_dir **dirp);
int image_dir_open_stream(const char *path, unsigned limit, bool allow_edited, struct image_dir **dirp);

/* Whether images go through a streamer: there is no directory whose room or file system counts. */
bool image_dir_streams(const struct image_dir *dir);

/* A file without a name for what is written twice, in the directory or, with a streamer, in memory: a descriptor or a
 * negative errno (logged). */
int image_dir_temp(const struct image_dir *dir);

/*
 * Writes the integrity file ("checkpoint.sums") from all that was written: every image is closed and none has failed.
 * Then the new checkpoint takes the place of the older one, which is kept aside; a streamer has taken all of it. The
 * last step of a dump before its commit; after it, only the next three may change the directory.
 */
int image_dir_seal(struct image_dir *dir);

/* Images may be written anew after this, until it is sealed again. */
int image_dir_unseal(struct image_dir *dir);

/* The older checkpoint counts again, if there was one, and every file that this run made is removed. */
void image_dir_discard(struct image_dir *dir);

/* The dump has committed: image_dir_discard() does nothing any more. */
void image_dir_keep(struct image_dir *dir);

/* Removes the older checkpoint. May take a while where its files are large. */
void image_dir_drop_older(struct image_dir *dir);

/* Closes and frees. NULL is fine. */
void image_dir_close(struct image_dir *dir);

/* Ids in the messages of its images are criu's from now on, and others in the files: NULL: as they are. Kept. */
struct image_ids;
void image_dir_set_ids(struct image_dir *dir, const struct image_ids *ids);
const struct image_ids *image_dir_ids(const struct image_dir *dir);

/* Writing: whether no image was in it before. */
bool image_dir_was_empty(const struct image_dir *dir);

/* Whether there is an integrity file (reading), or one was written (image_dir_seal()). */
bool image_dir_sealed(const struct image_dir *dir);

/* Reading: whether an integrity file names the image: it is one of this checkpoint for sure. */
bool image_dir_vouches_for(const struct image_dir *dir, const char *name);

/* Whether images that were changed are taken (--allow-edited-images). */
bool image_dir_allows_edited(const struct image_dir *dir);

/* For what is kept until the directory is closed. NULL without memory. */
struct arena;
struct arena *image_dir_arena(struct image_dir *dir);

/* Where pages/page_sums.c and page_punched.c keep what they have read of it, once, from that arena. NULL: nothing. */
void **image_dir_page_sums(struct image_dir *dir);
void **image_dir_punched(struct image_dir *dir);

/* The directory's descriptor, for openat() of files that are no images. */
int image_dir_fd(const struct image_dir *dir);

/*
 * Where files lie that are no images of criu's (a plugin's). Writing: beside the new images, which is another directory
 * until image_dir_seal(). The descriptor stays the directory's; a negative errno (logged).
 */
int image_dir_files_fd(struct image_dir *dir);

/*
 * Writing: a pagemap is not in this directory, a page server has it (image_received.h). Of how many pages, and a
 * checksum of where they are. Reading: whether the pagemap that is there is that one; 0 or a negative errno (logged).
 */
int image_dir_note_sent(struct image_dir *dir, const char *name, uint64_t pages, uint32_t where);
int image_dir_check_sent(const struct image_dir *dir, const char *name, uint64_t pages, uint32_t where);

/* The checkpoints before this one that are opened from here on are whole without pagemaps that a page server has. */
void image_dir_sent_elsewhere(struct image_dir *dir);

/* The path that it was opened with, for messages. */
const char *image_dir_path(const struct image_dir *dir);

/* Whether both are the same directory. */
bool image_dir_is_same(const struct image_dir *one, const struct image_dir *other);

/* The names of the integrity files: of a checkpoint, and of what a page server has written for one. */
#define IMAGE_SUMS        "checkpoint.sums"
#define IMAGE_SERVER_SUMS "page-server.sums"

#endif
