/* SPDX-License-Identifier: GPL-2.0-only */
/* One device, and the row of a type of devices. */
#ifndef CRIU_NETDEV_LINK_H
#define CRIU_NETDEV_LINK_H

#include <linux/if_link.h>

#include "netdev/netdev.h"

/* A device as the kernel shows it. */
struct link_seen {
	const struct ifinfomsg *ifi;
	const struct nlattr *tb[IFLA_MAX + 1], *info[IFLA_INFO_MAX + 1];
	const char *name, *kind; /* kind: "" of a device that is made by a driver */
};

struct netdev_kind {
	const char *name; /* IFLA_INFO_KIND */
	NdType type;      /* OTHER: CRIU has none */
	/*
	 * The attributes of IFLA_INFO_DATA that the kernel shows and takes, 0 at the end; NULL: none. `flags`: those
	 * that it shows as a number and takes as a flag.
	 */
	const uint16_t *attrs, *flags;
	/* Those that are left out where they are 0: so they are in a new device, and not all kernels take them. */
	const uint16_t *zero;
	/* Or NULL: whether an attribute of a device with this state is taken by a new one. */
	bool (*takes)(const struct nlattr *const *data, uint16_t attr);
	/* Or NULL: changes a kept attribute to what the kernel takes. */
	void (*mend)(struct nlattr *a);
	/* Or NULL: why a device with this state cannot be made again. */
	const char *(*refuse)(const struct link_seen *l, const struct nlattr *const *data);
	/* Of its ports: as attrs and zero. NULL: they have nothing that is kept. */
	const uint16_t *port_attrs, *port_zero;
	uint16_t link_attr; /* which one names a device below by its number; 0: none */
	bool has_link;      /* stands on another device (IFLA_LINK) */
	/* Its packets go by the namespace in which it was made (IFLA_LINK_NETNSID), wherever it was moved since. */
	bool goes_by_birth;
	bool has_ports; /* a master of others, whose ports are refused unless the type has this */
};

#define LINK_DATA_MAX 64

/* NULL: no such type. */
const struct netdev_kind *link_kind(const char *name);
const struct netdev_kind *link_kind_of(const NetDeviceEntry *e);

/* Dump: one device of RTM_GETLINK's answer is added to the namespace's. 0 or a negative errno (not logged). */
int link_look_message(struct dump *d, struct net *net, const struct nlmsghdr *h);

/*
 * Restore: the message that makes a device is begun, up to and in IFLA_INFO_DATA; a caller may add attributes of the
 * type before it ends it.
 */
struct link_message {
	struct nlmsghdr *h;
	struct nlattr *info, *data;
};

struct link_place {
	uint32_t link; /* the device that it stands on; 0: none */
	int netns_fd;  /* in which namespace it is to be; -1: in that of the request */
	bool address;  /* it gets the image's */
};

void link_message_begin(struct rtnl *r, const NetDeviceEntry *e, const struct link_place *at, struct link_message *m);
void link_message_end(struct link_message *m);

/* An attribute of 4 bytes of IFLA_INFO_DATA; 0: it has none. */
uint32_t link_number(const NetDeviceEntry *e, uint16_t type);

/* The number of the device below that the attributes of its type name (link_attr); 0: none. */
uint32_t link_below(const NetDeviceEntry *e);

/* link_features.c, by any socket of the namespace. */
void link_features_look(int sock, NetDeviceEntry *e, struct arena *a);
void link_features_apply(int sock, const struct net *net, const NetDeviceEntry *e);

/* wireguard.c; one message each, and all of a device. 0 or a negative errno (logged). */
int wireguard_keep(struct arena *a, NetDeviceEntry *e, const struct nlmsghdr *h);
struct nlmsghdr *wireguard_request(struct rtnl *r, uint16_t family, const NetDeviceEntry *e, size_t which);
int wireguard_look(const struct net *net, NetDeviceEntry *e);
int wireguard_apply(const struct net *net, const NetDeviceEntry *e);

/* How long what the dumped tree had may take to be taken apart by the kernel. */
#define LINK_WAIT_MS 3000

/*
 * What --external names for a device: "veth[eth0]:hv0@br0", "macvlan[eth0]:eth1", "netdev[eth0]:eth1"; NULL: nothing.
 * Of a veth's, the name before "@", in the arena; *bridge: what is behind, or NULL.
 */
const char *link_outside(struct restore *r, const char *what, const NetDeviceEntry *e);
const char *link_name_outside(struct restore *r, const char *value, const char **bridge);
bool link_made_outside(const NetDeviceEntry *e); /* the other end of a veth */

/* By its number; NULL: net is NULL or has none. */
const NetDeviceEntry *link_find(const struct net *net, uint32_t ifindex);

/* Makes the devices of all namespaces; then joins, names and raises them. 0 or a negative errno (logged). */
int link_check_all(struct restore *r, const struct net *net);
int link_make_all(struct restore *r, const struct net_all *all);
int link_tokens_apply(const struct net *net); /* before settings, some of which forbid to set one */
int link_raise_all(struct restore *r, const struct net *net);
int link_finish_all(struct restore *r, const struct net *net);

#endif
