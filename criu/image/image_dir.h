/* SPDX-License-Identifier: GPL-2.0-only */
/* The directory of a checkpoint: what was made in it, and whether it is whole. Included by image/image.h. */
#ifndef CRIU_IMAGE_IMAGE_DIR_H
#define CRIU_IMAGE_IMAGE_DIR_H

#include "common.h"

/* A directory of images, and what is known of its files. */
struct image_dir;

/*
 * Opens path for writing (a dump). Before the first file is made, an existing integrity file is removed, so that
 * an older checkpoint in the same place can no longer be taken for whole. Files are made anew, with mode 0600: one of
 * that name that exists is unlinked, not written into. Every file that is made is noted for image_dir_discard(). Logs
 * its errors. A directory may be used by several threads, an image by one at a time.
 */
int image_dir_create(const char *path, struct image_dir **dirp);

/*
 * fn is called with the name of every file before it is created (the integrity file's two names too), so that a
 * guardian can note it. One call at a time. A negative errno from it, which it has logged, keeps the file from being
 * made.
 */
typedef int (*image_created_fn)(void *arg, const char *name);
void image_dir_on_create(struct image_dir *dir, image_created_fn fn, void *arg);

/*
 * Opens path for reading (a restore) and checks every metadata file against the integrity file: size and checksum;
 * pages files by size. Where that file does not exist, nothing is checked here. allow_edited (--allow-edited-images)
 * takes files that differ, with a warning each. A file that is missing, short or damaged is an error that names it and
 * that option. With an integrity file, an image that it does not name is as good as missing (left over from an older
 * checkpoint).
 */
int image_dir_open(const char *path, bool allow_edited, struct image_dir **dirp);

/*
 * Writes the integrity file ("checkpoint.sums", renamed into place) from all that was written: every image is closed
 * and none has failed. The last step of a dump; after it, only image_dir_discard() may change the directory.
 */
int image_dir_seal(struct image_dir *dir);

/* Images may be written anew after this, until it is sealed again. */
int image_dir_unseal(struct image_dir *dir);

/* Takes the integrity file and every file that this run made away again: a dump that fails leaves nothing. */
void image_dir_discard(struct image_dir *dir);

/* Closes and frees. NULL is fine. */
void image_dir_close(struct image_dir *dir);

/* Whether there is an integrity file (reading), or one was written (image_dir_seal()). */
bool image_dir_sealed(const struct image_dir *dir);

/* The directory's descriptor, for openat() of files that are no images. */
int image_dir_fd(const struct image_dir *dir);

/* The name of the integrity file. */
#define IMAGE_SUMS "checkpoint.sums"

#endif
