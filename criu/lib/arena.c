/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory in blocks that grow from 16 KiB to 1 MiB; what would not fit well gets a block of its own. Large blocks are
 * whole huge pages.
 */
#include "lib/arena.h"

#include <stdarg.h>
#include <string.h>

#include "lib/fresh_memory.h"
#include "lib/log.h"

#define BLOCK_FIRST (16UL << 10)
#define BLOCK_FRESH (32UL << 10)  /* from here on: calloc() would write zeros to all of what it has had before */
#define BLOCK_HUGE  (512UL << 10) /* from here on: by then half a megabyte is in use, and more is to come */
#define BLOCK_MAX   (1UL << 20)
#define ALIGNMENT   16UL
#define PB_REUSE    512

struct block {
	struct block *next;
	size_t mapped; /* bytes in all, of memory fresh from the kernel; 0: from calloc() */
	_Alignas(ALIGNMENT) unsigned char data[];
};

/* Stands before what protobuf-c asked for. */
struct pb_piece {
	struct pb_piece *next; /* when it is free */
	size_t size;
	_Alignas(ALIGNMENT) unsigned char data[];
};

struct arena {
	struct block *blocks;
	unsigned char *at, *end; /* what is free in the current block */
	size_t next_size;
	ProtobufCAllocator pb;
	struct pb_piece *pb_free;
};

/* There is nothing sensible to go on with; abort() lets the guardian roll back. */
static _Noreturn void out_of_memory(size_t size)
{
	log_errno(-ENOMEM, "out of memory (allocating %zu bytes)", size);
	abort();
}

/*
 * While unpacking, protobuf-c keeps scratch tables of its own, in sizes that double, which it gives back: several times
 * what a thread's core takes. They are few and large, so a short list brings them back.
 */
static void *pb_alloc(void *arena, size_t size)
{
	struct arena *a = arena;
	struct pb_piece *p;

	for (struct pb_piece **at = &a->pb_free; size >= PB_REUSE && *at; at = &(*at)->next) {
		p = *at;
		if (p->size < size || p->size / 2 > size)
			continue;
		*at = p->next;
		return p->data;
	}
	if (size > SIZE_MAX / 2)
		out_of_memory(size);
	p = arena_alloc(a, sizeof(*p) + size);
	p->size = size;
	return p->data;
}

static void pb_free(void *arena, void *pointer)
{
	struct arena *a = arena;
	struct pb_piece *p;

	if (!pointer)
		return;
	p = (struct pb_piece *)((unsigned char *)pointer - offsetof(struct pb_piece, data));
	if (p->size < PB_REUSE)
		return;
	p->next = a->pb_free;
	a->pb_free = p;
}

struct arena *arena_new(void)
{
	struct arena *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->next_size = BLOCK_FIRST;
	a->pb = (ProtobufCAllocator) { .alloc = pb_alloc, .free = pb_free, .allocator_data = a };
	return a;
}

void arena_free(struct arena *a)
{
	if (!a)
		return;
	while (a->blocks) {
		struct block *b = a->blocks;

		a->blocks = b->next;
		if (b->mapped)
			fresh_memory_free(b, b->mapped);
		else
			free(b);
	}
	free(a);
}

/* Of size bytes, or more: *room. */
static unsigned char *new_block(struct arena *a, size_t size, size_t *room)
{
	size_t all = sizeof(struct block) + size, mapped = 0;
	struct block *b;

	if (size >= BLOCK_FRESH)
		mapped = round_up(all, size < BLOCK_HUGE ? BLOCK_FRESH : FRESH_HUGE);
	if (!mapped)
		b = calloc(1, all);
	else
		b = size < BLOCK_HUGE ? fresh_memory(mapped) : fresh_memory_huge(mapped);
	if (!b)
		out_of_memory(size);
	b->next = a->blocks;
	b->mapped = mapped;
	a->blocks = b;
	*room = mapped ? mapped - sizeof(*b) : size;
	return b->data;
}

static void set_current(struct arena *a, unsigned char *from, unsigned char *end)
{
	a->at = from;
	a->end = end;
}

/* What a block of its own leaves over is used where that is more than the current block has. */
static void *alloc_apart(struct arena *a, size_t size)
{
	size_t room;
	unsigned char *p = new_block(a, size, &room);

	if (room - size > (size_t)(a->end - a->at))
		set_current(a, p + size, p + room);
	return p;
}

static void take_next_block(struct arena *a)
{
	size_t room;
	unsigned char *p = new_block(a, a->next_size, &room);

	set_current(a, p, p + room);
	a->next_size = MIN(a->next_size * 2, BLOCK_MAX);
}

void *arena_alloc(struct arena *a, size_t size)
{
	void *p;

	if (size > SIZE_MAX / 2)
		out_of_memory(size);
	size = round_up(size ? size : 1, ALIGNMENT);
	if (size > (size_t)(a->end - a->at)) {
		if (size > a->next_size / 4)
			return alloc_apart(a, size);
		take_next_block(a);
	}
	p = a->at;
	a->at += size;
	return p;
}

void *arena_alloc_many(struct arena *a, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes))
		out_of_memory(SIZE_MAX);
	return arena_alloc(a, bytes);
}

char *arena_strdup(struct arena *a, const char *s)
{
	return arena_memdup(a, s, strlen(s) + 1);
}

void *arena_memdup(struct arena *a, const void *p, size_t size)
{
	void *copy = arena_alloc(a, size);

	if (size)
		memcpy(copy, p, size);
	return copy;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list args;
	char *text;
	int len;

	va_start(args, fmt);
	len = vsnprintf(NULL, 0, fmt, args);
	va_end(args);
	if (len < 0)
		out_of_memory(0);
	text = arena_alloc(a, (size_t)len + 1);
	va_start(args, fmt);
	vsnprintf(text, (size_t)len + 1, fmt, args);
	va_end(args);
	return text;
}

ProtobufCAllocator *arena_pb(struct arena *a)
{
	return &a->pb;
}

/* An array that was allocated last grows where it is, if there is room. */
static bool grow_last(struct arena *a, void *array, size_t used, size_t more, size_t size)
{
	unsigned char *end = (unsigned char *)array + round_up(used, ALIGNMENT);
	size_t bytes;

	if (end != a->at || __builtin_mul_overflow(more, size, &bytes) || bytes > (size_t)(a->end - a->at) ||
	    round_up(used + bytes, ALIGNMENT) - round_up(used, ALIGNMENT) > (size_t)(a->end - a->at))
		return false;
	a->at = (unsigned char *)array + round_up(used + bytes, ALIGNMENT);
	return true;
}

void *arena_grow(struct arena *a, void *array, size_t count, size_t size)
{
	size_t capacity;
	void *grown;

	/* Full only where count is 0 or a power of two from 8. */
	if (count && (count < 8 || (count & (count - 1))))
		return array;
	capacity = count ? count * 2 : 8;
	if (count && grow_last(a, array, count * size, capacity - count, size))
		return array;
	grown = arena_alloc_many(a, capacity, size);
	if (count)
		memcpy(grown, array, count * size);
	return grown;
}
