/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Unix sockets: the row, and the order of a restore, where all are made together since they refer to each other.
 *
 *	unix_name.c     names and the files that they lead to, both directions
 *	unix_creds.c    SO_PEERCRED, both directions
 *	unix_dump.c     dump: one socket; unix_collect.c: their connections, when all are known
 *	usk.c           restore: the table of sockets; usk_state.c: how far each has come
 *	unix_check.c    whether all can come back
 *	unix_make.c     making them; unix_pair.c: those that come in pairs
 *	unix_bind.c     names, by chroot_helper.c
 *	unix_listen.c   listening, and clients that wait to be accepted
 *	unix_dgram.c    datagram sockets: receive queues and connections
 *	unix_settle.c   receive queues of the others, and the last steps
 */
#include <fcntl.h>
#include <sys/socket.h>

#include "files/files.h"
#include "lib/fault.h"
#include "sock/queue.h"
#include "sock/unix/unix_bind.h"
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

static int publish_name(struct restore *r, struct usk *u)
{
	return u->at == AT_HIDDEN ? unix_bind_publish(r, u) : 0;
}

/*
 * Own names are taken when the temporary listeners with the same names are closed; what other processes can see happens
 * at the very end.
 */
static int unix_prepare(struct restore *r)
{
	struct unix_restore *all = usk_all(r);
	int err = unix_make_all(r);

	err = err ?: unix_bind_all(r);
	fault_point("unix sockets named");
	err = err ?: usk_each(r, unix_listen);
	err = err ?: usk_each(r, unix_listen_client);
	fault_point("unix sockets listen");
	err = err ?: usk_each(r, unix_listen_finish);
	err = err ?: usk_each(r, publish_name);
	fault_point("unix sockets in place");
	for (struct usk *u = all->by_ino; u && !err; u = u->hh.next)
		if (u->use != USE_NONE && u->made != MADE_NOT_YET)
			files_set(r, u->m->id, move_fd(&u->fd));
	return err;
}

/* All of them at the first call. */
static int unix_post_open(struct restore *r, const void *msg, int fd)
{
	struct unix_restore *all = usk_all(r);
	int err;

	if (all->settled)
		return 0;
	all->settled = true;
	err = unix_settle(r);
	if (all->scratch >= 0)
		close(move_fd(&all->scratch));
	return err;
}

const struct fd_kind unix_kind = {
	.name = "unix socket",
	.type = FD_TYPES__UNIXSK,
	.field = 16,
	.pb = &unix_sk_entry__descriptor,
	.in_net_ns = true,
	.match = unix_match,
	.dump = unix_dump,
	.all_collected = unix_collect,
	.read_images = usk_read_images,
	.write_images = queue_write_images,
	.check = unix_check,
	.resource = unix_resource,
	.inherits_itself = true,
	.prepare = unix_prepare,
	.open = unix_make_open,
	.post_open = unix_post_open,
};
