/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hash tables (uthash) whose own memory comes from an arena, so that nobody frees them. A function that adds to one has
 * the arena in a variable `table_arena`; elements are never taken out.
 */
#ifndef CRIU_CORE_TABLE_H
#define CRIU_CORE_TABLE_H

#include "core/arena.h"

#define uthash_malloc(size)    arena_alloc(table_arena, (size))
#define uthash_free(ptr, size) ((void)(ptr))
#include <uthash.h>

#endif
