/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Unix sockets. Dump: unix_dump.c (one of them), unix_name.c (where its file is), unix_collect.c (who is connected to
 * whom). Restore: unix_read.c (checks), unix_restore.c (making them), unix_pair.c (connected ones and their stamps),
 * unix_bind.c (names), unix_late.c and unix_senders.c (queues, and what comes after them).
 */
#include <fcntl.h>
#include <sys/socket.h>

#include "sock/queue.h"
#include "sock/unix/unix.h"
#include "sock/unix/unix_dump.h"
#include "sock/unix/unix_restore.h"

static bool unix_match(const struct fd_info *info)
{
	int domain;
	socklen_t len = sizeof(domain);

	return S_ISSOCK(info->st.st_mode) && !info->by_path && !(info->flags & O_PATH) &&
	       !getsockopt(info->fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) && domain == AF_UNIX;
}

static void unix_resource(struct restore *r, const void *msg, char *buf, size_t size, bool *marked)
{
	snprintf(buf, size, "socket:[%u]", ((const UnixSkEntry *)msg)->ino);
}

const struct fd_kind unix_kind = {
	.name = "unix socket",
	.state = { .dump = sizeof(struct unix_dump), .restore = sizeof(struct unix_restore) },
	.type = FD_TYPES__UNIXSK,
	.field = 16,
	.pb = &unix_sk_entry__descriptor,
	.match = unix_match,
	.dump = unix_dump,
	.all_collected = unix_collected,
	.read_images = unix_read_images,
	.write_images = queue_write_images,
	.check = unix_check,
	.resource = unix_resource,
	.inherits_itself = true,
	.prepare = unix_prepare,
	.open = unix_open,
	.post_open = unix_late,
};
