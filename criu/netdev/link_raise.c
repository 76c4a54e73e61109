/* SPDX-License-Identifier: GPL-2.0-only */
/* What the devices of a namespace get when all of them are there: their masters, names, and that they are up. */
#include <linux/if.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "files/net_ns.h"
#include "lib/log.h"
#include "netdev/link.h"

unsigned if_nametoindex(const char *name); /* <net/if.h> and <linux/if.h> cannot be included together */

/* The flags that a user sets, but for IFF_UP, which comes last. */
#define SETTABLE_FLAGS                                                                                                 \
	(IFF_DEBUG | IFF_NOARP | IFF_PROMISC | IFF_ALLMULTI | IFF_MULTICAST | IFF_DYNAMIC | IFF_NOTRAILERS)

static void put_bytes(struct nlmsghdr *h, uint16_t type, const ProtobufCBinaryData *b)
{
	if (b->len && b->len < RTNL_BUFFER / 4)
		mnl_attr_put(h, type, b->len, b->data);
}

static int set_link(struct rtnl *r, const struct net *net, const NetDeviceEntry *e, struct nlmsghdr *h,
                    const char *what)
{
	int err = rtnl_do(r, h);

	return err ? log_errno(err, "network namespace %u: device %s: %s%s", net->id, e->name, what, r->said) : 0;
}

static struct nlmsghdr *change_of(struct rtnl *r, const NetDeviceEntry *e, struct ifinfomsg **ifi)
{
	struct nlmsghdr *h = rtnl_message(r, RTM_NEWLINK, 0, sizeof(**ifi), ifi);

	(*ifi)->ifi_index = (int)e->ifindex;
	return h;
}

static void put_inet6(struct nlmsghdr *h, uint16_t type, const void *value, size_t len)
{
	struct nlattr *spec = mnl_attr_nest_start(h, IFLA_AF_SPEC), *inet6 = mnl_attr_nest_start(h, AF_INET6);

	mnl_attr_put(h, type, len, value);
	mnl_attr_nest_end(h, inet6);
	mnl_attr_nest_end(h, spec);
}

static int join_master(struct rtnl *r, const struct net *net, const NetDeviceEntry *e)
{
	const NetDeviceEntry *master = link_find(net, e->master);
	const struct netdev_kind *k = master ? link_kind_of(master) : NULL;
	struct ifinfomsg *ifi;
	struct nlmsghdr *h;
	int err;

	if (!e->has_master || !e->master)
		return 0;
	h = change_of(r, e, &ifi);
	mnl_attr_put_u32(h, IFLA_MASTER, e->master);
	err = set_link(r, net, e, h, "joining its master");
	if (!err && k && e->has_slave_data && e->slave_data.len < RTNL_BUFFER / 4) {
		struct nlattr *info, *data;

		h = change_of(r, e, &ifi);
		info = mnl_attr_nest_start(h, IFLA_LINKINFO);
		mnl_attr_put_strz(h, IFLA_INFO_SLAVE_KIND, k->name);
		data = mnl_attr_nest_start(h, IFLA_INFO_SLAVE_DATA);
		memcpy(mnl_nlmsg_get_payload_tail(h), e->slave_data.data, e->slave_data.len);
		h->nlmsg_len += (uint32_t)MNL_ALIGN(e->slave_data.len);
		mnl_attr_nest_end(h, data);
		mnl_attr_nest_end(h, info);
		err = set_link(r, net, e, h, "settings of a port");
	}
	return err;
}

/* Everything that is set while it is down. */
static int set_up_link(struct rtnl *r, const struct net *net, const NetDeviceEntry *e)
{
	struct ifinfomsg *ifi;
	struct nlmsghdr *h = change_of(r, e, &ifi);

	ifi->ifi_flags = e->flags & SETTABLE_FLAGS;
	ifi->ifi_change = e->type == ND_TYPE__LOOPBACK ? 0 : SETTABLE_FLAGS;
	mnl_attr_put_u32(h, IFLA_MTU, e->mtu);
	if (e->has_txqlen)
		mnl_attr_put_u32(h, IFLA_TXQLEN, e->txqlen);
	if (e->alias)
		mnl_attr_put_strz(h, IFLA_IFALIAS, e->alias);
	if (e->has_group)
		mnl_attr_put_u32(h, IFLA_GROUP, e->group);
	if (e->has_gso_max_size)
		mnl_attr_put_u32(h, IFLA_GSO_MAX_SIZE, e->gso_max_size);
	if (e->has_gso_max_segs)
		mnl_attr_put_u32(h, IFLA_GSO_MAX_SEGS, e->gso_max_segs);
	if (e->has_gro_max_size)
		mnl_attr_put_u32(h, IFLA_GRO_MAX_SIZE, e->gro_max_size);
	if (e->type == ND_TYPE__EXTLINK || e->type == ND_TYPE__TUN)
		put_bytes(h, IFLA_ADDRESS, &e->address);
	return set_link(r, net, e, h, "flags, MTU, queue length, alias, group, GSO") ?: join_master(r, net, e);
}

/* A macvlan device of the dumped tree may still have the address, until its namespace has been taken apart. */
static int set_up(struct rtnl *r, const struct net *net, const NetDeviceEntry *e)
{
	struct ifinfomsg *ifi;
	struct nlmsghdr *h;
	int err = -EADDRINUSE;

	for (int i = 0; err == -EADDRINUSE && i < LINK_WAIT_MS / 10; i++) {
		const struct timespec pause = { .tv_nsec = 10000000 };

		if (i)
			nanosleep(&pause, NULL);
		h = change_of(r, e, &ifi);
		ifi->ifi_flags = ifi->ifi_change = IFF_UP;
		err = rtnl_do(r, h);
	}
	return err ? log_errno(err, "network namespace %u: device %s: up%s", net->id, e->name, r->said) : 0;
}

/* It makes no link-local address by itself: those of the image come. */
static int raise_link(struct rtnl *r, const struct net *net, const NetDeviceEntry *e)
{
	static const uint8_t nobody = 1; /* IN6_ADDR_GEN_MODE_NONE */
	struct ifinfomsg *ifi;
	struct nlmsghdr *h;

	if (!(e->flags & IFF_UP))
		return 0;
	if (e->has_addrgenmode) {
		h = change_of(r, e, &ifi);
		put_inet6(h, IFLA_INET6_ADDR_GEN_MODE, &nobody, sizeof(nobody));
		rtnl_do(r, h); /* without IPv6 on the device nothing is lost */
	}
	return set_up(r, net, e);
}

/* The other end outside: to its bridge, and up. */
static int raise_outside(struct restore *r, const NetDeviceEntry *e)
{
	const char *value = link_made_outside(e) ? link_outside(r, "veth", e) : NULL, *bridge, *name;
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	_cleanup_rtnl_ struct rtnl rt = { 0 };
	struct ifinfomsg *ifi;
	struct nlmsghdr *h;
	int err;

	if (!value)
		return 0;
	err = net_ns_visit(r, 0, &v) ?: rtnl_open(&rt);
	if (err)
		return err;
	name = link_name_outside(r, value, &bridge);
	h = rtnl_message(&rt, RTM_NEWLINK, 0, sizeof(*ifi), &ifi);
	ifi->ifi_index = (int)if_nametoindex(name);
	ifi->ifi_flags = ifi->ifi_change = IFF_UP;
	if (bridge)
		mnl_attr_put_u32(h, IFLA_MASTER, if_nametoindex(bridge));
	err = rtnl_do(&rt, h);
	return err ? log_errno(err, "device %s, the other end of %s: up%s%s%s", name, e->name,
	                       bridge ? ", joining " : "", bridge ?: "", rt.said)
	           : 0;
}

int link_raise_all(struct restore *r, const struct net *net)
{
	_cleanup_close_ int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	_cleanup_rtnl_ struct rtnl rt = { 0 };
	int err = rtnl_open(&rt);

	for (size_t i = 0; sock >= 0 && i < net->n_devs; i++)
		link_features_apply(sock, net, net->devs[i]);
	for (size_t i = 0; !err && i < net->n_devs; i++)
		err = set_up_link(&rt, net, net->devs[i]) ?: wireguard_apply(net, net->devs[i]);
	for (size_t i = 0; !err && i < net->n_devs; i++)
		err = raise_link(&rt, net, net->devs[i]) ?: raise_outside(r, net->devs[i]);
	return err;
}

static void set_addrgenmode(struct rtnl *rt, const struct net *net, const NetDeviceEntry *e)
{
	struct ifinfomsg *ifi;
	struct nlmsghdr *h;
	uint8_t mode = (uint8_t)e->addrgenmode;

	if (!e->has_addrgenmode)
		return;
	h = change_of(rt, e, &ifi);
	put_inet6(h, IFLA_INET6_ADDR_GEN_MODE, &mode, sizeof(mode));
	if (rtnl_do(rt, h) && mode)
		log_warn("network namespace %u: device %s: addrgenmode %u%s", net->id, e->name, mode, rt->said);
}

static int set_token(struct rtnl *rt, const struct net *net, const NetDeviceEntry *e)
{
	struct ifinfomsg *ifi;
	struct nlmsghdr *h;

	if (!e->has_token)
		return 0;
	h = change_of(rt, e, &ifi);
	put_inet6(h, IFLA_INET6_TOKEN, e->token.data, e->token.len);
	return set_link(rt, net, e, h, "IPv6 token");
}

int link_tokens_apply(const struct net *net)
{
	_cleanup_rtnl_ struct rtnl rt = { 0 };
	int err = rtnl_open(&rt);

	for (size_t i = 0; !err && i < net->n_devs; i++)
		err = set_token(&rt, net, net->devs[i]);
	return err;
}

static int set_altnames(struct rtnl *rt, const struct net *net, const NetDeviceEntry *e)
{
	int err = 0;

	for (size_t i = 0; !err && i < e->n_altnames; i++) {
		struct ifinfomsg *ifi;
		struct nlmsghdr *h =
		    rtnl_message(rt, RTM_NEWLINKPROP, NLM_F_CREATE | NLM_F_EXCL | NLM_F_APPEND, sizeof(*ifi), &ifi);
		struct nlattr *list = mnl_attr_nest_start(h, IFLA_PROP_LIST);

		ifi->ifi_index = (int)e->ifindex;
		mnl_attr_put_strz(h, IFLA_ALT_IFNAME, e->altnames[i]);
		mnl_attr_nest_end(h, list);
		err = set_link(rt, net, e, h, "RTM_NEWLINKPROP, another name (IFLA_ALT_IFNAME)");
	}
	return err;
}

static void set_port(struct rtnl *rt, const struct net *net, const NetDeviceEntry *e, uint16_t attr, const char *what)
{
	uint32_t port = attr == IFLA_BOND_PRIMARY ? link_number(e, attr) : e->active_port;
	struct nlattr *info, *data;
	struct ifinfomsg *ifi;
	struct nlmsghdr *h;

	if (!port)
		return;
	h = change_of(rt, e, &ifi);
	info = mnl_attr_nest_start(h, IFLA_LINKINFO);
	mnl_attr_put_strz(h, IFLA_INFO_KIND, "bond");
	data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
	mnl_attr_put_u32(h, attr, port);
	mnl_attr_nest_end(h, data);
	mnl_attr_nest_end(h, info);
	if (rtnl_do(rt, h))
		log_warn("network namespace %u: device %s: its port %u could not be made the %s one%s", net->id,
		         e->name, port, what, rt->said);
}

/*
 * The primary port did not exist yet when the bond was made. The kernel chooses the active one by itself when they come
 * up; it takes another one that is up, too.
 */
static void set_ports(struct rtnl *rt, const struct net *net, const NetDeviceEntry *e)
{
	const struct netdev_kind *k = link_kind_of(e);

	if (!k || strcmp(k->name, "bond") != 0)
		return;
	set_port(rt, net, e, IFLA_BOND_PRIMARY, "primary");
	set_port(rt, net, e, IFLA_BOND_ACTIVE_SLAVE, "active");
}

int link_finish_all(struct restore *r, const struct net *net)
{
	_cleanup_rtnl_ struct rtnl rt = { 0 };
	int err = rtnl_open(&rt);

	for (size_t i = 0; !err && i < net->n_devs; i++) {
		set_addrgenmode(&rt, net, net->devs[i]);
		set_ports(&rt, net, net->devs[i]);
		err = set_altnames(&rt, net, net->devs[i]);
	}
	return err;
}
