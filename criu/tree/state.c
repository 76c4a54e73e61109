/* SPDX-License-Identifier: GPL-2.0-only */
#include "tree/kind.h"
#include "tree/vma_kind.h"

void *state_find(struct states *s, struct arena *a, const struct row_state *row, size_t size)
{
	size_t at = (uintptr_t)row / sizeof(void *);

	for (size_t i = 0; i < STATE_SLOTS; i++, at++) {
		struct state_slot *slot = &s->slots[at % STATE_SLOTS];

		if (!slot->row) {
			slot->data = arena_alloc(a, size);
			slot->row = row;
		}
		if (slot->row == row)
			return slot->data;
	}
	abort();
}

#define MAKE_ALL(rows, make, context)                                                                                  \
	for (size_t i_ = 0; (rows)[i_]; i_++)                                                                          \
	make(context, (rows)[i_])

void state_make_all_dump(struct dump *d)
{
	MAKE_ALL(fd_kinds, dump_state, d);
	MAKE_ALL(task_parts, dump_state, d);
	MAKE_ALL(vma_kinds, dump_state, d);
	MAKE_ALL(subsystems, dump_state, d);
}

void state_make_all_restore(struct restore *r)
{
	MAKE_ALL(fd_kinds, restore_state, r);
	MAKE_ALL(task_parts, restore_state, r);
	MAKE_ALL(vma_kinds, restore_state, r);
	MAKE_ALL(subsystems, restore_state, r);
}
