/* SPDX-License-Identifier: GPL-2.0-only */
/* iptables-save and iptables-restore (0), ip6tables-save and ip6tables-restore (1), run. Inside of criu/core/. */
#ifndef CRIU_NETLOCK_IPT_RUN_H
#define CRIU_NETLOCK_IPT_RUN_H

#include <stdbool.h>
#include <stdio.h>

/* A file without a name, or NULL with errno set. */
FILE *ipt_text(void);
void ipt_close_text(FILE **f);

#define _cleanup_text_ __attribute__((cleanup(ipt_close_text)))

const char *ipt_restore_program(int which);

/* What stands in a table (NULL: in all), to be read from the beginning of out. The exit status or a negative errno. */
int ipt_save(int which, const char *table, FILE *out);

/* Feeds rules; held: a descriptor that the program has too, or -1; said: the first line that it said, where it failed.
 * 0 or a negative errno (not logged). */
int ipt_feed(int which, FILE *rules, int held, char said[200]);

/* Whether it finds anything in what iptables-save says; what would remove that goes into rules. */
typedef bool (*ipt_find)(FILE *saved, int which, const void *arg, FILE *rules);

/*
 * Looks for it in a table (NULL: in all) of both families, and removes it where `remove`. 1, 0: nothing is there, or a
 * negative errno (logged, with `what` it is).
 */
int ipt_look(const char *table, ipt_find find, const void *arg, bool remove, const char *what);

#endif
