/* SPDX-License-Identifier: GPL-2.0-only */
/* linux/mman.h: MAP_DROPPABLE, Linux 6.11; a type like MAP_PRIVATE, not a flag beside it. */
#ifndef CRIU_UAPI_MAP_FLAGS_H
#define CRIU_UAPI_MAP_FLAGS_H

#include <sys/mman.h>

#ifndef MAP_DROPPABLE
#define MAP_DROPPABLE 0x08
#endif

#endif
