/* SPDX-License-Identifier: GPL-2.0-only */
/* The end of a network namespace of a tree: no packet of a saved connection is answered then. */
#ifndef CRIU_NETDEV_NET_END_H
#define CRIU_NETDEV_NET_END_H

#include "netdev/rtnl.h"
#include "tree/dump.h"
#include "tree/restore.h"

/* Before the commit: which namespaces end with the tree. After it: no packet is answered that comes until then. */
int net_end_prepare(struct dump *d);
void net_end_all(struct dump *d);

/* The same of those that a restore makes, should it fail. 0 or a negative errno (logged). */
int net_end_foresee(struct restore *r);

/* A rule that a dump leaves where others hold a namespace; a restore that is given that one removes them. 0 or a
 * negative errno (logged). */
#define NET_RULE_OURS 0xc1 /* FRA_PROTOCOL */
bool net_end_is_rule(const struct nlmsghdr *h);
int net_end_take_back(struct restore *r);

#endif
