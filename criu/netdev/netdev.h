/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What is in a network namespace of a tree's own: devices, addresses, routes, rules, settings, firewall. Dump: read in
 * the namespace into memory (look), when all namespaces are known, and written later. Restore: read and checked before
 * anything is started; then all namespaces exist, and are filled: devices, settings, addresses, the rest.
 *
 *	netdev.c       the stages; net_images.c: the files
 *	net_end.c      a namespace ends with its tree; net_holders.c: what else holds it
 *	rtnl.c         rtnetlink
 *	link_look.c    devices at dump; link_make.c, link_raise.c: at restore; link_kinds.c: their types
 *	net_conf.c     settings as CRIU has them; net_sysctl.c: all others
 *	net_lists.c    addresses, routes, rules, neighbours, nexthops
 *	net_qdisc.c    queueing disciplines; net_refuse.c: what cannot be saved
 *	firewall.c     nftables, iptables, ipset; conntrack.c: tracked connections
 */
#ifndef CRIU_NETDEV_NETDEV_H
#define CRIU_NETDEV_NETDEV_H

#include "netdev.pb-c.h"
#include "netdev/rtnl.h"
#include "tree/dump.h"
#include "tree/ns_ids.h"
#include "tree/restore.h"
#include "tree/subsys.h"

/* Messages of rtnetlink one behind the other, or text. */
struct net_bytes {
	char *v;
	size_t n;
};

enum net_list {
	NET_ADDRS,
	NET_ROUTES,
	NET_ROUTES6,
	NET_RULES,
	NET_NEIGHBOURS,
	NET_NEXTHOPS,
	NET_ADDRLABELS,
	NET_QDISCS,
	NET_LISTS
};
enum net_text { NET_NFTABLES, NET_IPTABLES, NET_IP6TABLES, NET_IPSETS, NET_TEXTS };

struct net { /* one namespace */
	struct arena *arena;
	uint32_t id;
	NetnsEntry *m;
	NetDeviceEntry **devs;
	size_t n_devs;
	struct net_bytes list[NET_LISTS], text[NET_TEXTS];
	struct net_bytes conntrack, expectations;
	bool ours; /* restore: not CRIU's image: all routes and rules are in it */
	bool ends; /* dump: with the tree, whose connections may get packets until then */
	bool held; /* others may have it longer */
};

/* A new namespace, that tells what is not worth keeping. */
struct net_fresh {
	int fd;              /* 0: not made yet */
	struct arena *arena; /* of the settings, which are read once */
	struct net_setting *settings;
};

/* The state of netdev_subsys. */
struct net_all {
	struct net **v;
	size_t n;
	struct net_fresh fresh; /* of a dump */
};

extern const struct subsys netdev_subsys;

/* ---- dump: each in the namespace. 0 or a negative errno (logged); refusals are only logged ---- */

int link_look_all(struct dump *d, struct net *net);
int net_conf_look(struct net *net);
bool net_conf_has(const char *name); /* "ipv4/conf/eth0/forwarding": whether CRIU's arrays do */
int net_sysctl_look(struct net *net, struct net_fresh *fresh);
int net_lists_look(struct net *net, int fresh);
int net_qdisc_look(struct net *net);
void net_refuse_look(const struct net *net);
int firewall_look(struct net *net);
int conntrack_look(struct net *net);

/*
 * What outside of the tree holds a namespace, in words; NULL: nothing that /proc shows. by_name: a name counts, in any
 * mount namespace that a process is in.
 */
const char *net_holder(struct dump *d, const struct ns *ns, bool by_name);

/* Whether the mounts of a process (a name below /proc) give it a name. */
bool net_has_name(const struct ns *ns, const char *proc);

int net_images_write(struct dump *d, const struct net *net);

/* ---- restore ---- */
int net_images_read(struct restore *r, struct net *net);

/* Of the messages of a list: bytes of their header, RTM_NEW*. */
size_t net_list_head(enum net_list which);
uint16_t net_list_type(enum net_list which);

/* Each in the namespace. 0 or a negative errno (logged). */
int net_conf_apply(struct restore *r, const struct net *net, bool devices);
int net_conf_apply_again(struct restore *r, const struct net *net); /* what no_dad or the kernel has changed since */
int net_sysctl_apply(struct restore *r, const struct net *net);
int net_conf_no_dad(const struct net *net); /* until it is applied again */
int net_lists_apply(const struct net *net, enum net_list which);
void net_lists_await_addresses(void);
int net_qdisc_apply(const struct net *net);
int firewall_apply(const struct net *net);
int conntrack_apply(const struct net *net);

/* Messages of one type that the kernel lists. Negative errno: not logged. */
int net_list_read(struct arena *a, struct rtnl *r, uint16_t get, uint16_t type, size_t head, struct net_bytes *out);
#endif
