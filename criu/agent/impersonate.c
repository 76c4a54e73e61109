/* SPDX-License-Identifier: GPL-2.0-only */
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "agent/impersonate_call.h"
#include "lib/log.h"
#include "proc/proc.h"

static int ids_of(struct restore *r, const struct identity *as, struct ids *ids)
{
	*ids = (struct ids) { .as = as, .uid = geteuid(), .gid = getegid() };
	ids->n_own_groups = getgroups(0, NULL);
	ids->own_groups = arena_array(r->arena, gid_t, (size_t)MAX(ids->n_own_groups, 0) + 1);
	if (ids->n_own_groups < 0 || getgroups(ids->n_own_groups, ids->own_groups) != ids->n_own_groups)
		return log_errno(-errno, "getgroups");
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

/* *in: the task whose descriptors the call's results are in, or NULL. */
static int64_t call_as(struct restore *r, const struct identity *as, const struct call *c, const char *what,
                       struct task **in)
{
	struct task *t = living_task(r, as);
	struct ids ids;
	int64_t ret;
	int err = ids_of(r, as, &ids);

	if (err)
		return err;
	*in = t;
	if (t)
		return impersonate_call_in_task(r, t, &ids, c, what);
	if (!as->pid.v)
		return call_ourselves(c);
	err = impersonate_call_in_child(as, &ids, c, what, &ret);
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

int impersonate_listen(struct restore *r, const struct identity *as, int fd, int backlog, const char *what)
{
	struct call c = { .nr = SYS_listen, .fd = fd, .arg = { (uint64_t)fd, (uint64_t)backlog } };
	struct task *in;
	int64_t ret = call_as(r, as, &c, what, &in);

	return ret < 0 ? log_errno((int)ret, "%s: listening", what) : 0;
}

int impersonate_connect(struct restore *r, const struct identity *as, int fd, int dir, const struct sockaddr *addr,
                        socklen_t len, const char *what)
{
	union {
		struct sockaddr_storage any;
		struct sockaddr_un un;
	} copy = { 0 };
	struct call c = {
		.nr = SYS_connect,
		.fd = fd,
		.arg = { (uint64_t)fd, (uintptr_t)&copy, len },
		.data_arg = 1,
		.data = &copy,
		.data_len = sizeof(copy),
	};
	char path[64] = "";
	struct task *in;
	int64_t ret;

	if (len > sizeof(copy) || (dir >= 0 && len - offsetof(struct sockaddr_un, sun_path) >= sizeof(path)))
		return log_errno(-EINVAL, "%s: an address of %u bytes", what, len);
	if (dir >= 0) {
		memcpy(path, addr->sa_data, len - offsetof(struct sockaddr_un, sun_path));
		c.dir = dir;
		c.path = path;
		c.arg[2] = impersonate_path_below(&copy.un, dir, path);
	} else {
		memcpy(&copy, addr, len);
	}
	ret = call_as(r, as, &c, what, &in);
	return ret < 0 ? log_errno((int)ret, "%s: connecting", what) : 0;
}

int impersonate_socketpair(struct restore *r, const struct identity *as, int type, int fds[2], const char *what)
{
	int pair[2] = { -1, -1 };
	struct call c = {
		.nr = SYS_socketpair,
		.fd = -1,
		.arg = { AF_UNIX, (uint64_t)(type | SOCK_CLOEXEC), 0, (uintptr_t)pair },
		.data_arg = 3,
		.data = pair,
		.data_len = sizeof(pair),
		.comes_back = true,
	};
	struct task *in;
	int64_t ret = call_as(r, as, &c, what, &in);

	if (ret >= 0 && in) {
		ret = impersonate_fetch(in, pair, fds);
	} else if (ret >= 0) {
		fds[0] = pair[0];
		fds[1] = pair[1];
	}
	return ret < 0 ? log_errno((int)ret, "%s: making a socket pair", what) : 0;
}

/*
 * The kernel lets a privileged sender name any pid that exists, and any ids: only a pid that does not exist takes more.
 * (It would add real ids by itself.)
 */
int impersonate_sendmsg(struct restore *r, const struct identity *as, int fd, const struct msghdr *mh, int flags,
                        const char *what)
{
	struct task *t = as->pid.v ? tree_find(&r->tree, as->pid) : NULL;
	struct ucred cred = { .pid = t && t->pid ? t->pid : as->pid.v, .uid = as->uid, .gid = as->gid };
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
	if (!as->pid.v)
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
	ret = call_ourselves(&c);
	if (ret == -ESRCH)
		err = impersonate_call_in_child(as, NULL, &c, what, &ret);
	if (!err && ret != -EPERM && ret != -EINVAL)
		return (int)ret;
	log_warn("%s: the credentials of a message in its queue (pid %d, uid %u, gid %u) cannot be given here (%s): it "
	         "goes without",
	         what, as->pid.v, as->uid, as->gid, strerror(err ? -err : (int)-ret));
	copy = *mh;
	return (int)call_ourselves(&c);
}
