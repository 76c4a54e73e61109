/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Hash tables (uthash) whose own memory comes from an arena, so that it is given back with the arena and never before:
 * HASH_ADD_IN(arena, ...) and HASH_ADD_KEYPTR_IN(arena, ...) are HASH_ADD() and HASH_ADD_KEYPTR() with the arena first.
 */
#ifndef CRIU_LIB_ARENA_HASH_H
#define CRIU_LIB_ARENA_HASH_H

#include "lib/arena.h"

/* uthash's macros allocate in the scope where they are expanded: HASH_ADD_IN() puts this variable there. */
#define uthash_malloc(size)    arena_alloc(uthash_arena_, (size))
#define uthash_free(ptr, size) ((void)(ptr))
#include <uthash.h>

#define HASH_ADD_IN(in, hh, head, field, len, add)                                                                     \
	do {                                                                                                           \
		struct arena *uthash_arena_ = (in);                                                                    \
		HASH_ADD(hh, head, field, len, add);                                                                   \
	} while (0)

#define HASH_ADD_KEYPTR_IN(in, hh, head, key, len, add)                                                                \
	do {                                                                                                           \
		struct arena *uthash_arena_ = (in);                                                                    \
		HASH_ADD_KEYPTR(hh, head, key, len, add);                                                              \
	} while (0)

#endif
