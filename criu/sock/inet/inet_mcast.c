/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Multicast groups that a socket is in. The kernel lists them only by interface (/proc/net/igmp, igmp6), but when asked
 * for one socket and one group (MCAST_MSFILTER) it answers with the sources that are accepted, or that the socket is
 * not a member.
 */
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>

#include "files/files.h"
#include "lib/log.h"
#include "sock/inet/inet.h"
#include "tree/subsys.h"

extern const struct fd_kind inet_kind;

#define FIRST_SOURCES 64

struct mcast_group {
	union inet_addr name;
	uint32_t ifindex;
};

struct mcast_groups {
	bool read;
	struct mcast_group *all;
	size_t n;
};

const struct subsys inet_mcast_subsys = { .name = "multicast groups",
	                                  .state = { .dump = sizeof(struct mcast_groups) } };

static void read_igmp(struct arena *a, struct mcast_groups *g)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/net/igmp", "re");
	struct mcast_group group = { .name.v4.sin_family = AF_INET };
	unsigned addr, index;
	char line[256];

	while (f && fgets(line, sizeof(line), f)) {
		if (*line != '\t' && sscanf(line, "%u", &index) == 1) {
			group.ifindex = index;
		} else if (*line == '\t' && sscanf(line, " %8x", &addr) == 1) {
			group.name.v4.sin_addr.s_addr = addr;
			arena_push(a, &g->all, &g->n, group);
		}
	}
}

static void read_igmp6(struct arena *a, struct mcast_groups *g)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/net/igmp6", "re");
	struct mcast_group group = { .name.v6.sin6_family = AF_INET6 };
	char line[256], hex[33];
	unsigned index, byte;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%u %*s %32s", &index, hex) != 2 || strlen(hex) != 32)
			continue;
		for (size_t i = 0; i < 16 && sscanf(hex + 2 * i, "%2x", &byte) == 1; i++)
			group.name.v6.sin6_addr.s6_addr[i] = (uint8_t)byte;
		group.ifindex = index;
		arena_push(a, &g->all, &g->n, group);
	}
}

static const struct mcast_groups *host_groups(struct dump *d)
{
	struct mcast_groups *g = dump_state(d, &inet_mcast_subsys);

	if (!g->read) {
		read_igmp(d->arena, g);
		read_igmp6(d->arena, g);
	}
	g->read = true;
	return g;
}

static int mcast_level(const union inet_addr *n)
{
	return n->any.sa_family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
}

/* With room for n sources. 0 and *out (from malloc), or a negative errno. */
static int get_filter(int fd, const struct mcast_group *g, size_t n, struct group_filter **out)
{
	socklen_t len = (socklen_t)GROUP_FILTER_SIZE(n);
	struct group_filter *f = calloc(1, MAX(len, sizeof(*f)));

	if (!f)
		return -ENOMEM;
	f->gf_interface = g->ifindex;
	f->gf_numsrc = (uint32_t)n;
	memcpy(&f->gf_group, &g->name, sizeof(g->name));
	if (getsockopt(fd, mcast_level(&g->name), MCAST_MSFILTER, f, &len)) {
		int err = -errno;

		free(f);
		return err;
	}
	*out = f;
	return 0;
}

static void take_sources(struct dump *d, const struct group_filter *f, InetMembershipEntry *e)
{
	e->n_sources = f->gf_numsrc;
	e->sources = arena_array(d->arena, InetSourceEntry *, f->gf_numsrc);
	for (size_t i = 0; i < f->gf_numsrc; i++) {
		union inet_addr n;

		e->sources[i] = arena_msg(d->arena, InetSourceEntry, inet_source_entry);
		memcpy(&n, &f->gf_slist[i], sizeof(n));
		inet_addr_to_words(d->arena, &n, &e->sources[i]->addr, &e->sources[i]->n_addr);
	}
}

static int dump_membership(struct dump *d, const struct fd_info *info, const struct mcast_group *g, InetSkEntry *m)
{
	InetMembershipEntry *e;
	struct group_filter *f = NULL;
	char ifname[IF_NAMESIZE];
	int err = get_filter(info->fd, g, FIRST_SOURCES, &f);

	if (!err && f->gf_numsrc > FIRST_SOURCES) {
		uint32_t n = f->gf_numsrc;

		free(f);
		err = get_filter(info->fd, g, n, &f);
	}
	/* The socket is not a member, or cannot be a member of any group. */
	if (err == -EADDRNOTAVAIL || err == -ENOPROTOOPT || err == -EOPNOTSUPP || err == -EINVAL)
		return 0;
	if (err)
		return log_errno(err, "%s: getsockopt(MCAST_MSFILTER)", fd_name(info));
	if (if_indextoname(g->ifindex, ifname)) {
		e = arena_msg(d->arena, InetMembershipEntry, inet_membership_entry);
		e->ifname = arena_strdup(d->arena, ifname);
		e->mode = f->gf_fmode;
		inet_addr_to_words(d->arena, &g->name, &e->group, &e->n_group);
		take_sources(d, f, e);
		arena_push(d->arena, &m->memberships, &m->n_memberships, e);
	}
	free(f);
	return 0;
}

int inet_mcast_dump(struct dump *d, const struct fd_info *info, InetSkEntry *m)
{
	const struct mcast_groups *g;
	int err = 0;

	if (m->type == SOCK_STREAM)
		return 0;
	g = host_groups(d);
	for (size_t i = 0; !err && i < g->n; i++)
		if (m->family == AF_INET6 || g->all[i].name.any.sa_family == AF_INET)
			err = dump_membership(d, info, &g->all[i], m);
	return err;
}

/* ---- restore ---- */

static int set_source(int fd, const InetMembershipEntry *e, const struct group_req *group, const InetSourceEntry *s)
{
	struct group_source_req req = { .gsr_interface = group->gr_interface, .gsr_group = group->gr_group };
	union inet_addr source;
	int name = e->mode == MCAST_INCLUDE ? MCAST_JOIN_SOURCE_GROUP : MCAST_BLOCK_SOURCE, err;

	err = inet_addr_from_words(group->gr_group.ss_family, s->addr, s->n_addr, 0, NULL, &source);
	if (err)
		return err;
	memcpy(&req.gsr_source, &source, sizeof(source));
	return setsockopt(fd, mcast_level(&source), name, &req, sizeof(req)) ? -errno : 0;
}

static int join_group(int fd, const InetMembershipEntry *e, const char *who)
{
	struct group_req req = { .gr_interface = if_nametoindex(e->ifname) };
	union inet_addr group;
	int err = inet_addr_from_words(e->n_group == 4 ? AF_INET6 : AF_INET, e->group, e->n_group, 0, NULL, &group);

	if (err)
		return log_errno(err, "%s: image error: a multicast group of %zu words", who, e->n_group);
	if (!req.gr_interface)
		return log_errno(-errno, "%s: if_nametoindex(%s), for the multicast group %s", who, e->ifname,
		                 inet_addr_text(&group));
	memcpy(&req.gr_group, &group, sizeof(group));
	if (e->mode != MCAST_INCLUDE && setsockopt(fd, mcast_level(&group), MCAST_JOIN_GROUP, &req, sizeof(req)))
		err = -errno;
	for (size_t i = 0; !err && i < e->n_sources; i++)
		err = set_source(fd, e, &req, e->sources[i]);
	return err ? log_errno(err, "%s: joining the multicast group %s on %s", who, inet_addr_text(&group), e->ifname)
	           : 0;
}

int inet_mcast_restore(struct restore *r, int fd, const InetSkEntry *m, const char *who)
{
	int err = 0;

	for (size_t i = 0; !err && i < m->n_memberships; i++)
		err = join_group(fd, m->memberships[i], who);
	return err;
}
