/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Unix sockets: the row, and the order of a restore, where all are made together since they refer to each other.
 *
 *	unix_name.c     names and the files that they lead to, both directions
 *	unix_creds.c    SO_PEERCRED, both directions
 *	unix_dump.c     dump: one socket; unix_collect.c: their connections, when all are known
 *	unix_embryo.c   what waits to be accepted, both directions; embryo_look.c: where the kernel has it
 *	usk.c           restore: the table of sockets; usk_state.c: how far each has come
 *	unix_check.c    whether all can come back
 *	unix_group.c    which have to be made together, in portions
 *	unix_make.c     making them; unix_pair.c: those that come in pairs
 *	unix_bind.c     names, by chroot_helper.c
 *	unix_listen.c   listening, and clients that wait to be accepted
 *	unix_dgram.c    datagram sockets: receive queues and connections
 *	unix_settle.c   receive queues of the others, and the last steps
 */
#include <fcntl.h>
#include <sys/socket.h>

#include "files/files.h"
#include "files/net_ns.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "sock/opts.h"
#include "sock/queue.h"
#include "sock/unix/unix_bind.h"
#include "sock/unix/unix_dump.h"
#include "sock/unix/unix_restore.h"

static bool unix_match(const struct fd_info *info)
{
	return !(info->flags & O_PATH) && sock_domain(info) == AF_UNIX;
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
 * Makes those that are selected (unix_group.c). Own names are taken when the temporary listeners with the same names
 * are closed; what other processes can see happens at the very end.
 */
static int make_portion(struct restore *r)
{
	int err = unix_make_portion(r);

	err = err ?: unix_bind_portion(r);
	fault_point("unix sockets named");
	err = err ?: unix_listen_portion(r);
	err = err ?: usk_each(r, unix_listen_client);
	fault_point("unix sockets listen");
	err = err ?: usk_each(r, unix_listen_finish);
	err = err ?: usk_each(r, publish_name);
	fault_point("unix sockets in place");
	return err;
}

/* Hands out those that were made; `own` is the one that was asked for, if any. */
static int hand_out(struct restore *r, const struct usk *own)
{
	const struct unix_restore *all = usk_all(r);
	int err = 0;

	for (size_t i = 0; i < all->n_portion && !err; i++) {
		struct usk *u = all->portion[i];

		/* A pair that was made when one of its ends was opened is handed out already. */
		if (u->use == USE_NONE || u->made == MADE_NOT_YET || u->fd < 0)
			continue;
		/* The call that made it may have been a task's, which has been elsewhere then. */
		if (u->name && !usk_is_path(u))
			err = net_ns_confirm(r, u->fd, u->net_ns, u->text);
		err = err ?: unix_options_ahead(r, u);
		if (u != own)
			files_set(r, u->m->id, move_fd(&u->fd));
	}
	return err;
}

static int unix_prepare(struct restore *r)
{
	struct unix_restore *all = usk_all(r);
	int err = unix_make_begin(r);

	unix_group_first(all);
	err = err ?: make_portion(r) ?: hand_out(r, NULL);
	unix_group_end(all);
	return err;
}

/* All of its group, and some more, unless it is one of those that can be made alone. */
static int unix_open(struct restore *r, const void *msg)
{
	const UnixSkEntry *m = msg;
	struct unix_restore *all = usk_all(r);
	struct usk *u = usk_find(all, m->ino);
	int err;

	if (!u || u->made != MADE_NOT_YET)
		return log_errno(-ENOENT, "unix socket %u was not made", m->id);
	if (unix_make_is_late(u))
		return unix_make_late(r, u);
	err = unix_group_next(all, u) ? 0 : log_errno(-ENOENT, "unix socket %u was not made with its group", m->id);
	all->in_portions = true;
	err = err ?: make_portion(r) ?: hand_out(r, u);
	unix_group_end(all);
	return err ?: move_fd(&u->fd);
}

static int unix_settle_all(struct restore *r)
{
	struct unix_restore *all = usk_all(r);
	int err = unix_settle(r);

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
	.open = unix_open,
	.settle = unix_settle_all,
};
