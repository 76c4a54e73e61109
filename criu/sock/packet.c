/* SPDX-License-Identifier: GPL-2.0-only */
/* Packet sockets: protocol and interface, options, memberships, rings, fanout groups. */
#include <linux/capability.h>
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <linux/packet_diag.h>
#include <net/if.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "lib/fd_flags.h"
#include "files/files.h"
#include "files/net_ns.h"
#include "lib/log.h"
#include "tree/foresee.h"
#include "sock/diag.h"
#include "sock/opts.h"
#include "tree/inventory.h"
#include "packet-sock.pb-c.h"
#include "uapi/packet_bits.h"

#define NO_FANOUT UINT32_MAX

#define ROW(option, of_field, ...)                                                                                     \
	{                                                                                                              \
		.level = SOL_PACKET, .name = (option), .text = #option, .field = (of_field), __VA_ARGS__               \
	}
#define IS(option, of_field) ROW(option, of_field, .absent = SOCK_OPT_ALWAYS)

/* Before rings are made, whose frames some of them lay out. */
static const struct sock_opt packet_opts[] = {
	IS(PACKET_VERSION, "version"),
	IS(PACKET_RESERVE, "reserve"),
	IS(PACKET_AUXDATA, "aux_data"),
	IS(PACKET_ORIGDEV, "orig_dev"),
	IS(PACKET_VNET_HDR, "vnet_hdr"),
	IS(PACKET_LOSS, "loss"),
	IS(PACKET_TIMESTAMP, "timestamp"),
	ROW(PACKET_VNET_HDR_SZ, "vnet_hdr_sz", .absent = 0),
	ROW(PACKET_TX_HAS_OFF, "tx_has_off", .absent = 0),
	ROW(PACKET_QDISC_BYPASS, "qdisc_bypass", .absent = 0),
	ROW(PACKET_IGNORE_OUTGOING, "ignore_outgoing", .absent = 0),
	{ 0 },
};

static bool packet_match(const struct fd_info *info)
{
	return sock_domain(info) == AF_PACKET;
}

static char *interface_name(struct dump *d, int ifindex)
{
	char name[IF_NAMESIZE];

	return ifindex > 0 && if_indextoname((unsigned)ifindex, name) ? arena_strdup(d->arena, name) : NULL;
}

static void dump_memberships(struct dump *d, const struct diag_packet *s, PacketSockEntry *m)
{
	for (size_t i = 0; i < s->n_mc; i++) {
		PacketMclist *mc = arena_msg(d->arena, PacketMclist, packet_mclist);

		mc->index = (uint32_t)s->mc[i].ifindex;
		mc->ifname = interface_name(d, s->mc[i].ifindex);
		mc->type = s->mc[i].type;
		mc->addr.len = s->mc[i].alen;
		mc->addr.data = arena_memdup(d->arena, s->mc[i].addr, sizeof(s->mc[i].addr));
		mc->has_count = s->mc[i].count > 1;
		mc->count = s->mc[i].count;
		arena_push(d->arena, &m->mclist, &m->n_mclist, mc);
	}
}

static PacketRing *ring_of(struct dump *d, const struct packet_diag_ring *from)
{
	PacketRing *to;

	if (!from)
		return NULL;
	to = arena_msg(d->arena, PacketRing, packet_ring);
	to->block_size = from->pdr_block_size;
	to->block_nr = from->pdr_block_nr;
	to->frame_size = from->pdr_frame_size;
	to->frame_nr = from->pdr_frame_nr;
	to->retire_tmo = from->pdr_retire_tmo;
	to->sizeof_priv = from->pdr_sizeof_priv;
	to->features = from->pdr_features;
	return to;
}

static void warn_lost_packets(const struct fd_info *info, const PacketSockEntry *m)
{
	uint32_t bytes = sock_queued(info->fd);
	unsigned fanout = m->has_fanout ? m->fanout >> 16 & 0xff : 0;

	if (bytes)
		log_warn(
		    "%s: packets in the queue of this packet socket (%u bytes of memory) are dropped: they cannot be "
		    "received again",
		    fd_name(info), bytes);
	if (m->rx_ring || m->tx_ring)
		log_warn("%s: packets in rings of this packet socket are dropped, but for those that a task has mapped",
		         fd_name(info));
	if (fanout == PACKET_FANOUT_CBPF || fanout == PACKET_FANOUT_EBPF)
		log_warn("%s: the kernel does not show the program of its fanout group, which will not come back",
		         fd_name(info));
}

static size_t ring_size(const PacketRing *ring)
{
	return ring ? (size_t)ring->block_size * ring->block_nr : 0;
}

/* A ring for sending that was used: a new one begins at its first frame, the program where it was. */
static int refuse_used_ring(const struct fd_info *info, const PacketSockEntry *m)
{
	size_t rx = ring_size(m->rx_ring), len = rx + ring_size(m->tx_ring), i = rx;
	const uint8_t *map = mmap(NULL, len, PROT_READ, MAP_SHARED, info->fd, 0);

	if (map == MAP_FAILED)
		return log_errno(-errno, "%s: mmap of the rings of a packet socket", fd_name(info));
	while (i < len && !map[i])
		i++;
	munmap((void *)(uintptr_t)map, len);
	if (i == len)
		return 0;
	log_refusal(
	    -ENOTSUP,
	    "%s: a packet socket whose ring for sending (PACKET_TX_RING) has been used: where the program is in it "
	    "cannot be restored; close it before the dump",
	    fd_name(info));
	return DUMP_REFUSED;
}

static int packet_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	PacketSockEntry *m = msg;
	const struct diag_packet *s;
	int err = diag_find_packet(d, info->fd, &s);

	if (err == -ENOENT)
		return log_errno(err, "%s: the kernel does not list this packet socket", fd_name(info));
	err = err ?: sock_opt_table_dump(info, packet_opts, m);
	err = err ?: sock_opts_dump(d->arena, info, &m->opts);
	if (err)
		return err;
	m->type = s->type;
	m->protocol = htons(s->num);
	m->ifindex = (uint32_t)s->ifindex;
	m->ifname = interface_name(d, s->ifindex);
	m->copy_thresh = s->copy_thresh;
	m->has_fanout = s->has_fanout;
	m->fanout = s->fanout;
	m->rx_ring = ring_of(d, s->rx_ring);
	m->tx_ring = ring_of(d, s->tx_ring);
	dump_memberships(d, s, m);
	warn_lost_packets(info, m);
	err = m->tx_ring ? refuse_used_ring(info, m) : 0;
	if (err)
		return err;
	if (!foresee_lacks(d, CAP_NET_RAW))
		return 0;
	return foresee_refuse(
	           d, -EPERM,
	           "%s: socket(AF_PACKET) takes CAP_NET_RAW, which criu does not have, so that a restore cannot "
	           "make it: dump and restore as root, or setcap cap_net_raw,...+ep criu",
	           fd_name(info))
	           ? DUMP_REFUSED
	           : 0;
}

/* ---- restore ---- */

/* By name, since numbers change; an image of CRIU's has numbers alone. */
static int index_of(const char *name, uint32_t index)
{
	return name ? (int)if_nametoindex(name) : (int)index;
}

/* In network byte order; our older images have it as the host has numbers. */
static uint16_t saved_protocol(const struct restore *r, const PacketSockEntry *m)
{
	return inventory_has_crius_numbers(r->inventory) ? (uint16_t)m->protocol : htons((uint16_t)m->protocol);
}

/*
 * Without a protocol it receives nothing before it is bound. SOCK_PACKET gets its protocol here or never: its bind()
 * takes the name of an interface alone.
 */
static int make_packet(const struct restore *r, const PacketSockEntry *m)
{
	int protocol = m->type == SOCK_PACKET ? saved_protocol(r, m) : 0;
	int fd = socket(AF_PACKET, (int)m->type | SOCK_CLOEXEC, protocol);

	return fd < 0 ? -errno : fd;
}

static int packet_check(struct restore *r, const void *msg, const char **why)
{
	const PacketSockEntry *m = msg;
	_cleanup_close_ int fd = make_packet(r, m);
	const char *missing = m->ifname && !if_nametoindex(m->ifname) ? m->ifname : NULL;

	if (fd < 0) {
		*why = arena_printf(r->arena, "socket(AF_PACKET): %s", strerror(-fd));
		return fd;
	}
	if (net_ns_of_msg(r, m)) /* new: its devices come */
		return 0;
	for (size_t i = 0; i < m->n_mclist; i++)
		if (m->mclist[i]->ifname && !if_nametoindex(m->mclist[i]->ifname))
			missing = m->mclist[i]->ifname;
	if (!missing)
		return 0;
	*why = arena_printf(r->arena, "the network interface %s of its packet socket does not exist", missing);
	return -ENODEV;
}

static int set_ring(int fd, int name, const PacketRing *ring, uint32_t version, const char *who)
{
	struct tpacket_req3 req;

	if (!ring)
		return 0;
	req = (struct tpacket_req3) {
		.tp_block_size = ring->block_size,
		.tp_block_nr = ring->block_nr,
		.tp_frame_size = ring->frame_size,
		.tp_frame_nr = ring->frame_nr,
		.tp_retire_blk_tov = ring->retire_tmo,
		.tp_sizeof_priv = ring->sizeof_priv,
		.tp_feature_req_word = ring->features,
	};
	/* The kernel wants the very size that belongs to the version. */
	if (setsockopt(fd, SOL_PACKET, name, &req,
	               version == TPACKET_V3 ? sizeof(struct tpacket_req3) : sizeof(struct tpacket_req)))
		return log_errno(-errno, "%s: setsockopt(%s) of %u blocks of %u bytes", who,
		                 name == PACKET_RX_RING ? "PACKET_RX_RING" : "PACKET_TX_RING", ring->block_nr,
		                 ring->block_size);
	return 0;
}

static int packet_open(struct restore *r, const void *msg)
{
	const PacketSockEntry *m = msg;
	const char *who = arena_printf(r->arena, "packet socket on %s", m->ifname ?: "all interfaces");
	int threshold = (int)m->copy_thresh, err;
	_cleanup_close_ int fd = make_packet(r, m);

	if (fd < 0)
		return log_errno(fd, "%s: socket(AF_PACKET)", who);
	err = sock_opts_before_bind(r, fd, m->opts, NULL, who);
	if (!err && m->type != SOCK_PACKET) /* it has no options at this level */
		err = sock_opt_table_restore(NULL, fd, packet_opts, m, false, who);
	if (!err && threshold && m->type != SOCK_PACKET &&
	    setsockopt(fd, SOL_PACKET, PACKET_COPY_THRESH, &threshold, sizeof(threshold)))
		err = log_errno(-errno, "%s: setsockopt(PACKET_COPY_THRESH) to %d", who, threshold);
	err = err ?: set_ring(fd, PACKET_RX_RING, m->rx_ring, m->version, who);
	err = err ?: set_ring(fd, PACKET_TX_RING, m->tx_ring, m->version, who);
	err = err ?: sock_opts_restore(r, fd, m->opts, NULL, who);
	err = err ?: fd_flags_restore(fd, m->flags);
	return err ?: move_fd(&fd);
}

static int add_membership(int fd, const PacketMclist *mc, const char *who)
{
	struct {
		struct packet_mreq r;
		uint8_t rest[32 - 8];
	} req = { .r = { .mr_ifindex = index_of(mc->ifname, mc->index), .mr_type = (unsigned short)mc->type } };

	if (mc->addr.len > 32 || mc->count > 65536)
		return log_errno(-EINVAL, "%s: image error: a membership with an address of %zu bytes, %u times", who,
		                 mc->addr.len, mc->count);
	req.r.mr_alen = (unsigned short)mc->addr.len;
	memcpy((char *)&req + offsetof(struct packet_mreq, mr_address), mc->addr.data, mc->addr.len);
	for (uint32_t i = 0; i < (mc->has_count ? mc->count : 1); i++)
		if (setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &req, sizeof(req)))
			return log_errno(-errno, "%s: setsockopt(PACKET_ADD_MEMBERSHIP) of type %u on %s", who,
			                 mc->type, mc->ifname ?: "an interface");
	return 0;
}

static int bind_by_name(int fd, const char *interface)
{
	struct sockaddr a = { .sa_family = AF_PACKET };

	memcpy(a.sa_data, interface, MIN(strlen(interface), sizeof(a.sa_data) - 1));
	return bind(fd, &a, sizeof(a)) ? -errno : 0;
}

/* What came from other interfaces, or from the restore itself, since the socket was made. */
static void drop_received(int fd)
{
	char c;

	while (recv(fd, &c, 1, MSG_DONTWAIT | MSG_TRUNC) >= 0)
		;
}

/* An interface without its name in the image has disappeared. */
static int bind_old_style(int fd, const PacketSockEntry *m, int ifindex, const char *who)
{
	char name[IF_NAMESIZE];
	int err = 0;

	if (ifindex > 0 && if_indextoname((unsigned)ifindex, name))
		err = bind_by_name(fd, name);
	drop_received(fd);
	return err ? log_errno(err, "%s: bind to interface %s", who, name) : 0;
}

/* Bound last: it is not to receive what the restore itself sends over an interface. */
static int packet_late(struct restore *r, const void *msg, int fd)
{
	const PacketSockEntry *m = msg;
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = saved_protocol(r, m) };
	uint32_t fanout = m->fanout & ~((uint32_t)PACKET_FANOUT_FLAG_UNIQUEID << 16);
	const char *who = arena_printf(r->arena, "packet socket on %s", m->ifname ?: "all interfaces");
	int err = 0;

	a.sll_ifindex = index_of(m->ifname, m->ifindex);
	if (a.sll_ifindex < 0)
		log_warn("%s: stays unbound: its interface had disappeared before the dump", who);
	else if (m->type == SOCK_PACKET)
		err = bind_old_style(fd, m, a.sll_ifindex, who);
	else if ((m->protocol || a.sll_ifindex) && bind(fd, (struct sockaddr *)&a, sizeof(a)))
		err = log_errno(-errno, "%s: bind to protocol 0x%04x", who, ntohs(a.sll_protocol));
	for (size_t i = 0; !err && i < m->n_mclist; i++)
		err = add_membership(fd, m->mclist[i], who);
	if (!err && m->has_fanout && m->fanout != NO_FANOUT &&
	    setsockopt(fd, SOL_PACKET, PACKET_FANOUT, &fanout, sizeof(fanout)))
		err = log_errno(-errno, "%s: setsockopt(PACKET_FANOUT) of group 0x%x", who, fanout);
	return err;
}

const struct fd_kind packet_kind = {
	.name = "packet sockets",
	.type = FD_TYPES__PACKETSK,
	.field = 6,
	.pb = &packet_sock_entry__descriptor,
	.in_net_ns = true,
	.match = packet_match,
	.dump = packet_dump,
	.check = packet_check,
	.open = packet_open,
	.post_open = packet_late,
};
