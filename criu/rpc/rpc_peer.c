/* SPDX-License-Identifier: GPL-2.0-only */
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "lib/log.h"
#include "proc/own_rights.h"
#include "proc/proc.h"
#include "rpc/rpc.h"
#include "rpc/rpc_peer.h"
#include "uapi/sock_bits.h"

#define KEPT_CAPS (1ULL << CAP_CHECKPOINT_RESTORE)

bool rpc_peer_has_ended(int sock)
{
	struct pollfd p = { .fd = sock, .events = POLLRDHUP };
	_cleanup_close_ int pidfd = -1;
	socklen_t len = sizeof(pidfd);

	if (poll(&p, 1, 0) > 0 && p.revents & (POLLRDHUP | POLLHUP))
		return true;
	if (getsockopt(sock, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &len)) {
		pidfd = -1; /* before Linux 6.5 */
		return false;
	}
	return syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) && errno == ESRCH;
}

/* ---- what the service does not do for a client that is not root ---- */

/* A client in a sandbox would leave it: what criu opens and starts is in the service's namespaces. */
static int check_namespaces(pid_t peer)
{
	static const char *const names[] = { "user", "pid", "mnt" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char own[32], its[48];
		struct stat a, b;

		snprintf(own, sizeof(own), "/proc/self/ns/%s", names[i]);
		snprintf(its, sizeof(its), "/proc/%d/ns/%s", peer, names[i]);
		if (stat(own, &a) || stat(its, &b))
			return rpc_bad("the client, pid %d: stat of %s: %m", peer, its);
		if (a.st_ino != b.st_ino)
			return rpc_bad("the client, pid %d, is not root and in another %s namespace than the service: "
			               "start a service there, or use criu swrk",
			               peer, names[i]);
	}
	return 0;
}

/* Nor would what it starts have the limits that the client has. */
static int check_limits(pid_t peer)
{
	_cleanup_close_ int peer_fd = proc_open(peer), own_fd = proc_open(getpid());
	struct proc_status its, own;
	const char *limit = NULL;

	if (peer_fd < 0 || own_fd < 0 || proc_read_status(peer_fd, 0, NULL, &its) ||
	    proc_read_status(own_fd, 0, NULL, &own))
		return rpc_bad("the client, pid %d: its /proc/PID/status cannot be read", peer);
	if (its.no_new_privs && !own.no_new_privs)
		limit = "no_new_privs";
	else if (its.seccomp && !own.seccomp)
		limit = "seccomp";
	else if (own.cap_bnd & ~its.cap_bnd)
		limit = "a smaller bounding set of capabilities";
	return !limit ? 0
	              : rpc_bad("the client, pid %d, is not root and has %s, which what the service starts would "
	                        "not have: use criu swrk",
	                        peer, limit);
}

static int check_confined(int sock, pid_t peer)
{
	int err;

	if (peer <= 0)
		return rpc_bad("the client is not root, and in a pid namespace that the service does not see");
	err = check_namespaces(peer) ?: check_limits(peer);
	if (!err && rpc_peer_has_ended(sock)) /* then this was another process, with its pid */
		err = rpc_bad("the client, pid %d, has ended", peer);
	return err;
}

/* ---- its user ---- */

/* The supplementary groups, which the kernel has kept with the connection. */
static int take_groups(int sock)
{
	_cleanup_free_ gid_t *groups = NULL;
	socklen_t len = 0;

	if (getsockopt(sock, SOL_SOCKET, SO_PEERGROUPS, NULL, &len) && errno == ERANGE) {
		groups = malloc(len);
		if (!groups)
			return -ENOMEM;
		if (getsockopt(sock, SOL_SOCKET, SO_PEERGROUPS, groups, &len))
			return -errno;
	}
	return setgroups(groups ? len / sizeof(*groups) : 0, groups) ? -errno : 0;
}

static int take_user(int sock, const struct ucred *peer)
{
	int err;

	if (prctl(PR_SET_KEEPCAPS, 1))
		return -errno;
	err = take_groups(sock);
	if (err)
		return err;
	if (setresgid(peer->gid, peer->gid, peer->gid) || setresuid(peer->uid, peer->uid, peer->uid))
		return -errno;
	return own_rights_reduce(KEPT_CAPS);
}

static int take_null_stdio(void)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = 0; null >= 0 && fd <= STDERR_FILENO; fd++)
		if (dup2(null, fd) < 0)
			return -errno;
	return null < 0 ? -errno : 0;
}

/* What the service was started with may be root's secrets; what criu itself reads of it stays. */
static int keep_own_variables(void)
{
	static const char *const kept[] = { "PATH", "CRIU_CONFIG_FILE", "CRIU_LIBS_DIR" };
	char *values[ARRAY_SIZE(kept)];
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		values[i] = getenv(kept[i]) ? strdup(getenv(kept[i])) : NULL;
	if (clearenv())
		err = -ENOMEM;
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++) {
		if (values[i] && setenv(kept[i], values[i], 1))
			err = -ENOMEM;
		free(values[i]);
	}
	return err;
}

/* Standard input, output and error, the directory and the environment are of who has started the service. */
static int leave_own_things(void)
{
	int err = take_null_stdio() ?: keep_own_variables();

	/* lint: allow: its own process, which answers one client */
	return err ?: chdir("/") ? -errno : 0;
}

int rpc_peer_become(int sock, const struct ucred *peer, uint64_t *lent_caps)
{
	int err;

	*lent_caps = 0;
	if (!peer->uid || (geteuid() && peer->uid == geteuid()))
		return 0;
	err = check_confined(sock, peer->pid);
	if (err)
		return err;
	err = leave_own_things();
	if (err)
		return log_errno(err, "open of /dev/null, dup2, setenv or chdir, to answer pid %d", peer->pid);
	err = take_user(sock, peer);
	if (err)
		return log_errno(err,
		                 "pid %d runs as user %u: setgroups, setresgid, setresuid or capset, to answer as "
		                 "that user",
		                 peer->pid, peer->uid);
	*lent_caps = KEPT_CAPS;
	/* The guardian traces criu; whoever is the same user has fewer capabilities, and cannot. */
	prctl(PR_SET_DUMPABLE, 1);
	return 0;
}
