/* SPDX-License-Identifier: GPL-2.0-only */
/* What image.c asks of image_dir.c. Others use image/image.h. */
#ifndef CRIU_IMAGE_IMAGE_FILE_H
#define CRIU_IMAGE_IMAGE_FILE_H

#include "image/image_dir.h"
#include "image/integrity.h"

/*
 * Creates a file of a dump, empty, open for writing: the hook is asked, an existing file is unlinked. *sump is its
 * entry, SUM_OPEN. Returns the descriptor or a negative errno (logged).
 */
int image_dir_create_file(struct image_dir *dir, const char *name, struct sum **sump);

/* Opens a file for reading. -ENOENT without a log line; other errors are logged. */
int image_dir_open_file(struct image_dir *dir, const char *name);

/* What is in a file, where that was kept when it was checked; malloc'd, and the caller's. NULL: it has to be opened. */
unsigned char *image_dir_take_kept(struct image_dir *dir, const char *name, uint64_t *size);

/*
 * A file is complete (err: is not): what is known of it goes into its entry, and for a streamer what is in fd
 * (negative: it was never opened) is kept. Returns err, or what failed here (logged).
 */
int image_dir_file_done(struct image_dir *dir, struct sum *sum, int err, int fd, uint64_t size, uint32_t crc);

/*
 * Creates a file of pages: only its size counts, which is taken when the directory is sealed. For a streamer it is a
 * pipe, and image_dir_end_pages() says the size. Returns the descriptor or a negative errno (logged).
 */
int image_dir_create_pages(struct image_dir *dir, const char *name);
int image_dir_append_pages(struct image_dir *dir, const char *name, int fd, const void *data, size_t len);
int image_dir_end_pages(struct image_dir *dir, const char *name, int *fd, uint64_t size);

/* Where the pages of a file are: *at of the descriptor that is returned (the caller's) on, *size bytes. */
int image_dir_open_pages(struct image_dir *dir, const char *name, uint64_t *at, uint64_t *size);
void image_dir_forget_pages(struct image_dir *dir, const char *name);

#endif
