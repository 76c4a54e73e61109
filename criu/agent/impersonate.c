/* SPDX-License-Identifier: GPL-2.0-only */
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "agent/impersonate_call.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "tree/ns_ids.h"
#include "tree/pid_numbers.h"
#include "tree/subsys.h"
#include "tree/user_ns.h"

/* Criu's own, which do not change while it works: asked for once, since there may be as many calls as sockets. */
struct own_ids {
	bool known;
	uid_t uid;
	gid_t gid, *groups;
	int n_groups;
};

static int own_ids_of(struct restore *r, const struct own_ids **out);

/* As they are before any detour (helper/detour.h), on which they look different. */
static int learn_own_ids(struct restore *r)
{
	const struct own_ids *own;

	return own_ids_of(r, &own);
}

const struct subsys impersonate_subsys = { .name = "criu's own ids",
	                                   .state = { .restore = sizeof(struct own_ids) },
	                                   .before_start = learn_own_ids };

static int own_ids_of(struct restore *r, const struct own_ids **out)
{
	struct own_ids *own = restore_state(r, &impersonate_subsys);

	*out = own;
	if (own->known)
		return 0;
	own->uid = geteuid();
	own->gid = getegid();
	own->n_groups = getgroups(0, NULL);
	own->groups = arena_array(r->arena, gid_t, (size_t)MAX(own->n_groups, 0) + 1);
	if (own->n_groups < 0 || getgroups(own->n_groups, own->groups) != own->n_groups)
		return log_errno(-errno, "getgroups");
	own->known = true;
	return 0;
}

static int ids_of(struct restore *r, const struct identity *as, struct ids *ids)
{
	const struct own_ids *own;
	int err = own_ids_of(r, &own);

	if (err)
		return err;
	*ids = (struct ids) {
		.as = as, .uid = own->uid, .gid = own->gid, .own_groups = own->groups, .n_own_groups = own->n_groups
	};
	ids->groups = as->groups && ((size_t)ids->n_own_groups != as->n_groups ||
	                             memcmp(as->groups, ids->own_groups, as->n_groups * sizeof(gid_t)));
	ids->change = as->uid != ids->uid || as->gid != ids->gid || ids->groups;
	return 0;
}

static void warn_taken(const struct identity *as, const char *what)
{
	_cleanup_close_ int proc = proc_open(as->pid.v);
	struct proc_stat st = { .comm = "a thread, group" };

	if (proc >= 0)
		proc_read_stat(proc, 0, &st);
	log_warn("%s: was created by pid %d, which has left the tree and is %.15s now: the peer sees criu's pid "
	         "instead",
	         what, as->pid.v, st.comm);
}

static struct task *living_task(struct restore *r, const struct identity *as)
{
	struct task *t = as->pid.v ? tree_find(&r->tree, as->pid) : NULL;

	return t && t->state != TASK_DEAD && t->restore && t->restore->agent ? t : NULL;
}

static int64_t call_ourselves(const struct call *c)
{
	const uint64_t *a = c->arg;

	return impersonate_raw(syscall(c->nr, a[0], a[1], a[2], a[3], a[4], a[5]));
}

/* As a task in a user namespace of its own sees them: what it is there, and what it is to be for the call. */
struct inner_ids {
	struct identity as;
	struct ids ids;
};

static uint32_t seen_inside(const struct user_ns *ns, enum user_id kind, uint32_t id)
{
	uint32_t seen;

	/* The call will fail, and say so. */
	return user_ns_known(ns, kind, id, &seen) ? seen : (uint32_t)-2;
}

static gid_t *groups_inside(struct restore *r, const struct user_ns *ns, const uint32_t *groups, size_t n)
{
	gid_t *v = arena_array(r->arena, gid_t, n + 1);

	for (size_t i = 0; i < n; i++)
		v[i] = seen_inside(ns, GROUP_ID, groups[i]);
	return v;
}

static void see_inside(struct restore *r, const struct user_ns *ns, const struct identity *as, struct inner_ids *in)
{
	in->as = *as;
	in->as.uid = seen_inside(ns, USER_ID, as->uid);
	in->as.gid = seen_inside(ns, GROUP_ID, as->gid);
	in->as.groups = as->groups ? groups_inside(r, ns, as->groups, as->n_groups) : NULL;
	in->ids = (struct ids) { .as = &in->as,
		                 .uid = seen_inside(ns, USER_ID, ns->enter_as[USER_ID]),
		                 .gid = seen_inside(ns, GROUP_ID, ns->enter_as[GROUP_ID]),
		                 .own_groups = groups_inside(r, ns, ns->groups, ns->n_groups),
		                 .n_own_groups = (int)ns->n_groups };
	in->ids.groups = as->groups && (as->n_groups != ns->n_groups ||
	                                (as->n_groups && memcmp(as->groups, ns->groups, as->n_groups * sizeof(gid_t))));
	in->ids.change = in->as.uid != in->ids.uid || in->as.gid != in->ids.gid || in->ids.groups;
}

static int calls_in_task(struct restore *r, struct task *t, const struct ids *ids, struct call *c, size_t n,
                         const char *what)
{
	const struct user_ns *ns = user_ns_of_task(user_ns_of_restore(r), t);
	struct inner_ids in;

	if (!ns)
		return impersonate_calls_in_task(r, t, ids, c, n, what);
	see_inside(r, ns, ids->as, &in);
	return impersonate_calls_in_task(r, t, &in.ids, c, n, what);
}

/* By a task that is made for it, or else by ourselves. */
static int64_t call_as_gone(struct restore *r, const struct identity *as, const struct ids *ids, const struct call *c,
                            const char *what)
{
	int64_t ret;
	int err = impersonate_call_in_child(r, as, ids, c, what, &ret);

	if (!err)
		return ret;
	if (err == -EEXIST)
		warn_taken(as, what);
	else
		log_warn("%s: was created by pid %d, but clone3 cannot create a task with that pid here (%s): the peer "
		         "sees criu's pid "
		         "instead",
		         what, as->pid.v, strerror(-err));
	return call_ourselves(c);
}

/* *in: the task whose descriptors the calls' results are in, or NULL. A negative errno: they could not be made. */
static int calls_as(struct restore *r, const struct identity *as, struct call *c, size_t n, const char *what,
                    struct task **in)
{
	struct task *t = living_task(r, as);
	struct ids ids;
	int err = ids_of(r, as, &ids);

	if (err)
		return err;
	*in = t;
	if (t)
		return calls_in_task(r, t, &ids, c, n, what);
	for (size_t i = 0; i < n; i++)
		c[i].ret = as->pid.v ? call_as_gone(r, as, &ids, &c[i], what) : call_ourselves(&c[i]);
	return 0;
}

int impersonate_listen_all(struct restore *r, const struct identity *as, const struct listen_call *calls, size_t n)
{
	_cleanup_free_ struct call *c = calloc(n + 1, sizeof(*c));
	struct task *in;
	int err = c ? 0 : log_errno(-ENOMEM, "listening of %zu sockets", n);

	for (size_t i = 0; i < n && !err; i++)
		c[i] = (struct call) { .nr = SYS_listen,
			               .fd = calls[i].fd,
			               .arg = { (uint64_t)calls[i].fd, (uint64_t)calls[i].backlog } };
	if (n && !err)
		err = calls_as(r, as, c, n, calls[0].what, &in);
	for (size_t i = 0; i < n && !err; i++)
		if (c[i].ret < 0)
			err = log_errno((int)c[i].ret, "%s: listening", calls[i].what);
	return err;
}

int impersonate_listen(struct restore *r, const struct identity *as, int fd, int backlog, const char *what)
{
	return impersonate_listen_all(r, as, &(struct listen_call) { fd, backlog, what }, 1);
}

#define PATH_BELOW 64 /* of an address that begins at a descriptor */

/* copy, path: room of the call's own. */
static int plan_connect(const struct connect_call *from, int dir, struct call *c, struct sockaddr_un *copy, char *path)
{
	size_t len = from->len - offsetof(struct sockaddr_un, sun_path);

	if (from->len > sizeof(*copy) || from->len < offsetof(struct sockaddr_un, sun_path) ||
	    (dir >= 0 && len >= PATH_BELOW))
		return log_errno(-EINVAL, "%s: an address of %u bytes", from->what, from->len);
	*c = (struct call) {
		.nr = SYS_connect,
		.fd = from->fd,
		.arg = { (uint64_t)from->fd, (uintptr_t)copy, from->len },
		.data_arg = 1,
		.data = copy,
		.data_len = sizeof(*copy),
	};
	*copy = from->addr;
	if (dir < 0)
		return 0;
	memcpy(path, from->addr.sun_path, len);
	path[len] = 0;
	c->dir = dir;
	c->path = path;
	c->arg[2] = impersonate_path_below(copy, dir, path);
	return 0;
}

int impersonate_connect_all(struct restore *r, const struct identity *as, const struct connect_call *calls, size_t n,
                            int dir)
{
	_cleanup_free_ struct call *c = calloc(n + 1, sizeof(*c));
	_cleanup_free_ struct sockaddr_un *copies = calloc(n + 1, sizeof(*copies));
	_cleanup_free_ char(*paths)[PATH_BELOW + 1] = calloc(n + 1, sizeof(*paths));
	struct task *in;
	int err = c && copies && paths ? 0 : log_errno(-ENOMEM, "connecting of %zu sockets", n);

	for (size_t i = 0; i < n && !err; i++)
		err = plan_connect(&calls[i], dir, &c[i], &copies[i], paths[i]);
	if (n && !err)
		err = calls_as(r, as, c, n, calls[0].what, &in);
	for (size_t i = 0; i < n && !err; i++)
		if (c[i].ret < 0)
			err = log_errno((int)c[i].ret, "%s: connecting", calls[i].what);
	return err;
}

int impersonate_connect(struct restore *r, const struct identity *as, int fd, int dir, const struct sockaddr_un *addr,
                        socklen_t len, const char *what)
{
	return impersonate_connect_all(
	    r, as, &(struct connect_call) { .fd = fd, .addr = *addr, .len = len, .what = what }, 1, dir);
}

static void plan_pairs(const struct pair_call *calls, struct call *c, int *numbers, size_t n)
{
	for (size_t i = 0; i < n; i++)
		c[i] = (struct call) {
			.nr = SYS_socketpair,
			.fd = -1,
			.arg = { AF_UNIX, (uint64_t)(calls[i].type | SOCK_CLOEXEC), 0, (uintptr_t)&numbers[2 * i] },
			.data_arg = 3,
			.data = &numbers[2 * i],
			.data_len = 2 * sizeof(int),
			.comes_back = true,
		};
}

/* Of all that were made, in their order: *n of them. */
static int take_pairs(struct task *in, const struct call *c, const int *numbers, size_t n, int *fds, size_t *made)
{
	int theirs[2 * PAIRS_AT_ONCE];

	*made = 0;
	for (size_t i = 0; i < n; i++)
		if (c[i].ret >= 0)
			memcpy(&theirs[2 * (*made)++], &numbers[2 * i], 2 * sizeof(int));
	if (in)
		return impersonate_fetch(in, theirs, fds, 2 * *made);
	memcpy(fds, theirs, 2 * *made * sizeof(*fds));
	return 0;
}

int impersonate_socketpairs(struct restore *r, const struct identity *as, struct pair_call *calls, size_t *n)
{
	int numbers[2 * PAIRS_AT_ONCE], fds[2 * PAIRS_AT_ONCE], err;
	struct call c[PAIRS_AT_ONCE];
	struct task *in = NULL;
	size_t made;

	*n = MIN(*n, (size_t)PAIRS_AT_ONCE);
	plan_pairs(calls, c, numbers, *n);
	err = calls_as(r, as, c, *n, calls[0].what, &in);
	err = err ?: take_pairs(in, c, numbers, *n, fds, &made);
	if (!err && !made)
		err = (int)c[0].ret;
	if (err)
		return log_errno(err, "%s: making a socket pair", calls[0].what);
	for (size_t i = 0, k = 0; i < *n; i++) {
		bool is_made = c[i].ret >= 0;

		calls[i].fds[0] = is_made ? fds[k++] : -1;
		calls[i].fds[1] = is_made ? fds[k++] : -1;
	}
	return 0;
}

int impersonate_socketpair(struct restore *r, const struct identity *as, int type, int fds[2], const char *what)
{
	struct pair_call call = { .type = type, .what = what };
	size_t n = 1;
	int err = impersonate_socketpairs(r, as, &call, &n);

	fds[0] = err ? -1 : call.fds[0];
	fds[1] = err ? -1 : call.fds[1];
	return err;
}

/*
 * The kernel lets a privileged sender name any pid that exists, and any ids: only a pid that does not exist takes more.
 * (It would add real ids by itself.)
 */
int impersonate_sendmsg(struct restore *r, const struct identity *as, int fd, const struct msghdr *mh, int flags,
                        const char *what)
{
	struct task *t = as->pid.v ? tree_find(&r->tree, as->pid) : NULL;
	bool gone = !(t && t->pid) && !as->outside;
	const struct pid_numbers *p = gone ? pid_numbers_of(&r->tree, as->pid) : NULL;
	pid_t own = p && p->ns ? p->inner[p->n - 1] : as->pid.v; /* as the helper with that number knows itself */
	struct ucred cred = { .pid = gone ? own : t ? t->pid : getpid(), .uid = as->uid, .gid = as->gid };
	size_t len = mh->msg_controllen;
	struct msghdr copy = *mh;
	struct call c = {
		.nr = SYS_sendmsg,
		.fd = fd,
		.arg = { (uint64_t)fd, (uintptr_t)&copy, (uint64_t)(flags | MSG_DONTWAIT | MSG_NOSIGNAL) },
	};
	_cleanup_free_ char *control = calloc(1, len + CMSG_SPACE(sizeof(cred)));
	struct cmsghdr *cmsg;
	int64_t ret;
	int err = 0;

	if (!control)
		return -ENOMEM;
	if (!as->pid.v && !as->outside)
		return (int)call_ourselves(&c);
	if (len)
		memcpy(control, mh->msg_control, len);
	cmsg = (struct cmsghdr *)(control + len);
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_CREDENTIALS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(cred));
	memcpy(CMSG_DATA(cmsg), &cred, sizeof(cred));
	copy.msg_control = control;
	copy.msg_controllen = len + CMSG_SPACE(sizeof(cred));
	/* Here the number of a process that was in a namespace of the tree's own would be another process's. */
	ret = gone && (ns_ids_own_pids(r) || (p && p->ns)) ? -ESRCH : call_ourselves(&c);
	if (ret == -ESRCH)
		err = impersonate_call_in_child(r, as, NULL, &c, what, &ret);
	if (!err && ret != -EPERM && ret != -EINVAL)
		return (int)ret;
	log_warn("%s: the credentials of a message in its queue (pid %d, uid %u, gid %u) cannot be given here (%s): it "
	         "goes without",
	         what, as->pid.v, as->uid, as->gid, strerror(err ? -err : (int)-ret));
	copy = *mh;
	return (int)call_ourselves(&c);
}
