/* SPDX-License-Identifier: GPL-2.0-only */
/* Which files of a directory belong to a checkpoint. */
#ifndef CRIU_IMAGE_IMAGE_NAMES_H
#define CRIU_IMAGE_IMAGE_NAMES_H

#include "common.h"

/*
 * Whether a file of that name is part of a checkpoint, ours or CRIU's: an image of images/images.def or the integrity
 * file. Service files (stats-dump and the like) belong to the work directory, all else to others.
 */
bool image_names_has(const char *name);

#endif
