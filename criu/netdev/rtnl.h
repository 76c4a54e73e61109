/* SPDX-License-Identifier: GPL-2.0-only */
/* rtnetlink(7) in the network namespace that the calling thread is in when the socket is opened. */
#ifndef CRIU_NETDEV_RTNL_H
#define CRIU_NETDEV_RTNL_H

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

#include "common.h"

#define RTNL_BUFFER ((size_t)64 << 10)

struct rtnl {
	struct mnl_socket *nl;
	char *buf;      /* RTNL_BUFFER bytes: for the message that is sent, then for answers */
	char said[160]; /* what the kernel says beside an errno; "" */
	uint32_t seq;
};

/* 0 or a negative errno (logged). rtnl_close() in any case. */
int rtnl_open(struct rtnl *r);
int rtnl_open_family(struct rtnl *r, int family); /* NETLINK_*: of which all here is true, too */
void rtnl_close(struct rtnl *r);
#define _cleanup_rtnl_ __attribute__((cleanup(rtnl_close)))

/* A new message in buf, with its header for the type zeroed behind it (*head). */
struct nlmsghdr *rtnl_message(struct rtnl *r, uint16_t type, uint16_t flags, size_t size, void *head);

/* Sends a message and waits until it is done. 0 or a negative errno (not logged; said tells more). */
int rtnl_do(struct rtnl *r, struct nlmsghdr *h);

/* Asks for all of a type; fn is called for each answer. 0 or a negative errno, of fn too (not logged). */
int rtnl_list(struct rtnl *r, uint16_t type, uint8_t family, int (*fn)(const struct nlmsghdr *h, void *arg), void *arg);

/* The same with a header of `size` bytes, 0 all. */
int rtnl_list_headed(struct rtnl *r, uint16_t type, size_t size, int (*fn)(const struct nlmsghdr *h, void *arg),
                     void *arg);

/* The same of a family of generic netlink, with one attribute of 4 bytes. */
struct rtnl_genl {
	uint16_t family, attr;
	uint8_t cmd, version;
	uint32_t value;
};
int rtnl_list_genl(struct rtnl *r, const struct rtnl_genl *ask, int (*fn)(const struct nlmsghdr *h, void *arg),
                   void *arg);

/* The number of a family; 0: the kernel has none of this name. */
uint16_t rtnl_genl_family(struct rtnl *r, const char *name);

/* The same with a request of the caller's (NLM_F_DUMP). */
int rtnl_list_asked(struct rtnl *r, struct nlmsghdr *h, int (*fn)(const struct nlmsghdr *h, void *arg), void *arg);

/* The same for neighbours that are answered for (NTF_PROXY). */
int rtnl_list_proxies(struct rtnl *r, int (*fn)(const struct nlmsghdr *h, void *arg), void *arg);

/* Sends a request with one answer, for which fn is called. 0 or a negative errno (not logged). */
int rtnl_ask(struct rtnl *r, struct nlmsghdr *h, int (*fn)(const struct nlmsghdr *h, void *arg), void *arg);

/* Attributes by type, up to `most`; tb has most + 1 places. 0 or -EBADMSG. */
int rtnl_attrs(const struct nlmsghdr *h, size_t head, const struct nlattr **tb, uint16_t most);
int rtnl_nested(const struct nlattr *in, const struct nlattr **tb, uint16_t most);

/* The value of an attribute of 4 bytes; `missing` where it is absent or shorter. */
uint32_t rtnl_u32(const struct nlattr *a, uint32_t missing);

#endif
