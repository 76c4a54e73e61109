/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a row of kinds.h keeps during one dump or one restore. A row says how many bytes that is; the contexts hold the
 * states of all rows in one table, found by the row:
 *
 *	struct tcp_dump *t = dump_state(d, &tcp_subsys);
 */
#ifndef CRIU_TREE_STATE_H
#define CRIU_TREE_STATE_H

#include "lib/arena.h"

/* The member `state` of every type of row. */
struct row_state {
	size_t dump, restore; /* bytes; 0: the row keeps nothing */
};

#define STATE_SLOTS 256 /* a power of 2, at least twice the number of rows */

struct states {
	struct state_slot {
		const struct row_state *row; /* NULL: free */
		void *data;
	} slots[STATE_SLOTS];
};

/*
 * The state of a row, of `size` bytes, zero at first. Made at the first call: state_make_all() before there are
 * threads. Aborts when there are more rows than slots.
 */
void *state_find(struct states *s, struct arena *a, const struct row_state *row, size_t size);

/* Makes the states of all rows of kinds.h, of a dump or of a restore, so that threads only look them up. */
struct dump;
struct restore;
void state_make_all_dump(struct dump *d);
void state_make_all_restore(struct restore *r);

/* The state of a row (of any type that has the member `state`) in this dump or restore. */
#define dump_state(d, row)    state_find((struct states *)&(d)->states, (d)->arena, &(row)->state, (row)->state.dump)
#define restore_state(r, row) state_find((struct states *)&(r)->states, (r)->arena, &(row)->state, (row)->state.restore)

#endif
