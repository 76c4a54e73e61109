/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The clocks of a tree. CLOCK_MONOTONIC and CLOCK_BOOTTIME begin anew with each boot, and programs wait for them to
 * come to a value: so a restored tree lives in a time namespace, in which both go on from where they were at the dump.
 */
#ifndef CRIU_TREE_TIME_NS_H
#define CRIU_TREE_TIME_NS_H

#include <time.h>

#include "proc/timens.h"
#include "timens.pb-c.h"
#include "tree/dump.h"
#include "tree/restore.h"

/*
 * From write_images on: *then: what `clock` showed criu when the tree's clocks were noted, from which they will go on;
 * CLOCK_MONOTONIC or CLOCK_BOOTTIME.
 */
void time_ns_noted(struct dump *d, clockid_t clock, struct timespec *then);

/* Dump, before that: the root task's offsets, where its files do not show them. */
void time_ns_note_root(struct dump *d, const struct timens_offsets *o);

/* Dump, after write_images: the image of another namespace of the tree. 0 or a negative errno (logged). */
int time_ns_write_other(struct dump *d, uint32_t id, const struct timens_offsets *its);

/* Restore: whether its clocks can be; then what makes a new namespace go on from there. Or a negative errno. */
int time_ns_check_image(const TimensEntry *image, uint32_t id);
int time_ns_offsets(struct restore *r, const TimensEntry *image, struct timens_offsets *o);

/* Whether another namespace takes the place of the root task's (tree/ns_given.h), which it enters when it is born. */
bool time_ns_is_given(const struct restore *r);

/* Whether the images say how late it was, so that the tree gets a time namespace. */
bool time_ns_wanted(const struct restore *r);

/* Whether a program that a process executes begins in the time namespace that the process made for its children. */
bool time_ns_moves_by_exec(void);

/*
 * In a helper whose child, or whose next program, becomes the root task: makes the namespace. A failure does not end
 * the restore: time_ns_report() says what it means.
 */
void time_ns_make(struct restore *r);

/* The root task lives: looks whether it is in the new namespace, and warns where clocks now jump. */
int time_ns_report(struct restore *r, pid_t root);

/*
 * *now: what `clock` shows criu, or showed it when the tree's began to go on: the time from which what was left of an
 * absolute expiry counts.
 */
void time_ns_base(struct restore *r, clockid_t clock, struct timespec *now);

#endif
