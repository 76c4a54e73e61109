/* SPDX-License-Identifier: GPL-2.0-only */
/* Names of unix sockets, in both directions. */
#ifndef CRIU_SOCK_UNIX_UNIX_NAME_H
#define CRIU_SOCK_UNIX_UNIX_NAME_H

#include "lib/arena.h"
#include "sk-unix.pb-c.h"

/* A path of 108 bytes and the zero that the kernel shows behind it. */
#define SOCKET_NAME_MAX 109

/* "/run/x.sock" or "@abstract", with what does not print as dots, for messages. From the arena. */
const char *unix_name_text(struct arena *a, const void *name, size_t len);

/*
 * Dump: fills name, name_dir, file_dir, file_base, file_perms and deleted: whether and where the file to which the
 * socket (a duplicate of it: sock) is bound can be found, by its name or by another.
 */
struct dump;
struct unix_seen;
void unix_name_dump(struct dump *d, struct unix_seen *u, int sock);

/*
 * Restore: the folder and last part of the file's path; false where they are not known (a relative name without a
 * folder).
 */
bool unix_name_place(struct arena *a, const UnixSkEntry *m, const char *name, const char **dir, const char **base);

/* Whether a name is free: 0 for the file of a socket that has ended, -ENOENT for no file, -EADDRINUSE for the file of a
 * living socket, -EEXIST for another file, other errors of looking at it. Not logged. */
int unix_name_taken(int dir, const char *base);

#endif
