/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One checkpoint of a directory in exchange for another: at every instant the directory holds one whole checkpoint,
 * whose files restore finds by reading alone. Documentation/IMAGES.md describes what lies where. Used by image_dir.c,
 * and by the undo entries of a dump.
 */
#ifndef CRIU_IMAGE_IMAGE_EXCHANGE_H
#define CRIU_IMAGE_IMAGE_EXCHANGE_H

#include <time.h>

#include "common.h"

/* Whether no dump was killed in the middle, and none is at work. */
bool image_exchange_is_settled(int dir);

/*
 * Finishes what a dump began that was killed, so that the directory itself holds the checkpoint that counts, and
 * nothing else is left. 0, or a negative errno (logged): it counts as before then. wait_ms: how long a restore that
 * reads is waited for; -EBUSY after that.
 */
int image_exchange_settle(int dir, const char *path, int wait_ms);

/*
 * Whether no image lies there: 1, 0, or a negative errno (logged). Such a directory needs no exchange. The link of a
 * chain is an image to a dump, which makes its own; a page server finds it there.
 */
int image_exchange_is_empty(int dir, const char *path, bool link_too);

/*
 * Before the commit of a dump: the older checkpoint counts again, the new one is removed. was_empty: there was no older
 * one, so all images are removed. As image_exchange_settle().
 */
int image_exchange_take_back(int dir, const char *path, bool was_empty);

/* Makes the hidden directory for a new checkpoint. Returns its descriptor or a negative errno (logged). */
int image_exchange_begin(int dir, const char *path);

/*
 * The new checkpoint, which is complete, takes the place of the older one, which is kept aside until
 * image_exchange_settle() or image_exchange_take_back().
 */
int image_exchange_publish(int dir, const char *path);

/*
 * The files of `from`, a directory in this one, come into it, where no dump writes; a dump that does has sent them, and
 * they become part of its checkpoint. since: an older checkpoint goes, which was there then (by the clock of file
 * systems); NULL: there was none. 0 or a negative errno (logged).
 */
int image_exchange_add(int dir, const char *path, const char *from, const struct timespec *since);

/* Removes a directory in this one with the files in it, if it is there. 0 or a negative errno (logged). */
int image_exchange_remove(int dir, const char *path, const char *name);

/* One dump at a time: -EBUSY (logged) if another has the directory. */
int image_exchange_lock(int dir, const char *path);
void image_exchange_unlock(int dir);

/* Takes the lock for a moment, if no dump has it. */
bool image_exchange_try_lock(int dir);

/*
 * Finds where the checkpoint lies that counts: places[0] is looked at first, then places[1] (-1: there is no second
 * one; dir itself may be either). Until image_exchange_end_read() of *lockp nothing of it is moved or removed.
 */
int image_exchange_read(int dir, const char *path, int places[2], int *lockp);
void image_exchange_end_read(int lock);

/* Makes the lock of image_exchange_read() one that nobody else has, within some seconds; -EBUSY (logged). */
int image_exchange_claim(int lock, const char *path);

#endif
