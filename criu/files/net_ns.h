/* SPDX-License-Identifier: GPL-2.0-only */
/* The network namespaces that sockets, tun descriptors and devices of a tree are in, by their numbers in images. */
#ifndef CRIU_FILES_NET_NS_H
#define CRIU_FILES_NET_NS_H

#include "helper/net_visit.h"
#include "tree/kind.h"

/* ---- dump ---- */

/*
 * Goes to the namespace of a socket or tun descriptor and returns its number in *id; one that no task is in gets a
 * number. DUMP_REFUSED: criu may not find out, or not go there. Else a negative errno (logged).
 */
int net_ns_visit_file(struct dump *d, const struct fd_info *info, uint32_t *id, struct net_visit *v);

/* The number of the namespace of a descriptor (nsfs): a new one where nothing of the tree is in it yet. 0: see errno.
 */
uint32_t net_ns_number_dumped(struct dump *d, int fd);

/* By its number; criu's own: goes nowhere. 0 or a negative errno (logged). */
int net_ns_visit_dumped(struct dump *d, uint32_t id, struct net_visit *v);

/*
 * Back to criu's own for a moment where an ordinary user's criu is on a detour (helper/detour.h), on which the kernel
 * shows other ids. Else goes nowhere. 0 or a negative errno (logged).
 */
int net_ns_home_dumped(struct dump *d, struct net_visit *v);

/* The number of the namespace in which the main thread is; 0: criu's own. */
uint32_t net_ns_here(struct dump *d);

/* A descriptor of a namespace of the tree's own, which stays open, or a negative errno (logged). -1: it is criu's. */
int net_ns_fd_dumped(struct dump *d, uint32_t id);

/* ---- restore ---- */

/* The number of the namespace that a message of a kind with in_net_ns is in; 0: the one that criu was in. */
uint32_t net_ns_of_msg(const struct restore *r, const void *msg);
uint32_t net_ns_number(const struct restore *r, bool has_id, uint32_t id);

/* One that is going to be made: its number, before anything is checked that needs it. */
void net_ns_expect(struct restore *r, uint32_t id);
bool net_ns_is_expected(struct restore *r, uint32_t id);
size_t net_ns_expected(struct restore *r, const uint32_t **ids);

/* The number of one that is mounted, before net_ns_of_files(). */
void net_ns_note_mounted(struct restore *r, uint32_t id);

/*
 * The numbers that mounts, and files.img, have: of sockets, tun descriptors, and descriptors of namespaces. Returns how
 * many.
 */
size_t net_ns_of_files(struct restore *r, const uint32_t **ids);

/* It is there now: fd stays open until the end of the restore. */
void net_ns_made(struct restore *r, uint32_t id, int fd);

/* Goes there; 0: nowhere. 0 or a negative errno (logged). */
int net_ns_visit(struct restore *r, uint32_t id, struct net_visit *v);

/* Criu's ids as the kernel wants them where we are: others on a detour. False: one of them is not known there. */
bool net_ns_ids_here(struct restore *r, uint32_t *uid, uint32_t *gid);

/* Its descriptor; -1: it is criu's own. */
int net_ns_fd(struct restore *r, uint32_t id);

/* criu's own, while namespaces of the tree are being filled. */
int net_ns_own_fd(struct restore *r);

/* Whether a descriptor of ours is in the namespace with that number: 0, or -EXDEV (logged with what it is). */
int net_ns_confirm(struct restore *r, int fd, uint32_t id, const char *what);

#endif
