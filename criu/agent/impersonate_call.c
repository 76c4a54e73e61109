/* SPDX-License-Identifier: GPL-2.0-only */
#include <string.h>
#include <sys/un.h>

#include "agent/impersonate_call.h"
#include "lib/log.h"

/* In a user namespace setgroups(2) may be forbidden for good (user_namespaces(7)). */
void impersonate_note_groups(const struct identity *as, int err, const char *what)
{
	log_info(
	    "%s: was created with %zu supplementary groups, which setgroups refuses here (%s): the peer sees criu's",
	    what, as->n_groups, strerror(-err));
}

void impersonate_warn_ids(const struct identity *as, int err, const char *what)
{
	log_warn("%s: was created by pid %d with uid %u and gid %u, which cannot be assumed here (%s): the peer sees "
	         "criu's instead",
	         what, as->pid.v, as->uid, as->gid, strerror(-err));
}

socklen_t impersonate_path_below(struct sockaddr_un *addr, int dir, const char *path)
{
	addr->sun_family = AF_UNIX;
	snprintf(addr->sun_path, sizeof(addr->sun_path), "/proc/self/fd/%d/%s", dir, path);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(addr->sun_path) + 1);
}

int64_t impersonate_raw(long ret)
{
	return ret < 0 ? -errno : ret;
}
