/* SPDX-License-Identifier: GPL-2.0-only */
/* Parses single answers of the kernel's socket diagnostics. An attribute that is too short is an error. */
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/netlink_diag.h>
#include <linux/packet_diag.h>
#include <linux/unix_diag.h>
#include <string.h>

#include "sock/diag.h"

#define ATTRS 32

static uint64_t cookie_of(const uint32_t cookie[2])
{
	return (uint64_t)cookie[1] << 32 | cookie[0];
}

static int keep_attr(const struct nlattr *attr, void *data)
{
	const struct nlattr **attrs = data;

	if (mnl_attr_get_type(attr) < ATTRS)
		attrs[mnl_attr_get_type(attr)] = attr;
	return MNL_CB_OK;
}

/* The attributes behind a fixed part, by type. */
static int parse_attrs(const void *answer, size_t len, size_t fixed, const struct nlattr **attrs)
{
	if (len < fixed)
		return -EBADMSG;
	memset(attrs, 0, ATTRS * sizeof(*attrs));
	mnl_attr_parse_payload((const char *)answer + fixed, len - fixed, keep_attr, attrs);
	return 0;
}

/* The bytes of an attribute, at least `size`; NULL where it is absent. *err is set where it is too short. */
static const void *attr_bytes(const struct nlattr *attr, size_t size, int *err)
{
	if (!attr)
		return NULL;
	if (mnl_attr_get_payload_len(attr) < size) {
		*err = -EBADMSG;
		return NULL;
	}
	return mnl_attr_get_payload(attr);
}

static void attr_copy(const struct nlattr *attr, void *to, size_t size, int *err)
{
	const void *bytes = attr_bytes(attr, size, err);

	if (bytes)
		memcpy(to, bytes, size);
}

static const void *attr_array(struct arena *a, const struct nlattr *attr, size_t size, size_t *n)
{
	*n = attr ? mnl_attr_get_payload_len(attr) / size : 0;
	return *n ? arena_memdup(a, mnl_attr_get_payload(attr), *n * size) : NULL;
}

int diag_parse_unix(struct arena *a, const void *answer, size_t len, struct diag_unix *out)
{
	const struct unix_diag_msg *m = answer;
	const struct nlattr *attrs[ATTRS];
	struct unix_diag_vfs vfs = { 0 };
	struct unix_diag_rqlen queue = { 0 };
	int err = parse_attrs(answer, len, sizeof(*m), attrs);

	if (err)
		return err;
	*out = (struct diag_unix) {
		.cookie = cookie_of(m->udiag_cookie),
		.ino = m->udiag_ino,
		.type = m->udiag_type,
		.state = m->udiag_state,
		.has_vfs = attrs[UNIX_DIAG_VFS],
	};
	attr_copy(attrs[UNIX_DIAG_VFS], &vfs, sizeof(vfs), &err);
	attr_copy(attrs[UNIX_DIAG_RQLEN], &queue, sizeof(queue), &err);
	attr_copy(attrs[UNIX_DIAG_PEER], &out->peer, sizeof(out->peer), &err);
	attr_copy(attrs[UNIX_DIAG_SHUTDOWN], &out->shutdown, sizeof(out->shutdown), &err);
	out->vfs_dev = vfs.udiag_vfs_dev;
	out->vfs_ino = vfs.udiag_vfs_ino;
	out->rqueue = queue.udiag_rqueue;
	out->wqueue = queue.udiag_wqueue;
	out->name = attr_array(a, attrs[UNIX_DIAG_NAME], 1, &out->name_len);
	out->icons = attr_array(a, attrs[UNIX_DIAG_ICONS], sizeof(*out->icons), &out->n_icons);
	return err;
}

int diag_parse_inet(struct arena *a, const void *answer, size_t len, struct diag_inet *out)
{
	const struct inet_diag_msg *m = answer;
	const struct nlattr *attrs[ATTRS];
	int err = parse_attrs(answer, len, sizeof(*m), attrs);
	uint8_t v6only = 0;

	if (err)
		return err;
	*out = (struct diag_inet) {
		.cookie = cookie_of(m->id.idiag_cookie),
		.ino = m->idiag_inode,
		.family = m->idiag_family,
		.state = m->idiag_state,
		.sport = ntohs(m->id.idiag_sport),
		.dport = ntohs(m->id.idiag_dport),
		.ifindex = m->id.idiag_if,
		.rqueue = m->idiag_rqueue,
		.wqueue = m->idiag_wqueue,
		.has_md5 = attrs[INET_DIAG_MD5SIG],
	};
	memcpy(out->src, m->id.idiag_src, sizeof(out->src));
	memcpy(out->dst, m->id.idiag_dst, sizeof(out->dst));
	attr_copy(attrs[INET_DIAG_SHUTDOWN], &out->shutdown, sizeof(out->shutdown), &err);
	attr_copy(attrs[INET_DIAG_PROTOCOL], &out->protocol, sizeof(out->protocol), &err);
	attr_copy(attrs[INET_DIAG_SKV6ONLY], &v6only, sizeof(v6only), &err);
	out->v6only = v6only;
	return err;
}

int diag_parse_netlink(struct arena *a, const void *answer, size_t len, struct diag_netlink *out)
{
	const struct netlink_diag_msg *m = answer;
	const struct nlattr *attrs[ATTRS];
	int err = parse_attrs(answer, len, sizeof(*m), attrs);

	if (err)
		return err;
	*out = (struct diag_netlink) {
		.cookie = cookie_of(m->ndiag_cookie),
		.ino = m->ndiag_ino,
		.type = m->ndiag_type,
		.protocol = m->ndiag_protocol,
		.state = m->ndiag_state,
		.portid = m->ndiag_portid,
		.dst_portid = m->ndiag_dst_portid,
		.dst_group = m->ndiag_dst_group,
	};
	out->groups = attr_array(a, attrs[NETLINK_DIAG_GROUPS], sizeof(*out->groups), &out->n_groups);
	attr_copy(attrs[NETLINK_DIAG_FLAGS], &out->flags, sizeof(out->flags), &err);
	return err;
}

static void take_mclist(struct arena *a, const struct nlattr *attr, struct diag_packet *out)
{
	struct diag_packet_mc *mc;
	size_t n;
	const struct packet_diag_mclist *list = attr_array(a, attr, sizeof(*list), &n);

	mc = arena_array(a, struct diag_packet_mc, n);
	for (size_t i = 0; i < n; i++) {
		mc[i].ifindex = (int32_t)list[i].pdmc_index;
		mc[i].count = list[i].pdmc_count;
		mc[i].type = list[i].pdmc_type;
		mc[i].alen = MIN(list[i].pdmc_alen, sizeof(mc[i].addr));
		memcpy(mc[i].addr, list[i].pdmc_addr, sizeof(mc[i].addr));
	}
	out->mc = mc;
	out->n_mc = n;
}

int diag_parse_packet(struct arena *a, const void *answer, size_t len, struct diag_packet *out)
{
	const struct packet_diag_msg *m = answer;
	const struct nlattr *attrs[ATTRS];
	struct packet_diag_info info = { 0 };
	int err = parse_attrs(answer, len, sizeof(*m), attrs);
	const void *rx, *tx;

	if (err)
		return err;
	attr_copy(attrs[PACKET_DIAG_INFO], &info, sizeof(info), &err);
	*out = (struct diag_packet) {
		.cookie = cookie_of(m->pdiag_cookie),
		.ino = m->pdiag_ino,
		.type = m->pdiag_type,
		/* In host order, unlike in the other families. */
		.num = m->pdiag_num,
		.ifindex = (int32_t)info.pdi_index,
		.version = info.pdi_version,
		.reserve = info.pdi_reserve,
		.copy_thresh = info.pdi_copy_thresh,
		.tstamp = info.pdi_tstamp,
		.flags = info.pdi_flags,
		.has_fanout = attrs[PACKET_DIAG_FANOUT],
	};
	attr_copy(attrs[PACKET_DIAG_FANOUT], &out->fanout, sizeof(out->fanout), &err);
	take_mclist(a, attrs[PACKET_DIAG_MCLIST], out);
	rx = attr_bytes(attrs[PACKET_DIAG_RX_RING], sizeof(struct packet_diag_ring), &err);
	tx = attr_bytes(attrs[PACKET_DIAG_TX_RING], sizeof(struct packet_diag_ring), &err);
	out->rx_ring = rx ? arena_memdup(a, rx, sizeof(struct packet_diag_ring)) : NULL;
	out->tx_ring = tx ? arena_memdup(a, tx, sizeof(struct packet_diag_ring)) : NULL;
	return err;
}
