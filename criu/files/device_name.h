/* SPDX-License-Identifier: GPL-2.0-only */
/* What devices are that have a state of their own, for refusals. */
#ifndef CRIU_FILES_DEVICE_NAME_H
#define CRIU_FILES_DEVICE_NAME_H

#include "common.h"

struct device_text {
	const char *name; /* how the kernel's name for it begins */
	const char *what;
	const char *way_out; /* or NULL */
};

/* Of a character device, by its number or the kernel's name for it; NULL: none that is known. link: of its descriptor.
 */
const struct device_text *device_text(const char *link, mode_t mode, dev_t rdev);

/* By these alone. name: without "/dev/"; NULL where it is not known. */
const struct device_text *device_text_of(const char *name, dev_t rdev);

#endif
