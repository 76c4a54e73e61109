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

/* A file is complete (failed: is not): what is known of it goes into its entry. */
void image_dir_file_done(struct image_dir *dir, struct sum *sum, bool failed, uint64_t size, uint32_t crc);

/* A file of pages: only its size counts, which is taken when the directory is sealed. */
void image_dir_size_only(struct image_dir *dir, struct sum *sum);

#endif
