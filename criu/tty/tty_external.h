/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Terminals that exist without the tree: the one in which criu runs, external ones (--external, --inherit-fd), and
 * devices. Inside of criu/tty/.
 */
#ifndef CRIU_TTY_TTY_EXTERNAL_H
#define CRIU_TTY_TTY_EXTERNAL_H

#include "tty/tty_images.h"

/* Dump: whether --external names this file. */
bool tty_external_named(const struct dump *d, const struct stat *st);

/* Dump, when pairs are known: refuses slaves whose master is outside of the tree, but the one that --shell-job allows.
 */
void tty_external_refuse(struct dump *d);

/* Restore: whether this terminal is such a one. */
bool tty_external_is_mine(const struct tty_info *ti);

/* Its name for --inherit-fd. */
void tty_external_name(const TtyInfoEntry *e, char *buf, size_t size);

int tty_external_check(struct restore *r, const TtyFileEntry *m, const struct tty_info *ti, const char **why);
int tty_external_open(struct restore *r, const TtyFileEntry *m, const struct tty_info *ti);

/* Opens it for reading and writing, with no task's flags. */
int tty_external_open_any(struct restore *r, const struct tty_info *ti);

/*
 * When all tasks have their descriptors: gives the terminal the tree's settings, and undoes that if the restore fails.
 * That of a job gets them, and the job the foreground, when scripts have agreed.
 */
int tty_external_post_open(struct restore *r, struct tty_info *ti, int fd);

/* Whether --inherit-fd has one for it. */
bool tty_external_is_inherited(struct restore *r, const TtyInfoEntry *e);

#endif
