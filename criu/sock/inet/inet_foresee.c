/* SPDX-License-Identifier: GPL-2.0-only */
#include "sock/inet/inet_foresee.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <sys/socket.h>

#include "files/files.h"
#include "helper/detour.h"
#include "proc/proc.h"
#include "tree/foresee.h"

#define PRIORITY_OF_ALL 6 /* SO_PRIORITY, socket(7): more takes a capability */

/* An ordinary user has all capabilities in the network namespaces of a user namespace of that user. */
static bool lacks(struct dump *d, unsigned cap)
{
	return detour_at() < 0 && foresee_lacks(d, cap);
}

static int refuse_without(struct dump *d, const struct fd_info *info, const char *what, const char *cap)
{
	return foresee_refuse(
	           d, -EPERM,
	           "%s: %s takes %s, which criu does not have, so that a restore cannot make this socket: dump "
	           "and restore as root, or setcap %s,...+ep criu, or name it with --external socket:[%lu] and "
	           "hand it in at restore",
	           fd_name(info), what, cap, cap, (unsigned long)info->st.st_ino)
	           ? DUMP_REFUSED
	           : 0;
}

/* Ports below net.ipv4.ip_unprivileged_port_start, which is the network namespace's. */
static bool is_privileged_port(uint32_t port)
{
	int64_t first = 1024;

	if (!port || port >= 65536)
		return false;
	proc_read_number(AT_FDCWD, "/proc/sys/net/ipv4/ip_unprivileged_port_start", &first);
	return port < first;
}

/* Since Linux 5.17 one of the two is enough for a mark or a priority. */
static const char *privileged_option(struct dump *d, const InetSkEntry *m)
{
	const SkOptsEntry *o = m->opts;
	bool raw = !lacks(d, CAP_NET_RAW);

	if (o->so_debug)
		return "SO_DEBUG";
	if (!raw && o->has_so_mark && o->so_mark)
		return "SO_MARK";
	if (!raw && o->has_so_priority && o->so_priority > PRIORITY_OF_ALL)
		return "SO_PRIORITY above 6";
	if (!raw && m->ip_opts && m->ip_opts->transparent) /* IPv6's stands there as well */
		return "IP_TRANSPARENT";
	return NULL;
}

int inet_foresee(struct dump *d, const struct fd_info *info, const InetSkEntry *m)
{
	const char *option;
	int err = 0;

	/* Most often nothing is missing. */
	if (m->type == SOCK_RAW && lacks(d, CAP_NET_RAW))
		err = refuse_without(d, info, "a raw socket", "cap_net_raw");
	else if (m->type != SOCK_RAW && lacks(d, CAP_NET_BIND_SERVICE) && is_privileged_port(m->src_port))
		err = refuse_without(d, info, "its port (ip_unprivileged_port_start)", "cap_net_bind_service");
	option = lacks(d, CAP_NET_ADMIN) && m->opts ? privileged_option(d, m) : NULL;
	return err ?: option ? refuse_without(d, info, option, "cap_net_admin") : 0;
}
