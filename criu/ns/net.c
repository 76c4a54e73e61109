/* SPDX-License-Identifier: GPL-2.0-only */
/* Network namespaces (network_namespaces(7)): made empty; netdev/ fills them, when all of them are there. */
#include <fcntl.h>
#include <sched.h>

#include "files/net_ns.h"
#include "lib/log.h"
#include "tree/ns_kind.h"
#include "netdev.pb-c.h"

extern const struct ns_kind net_ns_kind;

/* netdev/ reads all of its images. */
static int read_net(struct restore *r, uint32_t id, void *message)
{
	NetnsEntry *m;
	int err = image_read_one(r->dir, IMG_NETNS, id, r->arena, &m);

	if (!err)
		net_ns_expect(r, id);
	return err;
}

static int other_nets(struct restore *r, ns_add_fn add)
{
	const uint32_t *ids;
	size_t n = net_ns_of_files(r, &ids);
	int err = 0;

	for (size_t i = 0; !err && i < n; i++)
		err = add(r, &net_ns_kind, ids[i]);
	return err;
}

static int note_made(struct restore *r, uint32_t id, int fd)
{
	int ours = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	if (ours < 0)
		return log_errno(-errno, "fcntl(F_DUPFD_CLOEXEC) of a network namespace");
	net_ns_made(r, id, ours);
	return 0;
}

const struct ns_kind net_ns_kind = {
	.flag = CLONE_NEWNET,
	.message = 1,
	.read = read_net,
	.others = other_nets,
	.made = note_made,
};
