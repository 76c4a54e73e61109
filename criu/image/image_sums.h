/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of image/: whether the files of a checkpoint are as they were written. */
#ifndef CRIU_IMAGE_IMAGE_SUMS_H
#define CRIU_IMAGE_IMAGE_SUMS_H

#include "image/image_dir_own.h"
#include "image/integrity.h"

/* What a user can do about a file that is not. */
#define TAKE_IT "(--allow-edited-images takes it as it is)"

/*
 * Compares all files with their entries, by several threads where there are many; keeps those that are small. Says what
 * is wrong with each; the first error is what is returned, or 0 where dir->allow_edited.
 */
int image_sums_check(const struct image_dir *dir, const struct sums *sums);

#endif
