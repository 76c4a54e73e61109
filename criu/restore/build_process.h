/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of restore/: how a process comes to be, for build.c and build_children.c. */
#ifndef CRIU_RESTORE_BUILD_PROCESS_H
#define CRIU_RESTORE_BUILD_PROCESS_H

#include "restore/build.h"

/* The agent of n's process in the area of family f, `size` bytes at `off` there. */
struct agent *build_make_agent(struct build *b, const struct node *n, struct family *f, size_t off, size_t size);

/* The ELF that n's process execs, to wake in a memory of its own. A descriptor, or a negative errno (logged). */
int build_elf_file(struct build *b, struct node *n);

/* Notes n's process (n->tid) for the undo. 0 or a negative errno (logged). */
int build_note_task(struct build *b, struct node *n);

/* n's process is there, as `pid`: its task and its agent know. */
void build_set_alive(struct build *b, struct node *n, pid_t pid);

/* The socket by which n's task gets descriptors: pair[0] is criu's, and noted. 0 or a negative errno (logged). */
int build_socket_pair(struct node *n, int pair[2]);

/*
 * A copy that creates nothing and makes no session: nothing that is done to it matters to others, but for what it
 * enters (born, grown). Its agent has not been waited for when it has been created.
 */
bool build_is_plain_copy(const struct node *n);

/* Has n's process create its children: those that are `early`, or those that are not. 0 or a negative errno (logged).
 */
int build_children(struct build *b, struct node *n, bool early);

#endif
