/* SPDX-License-Identifier: GPL-2.0-only */
/* The types of files in words. */
#ifndef CRIU_PATH_FILE_TYPE_H
#define CRIU_PATH_FILE_TYPE_H

#include "common.h"

/* "a regular file", "a directory", of a mode. */
const char *file_type_name(uint32_t mode);

#endif
