/* SPDX-License-Identifier: GPL-2.0-only */
/* Runs iptables-save and iptables-restore (which: 0), ip6tables-save and ip6tables-restore (1). */
#ifndef CRIU_NETLOCK_IPT_RUN_H
#define CRIU_NETLOCK_IPT_RUN_H

#include <stdbool.h>
#include <stdio.h>

/* A temporary file in memory, or NULL with errno set. */
FILE *ipt_text(void);
void ipt_close_text(FILE **f);

#define _cleanup_text_ __attribute__((cleanup(ipt_close_text)))

const char *ipt_restore_program(int which);

/* Saves a table (NULL: all) into out, to be read from its beginning. The exit status or a negative errno. */
int ipt_save(int which, const char *table, FILE *out);

/*
 * Feeds rules to iptables-restore; held: a descriptor that the program inherits, or -1; said: the first line of its
 * output, where it failed. 0 or a negative errno (not logged).
 */
int ipt_feed(int which, FILE *rules, int held, char said[200]);

/* Whether anything is found in the output of iptables-save; writes the rules that would remove it. */
typedef bool (*ipt_find)(FILE *saved, int which, const void *arg, FILE *rules);

/*
 * Looks in a table (NULL: all) of both families, and removes what `find` finds where `remove`. 1: found; 0: not found;
 * or a negative errno (logged; what: its name for the message).
 */
int ipt_look(const char *table, ipt_find find, const void *arg, bool remove, const char *what);

#endif
