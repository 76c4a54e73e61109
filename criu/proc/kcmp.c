/* SPDX-License-Identifier: GPL-2.0-only */
#include <linux/kcmp.h>
#include <sys/syscall.h>

#include "proc/kcmp.h"

/*
 * A plain search tree: the kernel multiplies the pointers that it compares by a random odd number (kernel/kcmp.c), so
 * that objects come in random order, whatever the allocator did, and the tree stays as shallow as a random one is.
 */
int kcmp_find(struct kcmp_tree *tree, struct arena *a, int type, pid_t pid, int fd, struct kcmp_node **nodep)
{
	struct kcmp_node **at = &tree->root;

	while (*at) {
		long order = syscall(SYS_kcmp, pid, (*at)->pid, type, (long)fd, (long)(*at)->fd);

		if (order < 0)
			return -errno;
		if (order == 0)
			break;
		if (order > 2)
			return -EUCLEAN; /* "not equal, but ordering unavailable": no such type is used here */
		at = order == 1 ? &(*at)->less : &(*at)->more;
	}
	if (!*at) {
		*at = arena_new_of(a, struct kcmp_node);
		(*at)->pid = pid;
		(*at)->fd = fd;
	}
	*nodep = *at;
	return 0;
}

int kcmp_find_watched(const struct kcmp_tree *tree, pid_t pid, const struct kcmp_epoll_slot *slot,
                      struct kcmp_node **nodep)
{
	struct kcmp_node *at = tree->root;

	while (at) {
		/* The kernel orders these pointers as it does for KCMP_FILE. */
		long order = syscall(SYS_kcmp, at->pid, pid, KCMP_EPOLL_TFD, (long)at->fd, slot);

		if (order < 0)
			return -errno;
		if (order == 0)
			break;
		if (order > 2)
			return -EUCLEAN;
		at = order == 1 ? at->more : at->less;
	}
	*nodep = at;
	return 0;
}
