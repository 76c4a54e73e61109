/* SPDX-License-Identifier: GPL-2.0-only */
#include "proc/own_pid_ns.h"

#include <stdlib.h>
#include <string.h>

#include "lib/log.h"

/* /proc/self names the reader as the /proc knows it; it leads nowhere where that does not know the reader. */
static int check_proc(void)
{
	char self[24] = "";

	if (readlink("/proc/self", self, sizeof(self) - 1) > 0 && atoi(self) == getpid())
		return 0;
	return log_errno(-ENOTSUP,
	                 "/proc is not that of criu's pid namespace (criu is pid %d, /proc/self is %s): mount it "
	                 "(unshare -pf --mount-proc, or mount -t proc proc /proc in a mount namespace of its own)",
	                 getpid(), self[0] ? self : "nothing");
}

/* The link cannot be read as long as nothing has been born in that namespace. */
static int check_children(void)
{
	char ours[64] = "", theirs[64] = "";

	if (readlink("/proc/self/ns/pid", ours, sizeof(ours) - 1) <= 0)
		return 0; /* a kernel without pid namespaces */
	if (readlink("/proc/self/ns/pid_for_children", theirs, sizeof(theirs) - 1) > 0 && !strcmp(ours, theirs))
		return 0;
	return log_errno(-ENOTSUP,
	                 "processes that criu starts would be in another pid namespace than criu itself (as after "
	                 "unshare -p without -f): start criu in that namespace (unshare -pf --mount-proc)");
}

int own_pid_ns_check(void)
{
	return check_proc() ?: check_children();
}
