/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>
#include <sys/socket.h>

#include "files/files.h"
#include "helper/detour.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "sock/peer_pid.h"
#include "sock/unix/unix_creds.h"
#include "tree/task.h"

/* ---- dump ---- */

static int dump_peer_groups(struct dump *d, const struct fd_info *info, UnixSkEntry *m)
{
	uint32_t few[64], *groups = few;
	socklen_t len = sizeof(few);

	if (getsockopt(info->fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len)) {
		if (errno == ENODATA || errno == ENOPROTOOPT || errno == EOPNOTSUPP)
			return 0;
		if (errno != ERANGE)
			return log_errno(-errno, "%s: getsockopt(SO_PEERGROUPS)", fd_name(info));
		groups = arena_alloc(d->arena, len);
		if (getsockopt(info->fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len))
			return log_errno(-errno, "%s: getsockopt(SO_PEERGROUPS) of %u bytes", fd_name(info),
			                 (unsigned)len);
	}
	m->n_cred_groups = len / sizeof(*groups);
	m->cred_groups = arena_memdup(d->arena, groups, len);
	return 0;
}

static int read_inside(void *arg)
{
	const int *fd = arg;
	struct ucred c;
	socklen_t len = sizeof(c);

	return getsockopt(*fd, SOL_SOCKET, SO_PEERCRED, &c, &len) ? -errno : c.pid;
}

int unix_creds_dump(struct dump *d, const struct fd_info *info, UnixSkEntry *m)
{
	struct ucred c;
	socklen_t len = sizeof(c);
	int pid;

	if (getsockopt(info->fd, SOL_SOCKET, SO_PEERCRED, &c, &len))
		return log_errno(-errno, "%s: getsockopt(SO_PEERCRED)", fd_name(info));
	if (c.uid == (uid_t)-1)
		return 0;
	m->has_cred_pid = m->has_cred_uid = m->has_cred_gid = true;
	pid = peer_pid_gone(d, info->task, c.pid, read_inside, (void *)&info->fd);
	m->cred_pid = (uint32_t)MAX(pid, 0);
	m->cred_uid = c.uid;
	m->cred_gid = c.gid;
	if (pid < 0)
		log_warn("%s: its peer's credentials (SO_PEERCRED) name pid %d, which is gone, and its number in the "
		         "namespace of the tree cannot be told: %s",
		         fd_name(info), c.pid, strerror(-pid));
	return dump_peer_groups(d, info, m);
}

void unix_creds_dump_connector(const struct task *t, UnixSkEntry *m)
{
	const struct proc_status *status = t->threads[0].dump ? t->threads[0].dump->status : NULL;

	m->has_connector_pid = m->has_connector_uid = m->has_connector_gid = true;
	m->connector_pid = (uint32_t)t->vpid.v;
	m->connector_uid = status ? status->uid[1] : 0;
	m->connector_gid = status ? status->gid[1] : 0;
}

/* ---- restore ---- */

struct identity unix_creds_ours(void)
{
	return (struct identity) { .uid = detour_uid(), .gid = detour_gid() };
}

struct identity unix_creds_of(const UnixSkEntry *m)
{
	if (!m->has_cred_uid || !m->has_cred_gid)
		return unix_creds_ours();
	return (struct identity) { .pid = VPID(m->has_cred_pid ? m->cred_pid : 0),
		                   .uid = m->cred_uid,
		                   .gid = m->cred_gid,
		                   .groups = m->cred_groups ?: (const uint32_t *)"",
		                   .n_groups = m->n_cred_groups };
}

struct identity unix_creds_connector(const UnixSkEntry *m)
{
	if (!m->has_connector_uid || !m->has_connector_gid)
		return unix_creds_ours();
	return (struct identity) { .pid = VPID(m->connector_pid), .uid = m->connector_uid, .gid = m->connector_gid };
}

bool unix_creds_equal(const struct identity *a, const struct identity *b)
{
	return a->pid.v == b->pid.v && a->uid == b->uid && a->gid == b->gid && a->n_groups == b->n_groups &&
	       !a->groups == !b->groups &&
	       (!a->n_groups || !memcmp(a->groups, b->groups, a->n_groups * sizeof(*a->groups)));
}
