/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "agent/as.h"
#include "agent/batch.h"
#include "agent/fdpass.h"
#include "arch/arch_start.h"
#include "core/log.h"
#include "core/proc.h"

#define CHILD_STACK (32UL << 10)

/* A call that is made by somebody: in a task of the tree with the descriptor's number there and the data's address. */
struct call {
	long nr;
	int fd; /* of ours, the first argument; -1: it has none */
	uint64_t arg[6];
	int data_arg; /* the argument that is an address; 0: none */
	void *data;
	size_t data_len;
	bool comes_back;  /* data is filled by the call */
	int dir;          /* where a path begins, a second descriptor of ours */
	const char *path; /* from there; NULL: there is none */
};

/* Effective ids to put on and to go back to. */
struct ids {
	const struct as *as;
	bool change, groups;
	uint32_t uid, gid; /* ours */
	gid_t *own_groups;
	int n_own_groups;
};

static int ids_of(struct restore *r, const struct as *as, struct ids *ids)
{
	*ids = (struct ids) { .as = as, .uid = geteuid(), .gid = getegid() };
	ids->n_own_groups = getgroups(0, NULL);
	ids->own_groups = arena_array(r->arena, gid_t, (size_t)MAX(ids->n_own_groups, 0) + 1);
	if (ids->n_own_groups < 0 || getgroups(ids->n_own_groups, ids->own_groups) != ids->n_own_groups)
		return log_errno(-errno, "reading our own supplementary groups");
	ids->groups = as->groups && ((size_t)ids->n_own_groups != as->n_groups ||
	                             memcmp(as->groups, ids->own_groups, as->n_groups * sizeof(gid_t)));
	ids->change = as->uid != ids->uid || as->gid != ids->gid || ids->groups;
	return 0;
}

/* In a user namespace setgroups(2) may be forbidden for good (user_namespaces(7)). */
static void note_groups(const struct as *as, int err, const char *what)
{
	log_info(
	    "%s: it was made with %zu supplementary groups, which cannot be taken on here (%s): its peer sees ours",
	    what, as->n_groups, strerror(-err));
}

static void warn_ids(const struct as *as, int err, const char *what)
{
	log_warn("%s: it was made by pid %d with uid %u and gid %u, which cannot be taken on here (%s): its peer sees "
	         "ours instead",
	         what, as->pid.v, as->uid, as->gid, strerror(-err));
}

/* ---- by a task of the tree ---- */

/* What of the batch tells whether the ids could be put on. */
struct ops {
	int set[3], call;
};

static void add_ids(struct batch *b, const struct ids *ids, int *set)
{
	const struct as *as = ids->as;
	raddr_t groups;

	if (ids->groups) {
		groups = batch_data(b, as->groups, as->n_groups * sizeof(*as->groups));
		set[0] = batch_ask(b, SYS_setgroups, as->n_groups, groups);
	}
	set[1] = batch_ask(b, SYS_setresgid, -1UL, as->gid, -1UL);
	set[2] = batch_ask(b, SYS_setresuid, -1UL, as->uid, -1UL);
	/* A path is looked up with ours as before: only what the peer sees is the effective id. */
	batch_ask(b, SYS_setfsuid, ids->uid);
	batch_ask(b, SYS_setfsgid, ids->gid);
}

static void add_return(struct batch *b, const struct ids *ids)
{
	batch_call(b, SYS_setresuid, -1UL, ids->uid, -1UL);
	batch_call(b, SYS_setresgid, -1UL, ids->gid, -1UL);
	if (ids->groups)
		batch_ask(b, SYS_setgroups, (uint64_t)ids->n_own_groups,
		          batch_data(b, ids->own_groups, (size_t)ids->n_own_groups * sizeof(gid_t)));
	/* A change of ids took it away; without it nobody could look at the task (proc(5), pidfd_getfd). */
	batch_call(b, SYS_prctl, PR_SET_DUMPABLE, 1);
}

/* A path below a descriptor. Returns the length of the address. */
static socklen_t path_below(struct sockaddr_un *addr, int dir, const char *path)
{
	addr->sun_family = AF_UNIX;
	snprintf(addr->sun_path, sizeof(addr->sun_path), "/proc/self/fd/%d/%s", dir, path);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(addr->sun_path) + 1);
}

/* numbers: of c->fd and c->dir in the task. */
static int add_call(struct batch *b, const struct call *c, const int *numbers, void **data)
{
	uint64_t arg[6];

	memcpy(arg, c->arg, sizeof(arg));
	if (c->fd >= 0)
		arg[0] = (uint64_t)numbers[0];
	if (c->path)
		arg[2] = path_below(c->data, numbers[1], c->path);
	if (c->data_arg) {
		arg[c->data_arg] = batch_space(b, c->data_len, data);
		if (*data && !c->comes_back)
			memcpy(*data, c->data, c->data_len);
	}
	return batch_add(b, (unsigned)c->nr, 0, arg);
}

static void tell_ids(const struct ids *ids, const struct ops *ops, const struct batch *b, const char *what)
{
	if (ops->set[0] >= 0 && batch_ret(b, ops->set[0]) < 0)
		note_groups(ids->as, (int)batch_ret(b, ops->set[0]), what);
	for (size_t i = 1; i < ARRAY_SIZE(ops->set); i++)
		if (ops->set[i] >= 0 && batch_ret(b, ops->set[i]) < 0) {
			warn_ids(ids->as, (int)batch_ret(b, ops->set[i]), what);
			break;
		}
}

static size_t space_of(const struct ids *ids, const struct call *c)
{
	size_t groups = ids->groups ? (ids->as->n_groups + (size_t)ids->n_own_groups) * sizeof(gid_t) : 0;

	return groups + c->data_len + 64;
}

static int64_t call_in_task(struct restore *r, struct task *t, const struct ids *ids, const struct call *c,
                            const char *what)
{
	struct batch *b = agent_batch(t->restore->agent, "a socket of its own");
	struct ops ops = { { -1, -1, -1 }, -1 };
	void *data = NULL;
	int fds[] = { c->fd, c->dir }, numbers[2], n = c->fd < 0 ? 0 : c->path ? 2 : 1, err;

	err = n ? files_send(r, t, fds, (size_t)n, numbers) : 0;
	if (err)
		return err;
	batch_reserve(b, 16, space_of(ids, c));
	if (ids->change)
		add_ids(b, ids, ops.set);
	ops.call = add_call(b, c, numbers, &data);
	if (ids->change)
		add_return(b, ids);
	for (int i = 0; i < n; i++)
		batch_call(b, SYS_close, (uint64_t)numbers[i]);
	err = batch_run(b);
	if (err)
		return err;
	tell_ids(ids, &ops, b, what);
	if (c->comes_back)
		memcpy(c->data, data, c->data_len);
	return batch_ret(b, ops.call);
}

/* ---- by a short-lived task with that pid ---- */

struct child {
	const struct ids *ids; /* NULL: the call tells them itself */
	const struct call *call;
	int dumpable;
	int64_t groups_err, ids_err, ret;
};

static int64_t raw(long ret)
{
	return ret < 0 ? -errno : ret;
}

/*
 * Runs in our memory, while we wait: nothing but system calls. Those of the C library would change the ids of all of
 * the tool's threads; these are this task's alone.
 */
static void child_main(void *arg)
{
	struct child *ch = arg;
	const struct ids *ids = ch->ids;
	const uint64_t *a = ch->call->arg;

	if (ids && ids->groups)
		ch->groups_err = raw(syscall(SYS_setgroups, ids->as->n_groups, ids->as->groups));
	if (ids && ids->change) {
		ch->ids_err = raw(syscall(SYS_setresgid, -1L, (long)ids->as->gid, -1L));
		ch->ids_err = ch->ids_err ?: raw(syscall(SYS_setresuid, -1L, (long)ids->as->uid, -1L));
		syscall(SYS_setfsuid, (long)ids->uid);
		syscall(SYS_setfsgid, (long)ids->gid);
	}
	ch->ret = raw(syscall(ch->call->nr, a[0], a[1], a[2], a[3], a[4], a[5]));
	/* It is the memory's, which is ours. */
	if (ch->dumpable == 1)
		syscall(SYS_prctl, PR_SET_DUMPABLE, 1);
	syscall(SYS_exit, 0);
}

/* -EEXIST: somebody has the pid. */
static int64_t call_in_child(const struct as *as, const struct ids *ids, const struct call *c, const char *what)
{
	_cleanup_free_ char *stack = aligned_alloc(16, CHILD_STACK);
	struct child ch = { .ids = ids, .call = c, .dumpable = prctl(PR_GET_DUMPABLE) };
	pid_t set_tid = as->pid.v;
	struct clone_args args = {
		.flags = CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_FS,
		.stack = (uintptr_t)stack,
		.stack_size = CHILD_STACK,
		.set_tid = (uintptr_t)&set_tid,
		.set_tid_size = 1,
	};
	int status;
	long pid;

	if (!stack)
		return -ENOMEM;
	pid = arch_clone3(&args, child_main, &ch);
	if (pid < 0)
		return pid;
	while (waitpid((pid_t)pid, &status, __WALL) < 0 && errno == EINTR)
		;
	if (ch.groups_err < 0)
		note_groups(as, (int)ch.groups_err, what);
	if (ch.ids_err < 0)
		warn_ids(as, (int)ch.ids_err, what);
	return ch.ret;
}

static void warn_taken(const struct as *as, const char *what)
{
	_cleanup_close_ int proc = proc_open(as->pid.v);
	struct proc_stat st = { .comm = "a thread, group" };

	if (proc >= 0)
		read_proc_stat(proc, 0, &st);
	log_warn(
	    "%s: it was made by pid %d, which is gone from the tree and which %.15s has now: its peer sees our pid "
	    "instead",
	    what, as->pid.v, st.comm);
}

/* ---- whoever it is ---- */

static struct task *living_task(struct restore *r, const struct as *as)
{
	struct task *t = as->pid.v ? tree_find(&r->tree, as->pid) : NULL;

	return t && t->state != TASK_DEAD && t->restore && t->restore->agent ? t : NULL;
}

static int64_t call_ourselves(const struct call *c)
{
	const uint64_t *a = c->arg;

	return raw(syscall(c->nr, a[0], a[1], a[2], a[3], a[4], a[5]));
}

/* *in: the task whose descriptors the call's results are in, or NULL. */
static int64_t call_as(struct restore *r, const struct as *as, const struct call *c, const char *what, struct task **in)
{
	struct task *t = living_task(r, as);
	struct ids ids;
	int64_t ret;
	int err = ids_of(r, as, &ids);

	if (err)
		return err;
	*in = t;
	if (t)
		return call_in_task(r, t, &ids, c, what);
	if (!as->pid.v)
		return call_ourselves(c);
	ret = call_in_child(as, &ids, c, what);
	if (ret == -EEXIST)
		warn_taken(as, what);
	else if (ret == -EPERM || ret == -EINVAL)
		log_warn("%s: it was made by pid %d, with which no task can be made here (%s): its peer sees our pid "
		         "instead",
		         what, as->pid.v, strerror((int)-ret));
	else
		return ret;
	return call_ourselves(c);
}

int as_listen(struct restore *r, const struct as *as, int fd, int backlog, const char *what)
{
	struct call c = { .nr = SYS_listen, .fd = fd, .arg = { (uint64_t)fd, (uint64_t)backlog } };
	struct task *in;
	int64_t ret = call_as(r, as, &c, what, &in);

	return ret < 0 ? log_errno((int)ret, "%s: listening", what) : 0;
}

int as_connect(struct restore *r, const struct as *as, int fd, int dir, const struct sockaddr *addr, socklen_t len,
               const char *what)
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
		c.arg[2] = path_below(&copy.un, dir, path);
	} else {
		memcpy(&copy, addr, len);
	}
	ret = call_as(r, as, &c, what, &in);
	return ret < 0 ? log_errno((int)ret, "%s: connecting", what) : 0;
}

/* Takes two descriptors out of a task. */
static int fetch(struct task *t, const int numbers[2], int fds[2])
{
	_cleanup_close_ int pidfd = (int)syscall(SYS_pidfd_open, t->pid, 0);
	struct batch *b = agent_batch(t->restore->agent, "closing a socket pair");
	int err = pidfd < 0 ? -errno : 0;

	for (int i = 0; i < 2; i++) {
		fds[i] = err ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, numbers[i], 0);
		if (!err && fds[i] < 0)
			err = -errno;
		batch_call(b, SYS_close, (uint64_t)numbers[i]);
	}
	err = batch_run(b) ?: err;
	if (err && fds[0] >= 0)
		close(fds[0]);
	if (err && fds[1] >= 0)
		close(fds[1]);
	return err;
}

int as_socketpair(struct restore *r, const struct as *as, int type, int fds[2], const char *what)
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
		ret = fetch(in, pair, fds);
	} else if (ret >= 0) {
		fds[0] = pair[0];
		fds[1] = pair[1];
	}
	return ret < 0 ? log_errno((int)ret, "%s: making a socket pair", what) : 0;
}

/*
 * The kernel lets a privileged sender name any pid that somebody has, and any ids: only what nobody has takes more. (It
 * would add real ids by itself.)
 */
int as_sendmsg(struct restore *r, const struct as *as, int fd, const struct msghdr *mh, int flags, const char *what)
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
		ret = call_in_child(as, NULL, &c, what);
	if (ret != -EPERM && ret != -EINVAL)
		return (int)ret;
	log_warn("%s: the credentials of a message in its queue (pid %d, uid %u, gid %u) cannot be given here (%s): it "
	         "goes without",
	         what, as->pid.v, as->uid, as->gid, strerror((int)-ret));
	copy = *mh;
	return (int)call_ourselves(&c);
}
