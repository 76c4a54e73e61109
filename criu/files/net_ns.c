/* SPDX-License-Identifier: GPL-2.0-only */
#include "files/net_ns.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files/files.h"
#include "helper/detour.h"
#include "lib/log.h"
#include "lib/message.h"
#include "tree/ns_given.h"
#include "tree/ns_ids.h"
#include "tree/subsys.h"
#include "tree/user_ns_image.h"
#include "inventory.pb-c.h"
#include "uapi/sock_bits.h"

struct net_ns {
	uint32_t id;
	uint64_t cookie; /* SO_NETNS_COOKIE; 0: not known */
	uint64_t ino;
	bool own; /* criu's */
	int fd;   /* -1: criu's own, or not to be had */
};

/* Of one dump, or of one restore. */
struct net_ns_all {
	struct net_ns *v;
	size_t n;
	uint32_t here;     /* the number of the one we are in; 0: criu's own */
	int own_fd;        /* criu's own, once another was entered; 0: not yet */
	uint32_t *mounted; /* restore: numbers that mounts have */
	size_t n_mounted;
};

const struct subsys net_ns_subsys;

/* SO_NETNS_COOKIE (5.14) needs no privilege. 0: not known (a tun descriptor has none). */
static uint64_t cookie_of_fd(int fd)
{
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);

	return getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) ? 0 : cookie;
}

static struct net_ns *find_by_id(struct net_ns_all *all, uint32_t id)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->v[i].id == id)
			return &all->v[i];
	return NULL;
}

/* id 0: criu's own, from wherever we are. */
static int visit_ns(struct net_ns_all *all, uint32_t id, int fd, struct net_visit *v)
{
	int err;

	if (all->here == id)
		return 0;
	if (!all->own_fd)
		all->own_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	err = net_visit_begin(id ? fd : all->own_fd, v);
	if (err)
		return err;
	v->here = &all->here;
	v->was = all->here;
	all->here = id;
	return 0;
}

/* ---- dump ---- */

static struct net_ns_all *dumped_of(struct dump *d)
{
	return dump_state(d, &net_ns_subsys);
}

uint32_t net_ns_here(struct dump *d)
{
	return dumped_of(d)->here;
}

static const struct ns *ns_by_ino(struct dump *d, uint64_t ino)
{
	const struct ns_ids *ids = ns_ids_all(d);

	for (size_t i = 0; i < ids->n; i++)
		if (ids->all[i].type->flag == CLONE_NEWNET && ids->all[i].ino == ino)
			return &ids->all[i];
	return NULL;
}

static const struct ns *ns_by_id(struct dump *d, uint32_t id)
{
	const struct ns_ids *ids = ns_ids_all(d);

	for (size_t i = 0; i < ids->n; i++)
		if (ids->all[i].type->flag == CLONE_NEWNET && ids->all[i].id == id)
			return &ids->all[i];
	return NULL;
}

/* Those are met first: tree/ns_ids.h. */
static bool is_crius(const struct ns *ns)
{
	return ns->id <= NAMESPACE_TYPES;
}

/* Our own descriptor of it: by a task that is in it, or what led to it. -1: it is criu's. */
static int open_ns(const struct ns *ns)
{
	char path[48];
	int fd;

	if (is_crius(ns) || ns->fd >= 0)
		return is_crius(ns) ? -1 : ns->fd;
	snprintf(path, sizeof(path), "/proc/%d/ns/net", ns->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? log_errno(-errno, "open of %s", path) : fd;
}

static struct net_ns *know_dumped(struct dump *d, const struct ns *ns, uint64_t cookie)
{
	struct net_ns_all *all = dumped_of(d);
	struct net_ns *known = find_by_id(all, ns->id);
	struct net_ns new = { .id = ns->id, .cookie = cookie, .ino = ns->ino, .own = is_crius(ns) };

	if (!known) {
		new.fd = open_ns(ns);
		arena_push(d->arena, &all->v, &all->n, new);
		known = &all->v[all->n - 1];
	}
	known->cookie = known->cookie ?: cookie;
	return known;
}

/* A descriptor leads to it (SIOCGSKNS wants CAP_NET_ADMIN in there), or the cookie is that of a known one. */
static struct net_ns *find_ns_of_file(struct dump *d, int fd)
{
	struct net_ns_all *all = dumped_of(d);
	uint64_t cookie = cookie_of_fd(fd);
	_cleanup_close_ int leads = -1;
	const struct ns *ns;
	struct stat st;

	for (size_t i = 0; cookie && i < all->n; i++)
		if (all->v[i].cookie == cookie)
			return &all->v[i];
	leads = ioctl(fd, SIOCGSKNS);
	if (leads < 0 || fstat(leads, &st))
		return NULL;
	ns = ns_by_ino(d, st.st_ino);
	if (!ns)
		ns = ns_ids_add(d, ns_type_of_flag(CLONE_NEWNET), st.st_ino, move_fd(&leads));
	return know_dumped(d, ns, cookie);
}

/* criu's own is known by its cookie without any privilege. */
static void know_own(struct dump *d)
{
	_cleanup_close_ int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const struct ns_ids *ids = ns_ids_all(d);

	for (size_t i = 0; i < ids->n; i++)
		if (ids->all[i].type->flag == CLONE_NEWNET && is_crius(&ids->all[i]))
			know_dumped(d, &ids->all[i], sock < 0 ? 0 : cookie_of_fd(sock));
}

static int refuse_ns(const struct fd_info *info, int err)
{
	log_refusal(-ENOTSUP,
	            "%s: %s of another network namespace than the one that criu runs in, which criu may not enter "
	            "(%s): run criu as root, or there (nsenter --net=/proc/%d/ns/net)",
	            fd_name(info), fd_what(info), strerror(-err), info->task ? info->task->pid : 0);
	return DUMP_REFUSED;
}

uint32_t net_ns_number_dumped(struct dump *d, int fd)
{
	int ours = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	const struct ns *ns;
	struct stat st;

	if (ours < 0 || fstat(ours, &st))
		return 0;
	ns = ns_by_ino(d, st.st_ino) ?: ns_ids_add(d, ns_type_of_flag(CLONE_NEWNET), st.st_ino, move_fd(&ours));
	if (ours >= 0)
		close(ours);
	return ns->id;
}

static int visit_known(struct dump *d, const struct net_ns *ns, struct net_visit *v)
{
	if (!ns->own && ns->fd < 0)
		return ns->fd;
	return visit_ns(dumped_of(d), ns->own ? 0 : ns->id, ns->fd, v);
}

int net_ns_visit_file(struct dump *d, const struct fd_info *info, uint32_t *id, struct net_visit *v)
{
	struct net_ns *ns;
	int err;

	if (!dumped_of(d)->n)
		know_own(d);
	ns = find_ns_of_file(d, info->fd);
	if (!ns && !cookie_of_fd(info->fd)) { /* nothing tells: as older kernels and unprivileged users had it */
		*id = info->task && info->task->ids ? info->task->ids->net_ns_id : 0;
		return 0;
	}
	if (!ns)
		return refuse_ns(info, -EPERM);
	*id = ns->id;
	err = visit_known(d, ns, v);
	return err ? refuse_ns(info, err) : 0;
}

int net_ns_home_dumped(struct dump *d, struct net_visit *v)
{
	int err = detour_at() < 0 ? 0 : visit_ns(dumped_of(d), 0, -1, v);

	return err ? log_errno(err, "setns back into criu's own network namespace") : 0;
}

int net_ns_fd_dumped(struct dump *d, uint32_t id)
{
	const struct ns *ns = ns_by_id(d, id);

	return ns ? know_dumped(d, ns, 0)->fd : log_errno(-ENOENT, "network namespace %u is not known", id);
}

int net_ns_visit_dumped(struct dump *d, uint32_t id, struct net_visit *v)
{
	const struct ns *ns = ns_by_id(d, id);
	const struct net_ns *known = ns ? know_dumped(d, ns, 0) : NULL;
	int err;

	err = known ? visit_known(d, known, v) : 0;
	return err ? log_errno(err, "setns into network namespace %u of the tree", id) : 0;
}

/* ---- restore ---- */

static struct net_ns_all *restored_of(struct restore *r)
{
	return restore_state(r, &net_ns_subsys);
}

uint32_t net_ns_number(const struct restore *r, bool has_id, uint32_t id)
{
	const TaskKobjIdsEntry *criu = r->inventory ? r->inventory->root_ids : NULL;

	if (!has_id || !criu || !criu->has_net_ns_id)
		return 0;
	return criu->net_ns_id != id || ns_given_fd(r, ns_type_of_flag(CLONE_NEWNET), id) >= 0 ? id : 0;
}

uint32_t net_ns_of_msg(const struct restore *r, const void *msg)
{
	int64_t id;
	bool has_id = message_get_number(msg, "ns_id", &id);

	return net_ns_number(r, has_id, has_id ? (uint32_t)id : 0);
}

void net_ns_expect(struct restore *r, uint32_t id)
{
	struct net_ns_all *all = restored_of(r);
	struct net_ns new = { .id = id, .fd = -1 };

	if (!find_by_id(all, id))
		arena_push(r->arena, &all->v, &all->n, new);
}

bool net_ns_is_expected(struct restore *r, uint32_t id)
{
	return find_by_id(restored_of(r), id);
}

size_t net_ns_expected(struct restore *r, const uint32_t **out)
{
	const struct net_ns_all *all = restored_of(r);
	uint32_t *ids = arena_array(r->arena, uint32_t, all->n);

	for (size_t i = 0; i < all->n; i++)
		ids[i] = all->v[i].id;
	*out = ids;
	return all->n;
}

struct net_ns_ids {
	uint32_t *v;
	size_t n;
};

static int note_file(struct restore *r, const void *msg, void *arg)
{
	struct net_ns_ids *ids = arg;
	int64_t flag;
	uint32_t id = net_ns_of_msg(r, msg);

	/* A descriptor of a namespace says of which type. */
	if (!id || (message_get_number(msg, "ns_cflag", &flag) && flag != CLONE_NEWNET))
		return 0;
	for (size_t i = 0; i < ids->n; i++)
		if (ids->v[i] == id)
			return 0;
	arena_push(r->arena, &ids->v, &ids->n, id);
	return 0;
}

void net_ns_note_mounted(struct restore *r, uint32_t id)
{
	struct net_ns_all *all = restored_of(r);

	arena_push(r->arena, &all->mounted, &all->n_mounted, id);
}

size_t net_ns_of_files(struct restore *r, const uint32_t **out)
{
	const struct net_ns_all *all = restored_of(r);
	struct net_ns_ids ids = { 0 };

	for (size_t i = 0; i < all->n_mounted; i++)
		if (net_ns_number(r, true, all->mounted[i]))
			arena_push(r->arena, &ids.v, &ids.n, all->mounted[i]);

	for (const struct fd_kind *const *k = fd_kinds; *k; k++)
		if ((*k)->in_net_ns || (*k)->type == FD_TYPES__NS)
			files_all(r, *k, note_file, &ids);
	*out = ids.v;
	return ids.n;
}

void net_ns_made(struct restore *r, uint32_t id, int fd)
{
	net_ns_expect(r, id);
	find_by_id(restored_of(r), id)->fd = fd;
}

int net_ns_fd(struct restore *r, uint32_t id)
{
	const struct net_ns *ns = id ? find_by_id(restored_of(r), id) : NULL;

	return ns ? ns->fd : -1;
}

int net_ns_visit(struct restore *r, uint32_t id, struct net_visit *v)
{
	const struct net_ns *ns = id ? find_by_id(restored_of(r), id) : NULL;
	int err;

	err = !id || (ns && ns->fd >= 0) ? visit_ns(restored_of(r), id, ns ? ns->fd : -1, v) : -ENOENT;
	return err ? log_errno(err, "setns into network namespace %u of the checkpoint", id) : 0;
}

bool net_ns_ids_here(struct restore *r, uint32_t *uid, uint32_t *gid)
{
	const struct user_ns *owner = detour_at() < 0 ? NULL : user_ns_owner(r, restored_of(r)->here);

	return user_ns_known(owner, USER_ID, *uid, uid) && !user_ns_is_unmapped(owner, USER_ID, *uid) &&
	       user_ns_known(owner, GROUP_ID, *gid, gid) && !user_ns_is_unmapped(owner, GROUP_ID, *gid);
}

int net_ns_own_fd(struct restore *r)
{
	return restored_of(r)->own_fd;
}

/* By the cookie of a socket that is made there. */
static uint64_t cookie_of_ns(struct restore *r, struct net_ns *ns)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	_cleanup_close_ int sock = -1;

	if (!ns->cookie && !net_ns_visit(r, ns->id, &v)) {
		sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		ns->cookie = sock < 0 ? 0 : cookie_of_fd(sock);
	}
	return ns->cookie;
}

int net_ns_confirm(struct restore *r, int fd, uint32_t id, const char *what)
{
	struct net_ns *ns = id ? find_by_id(restored_of(r), id) : NULL;
	uint64_t is = ns ? cookie_of_fd(fd) : 0, wanted = is ? cookie_of_ns(r, ns) : 0;

	if (!wanted || is == wanted)
		return 0;
	return log_errno(-EXDEV, "%s: was made in another network namespace than number %u of the images", what, id);
}

static void close_all(struct net_ns_all *all)
{
	for (size_t i = 0; i < all->n; i++)
		if (all->v[i].fd >= 0)
			close(all->v[i].fd);
	if (all->own_fd > 0)
		close(all->own_fd);
	*all = (struct net_ns_all) { 0 };
}

static void close_dumped(struct dump *d)
{
	close_all(dumped_of(d));
}

static void close_restored(struct restore *r)
{
	close_all(restored_of(r));
}

const struct subsys net_ns_subsys = {
	.name = "network namespaces",
	.state = { .dump = sizeof(struct net_ns_all), .restore = sizeof(struct net_ns_all) },
	.end = close_dumped,
	.done = close_restored,
};
