/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory that lives as long as one dump or one restore. Messages of the images, names and the tree come from it, so
 * that nothing has to be freed one by one.
 */
#ifndef CRIU_LIB_ARENA_H
#define CRIU_LIB_ARENA_H

#include <protobuf-c/protobuf-c.h>

#include "common.h"

struct arena;

/* A new, empty arena, or NULL without memory. */
struct arena *arena_new(void);

/* Gives back everything that came from it; NULL is fine. */
void arena_free(struct arena *a);

/*
 * size zeroed bytes, aligned to 16. Never NULL: a criu without memory for its own tables ends here, with a message, by
 * abort(); the guardian then rolls back. Not thread-safe.
 */
void *arena_alloc(struct arena *a, size_t size);

/* Copies of a string, of bytes; of a printf. */
char *arena_strdup(struct arena *a, const char *s);
void *arena_memdup(struct arena *a, const void *p, size_t size);
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF(2, 3);

/* An allocator for protobuf-c's unpack functions. Messages need not be freed. */
ProtobufCAllocator *arena_pb(struct arena *a);

#define arena_new_of(a, type)       ((type *)arena_alloc((a), sizeof(type)))
#define arena_array(a, type, count) ((type *)arena_alloc_many((a), (count), sizeof(type)))

/* count elements of size bytes, as arena_alloc() gives them; ends likewise where the product has no place in a size_t.
 */
void *arena_alloc_many(struct arena *a, size_t count, size_t size);

/* A new protobuf message from the arena, initialised: arena_msg(a, CoreEntry, core_entry). */
#define arena_msg(a, type, lower)                                                                                      \
	({                                                                                                             \
		type *m_ = arena_new_of((a), type);                                                                    \
		lower##__init(m_);                                                                                     \
		m_;                                                                                                    \
	})

/*
 * Appends to an array that grows by doubling inside the arena: arena_push(a, &msg->vmas, &msg->n_vmas, vma_pointer).
 * Elements are pointers or of any size; *count counts them. The capacity is the next power of two from count (8 at
 * least), so an array that came from elsewhere (from unpacking a message) must not be pushed to.
 */
#define arena_push(a, array, count, value)                                                                             \
	do {                                                                                                           \
		*(array) = arena_grow((a), *(array), *(count), sizeof(**(array)));                                     \
		(*(array))[(*(count))++] = (value);                                                                    \
	} while (0)
void *arena_grow(struct arena *a, void *array, size_t count, size_t size);

#endif
