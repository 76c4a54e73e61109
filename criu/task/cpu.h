/* SPDX-License-Identifier: GPL-2.0-only */
/* cpuinfo.img: which processor the programs have seen. */
#ifndef CRIU_TASK_CPU_H
#define CRIU_TASK_CPU_H

#include "image/image.h"

/*
 * Reads the image and compares it with this processor as caps (enum cpu_cap) say. required: that there is no image is
 * an error. 0 or a negative errno (logged).
 */
int cpu_check_image(struct image_dir *dir, struct arena *a, unsigned caps, bool required);

#endif
