/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Queues of UDP sockets. Datagrams that wait to be read are restored with their senders' addresses: each is written as
 * a whole packet to a raw socket, and the loopback device delivers the packet, whatever its source address is.
 */
#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/sockios.h>
#include <linux/udp.h>
#include <net/if.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "files/files.h"
#include "lib/log.h"
#include "sock/diag.h"
#include "sock/inet/inet.h"
#include "sock/opts.h"
#include "sock/queue.h"
#include "uapi/sock_bits.h"

/* ---- dump ---- */

/*
 * Whether MSG_MORE or UDP_CORK holds something back. Sending nothing to port 0 is an error, unless the socket has data
 * to append it to (udp_sendmsg()); MSG_PROBE and MSG_MORE ensure that nothing is sent then either.
 */
static bool holds_data_back(int fd, uint32_t family)
{
	union inet_addr to = { .any.sa_family = (sa_family_t)family };
	socklen_t len = family == AF_INET6 ? sizeof(to.v6) : sizeof(to.v4);

	return sendto(fd, "", 0, UAPI_MSG_PROBE | MSG_MORE | MSG_DONTWAIT | MSG_NOSIGNAL, &to.any, len) >= 0 ||
	       errno != EINVAL;
}

/* Held-back data is in no queue that could be read. Data that waits for a device or a neighbour is sent soon. */
static int check_unsent(const struct fd_info *info, uint32_t family)
{
	int bytes = 0;

	if (ioctl(info->fd, SIOCOUTQ, &bytes) || !bytes || !holds_data_back(info->fd, family))
		return 0;
	log_refusal(-ENOTSUP,
	            "%s: a UDP socket with data that was not sent yet (UDP_CORK, MSG_MORE), which the kernel does not "
	            "show; let the task send it before the dump",
	            fd_name(info));
	return DUMP_REFUSED;
}

int inet_queue_dump(struct dump *d, const struct fd_info *info, InetSkEntry *m)
{
	return check_unsent(info, m->family) ?: queue_dump(d, info, m->id, SOCK_DGRAM);
}

/* ---- restore: packets ---- */

#define DELIVERY_MS 200 /* how long a packet may take through the loopback device */

struct refill {
	int fd;
	const InetSkEntry *m;
	const char *who;
	union inet_addr local;
	bool aimed; /* connected to each sender in turn: others share its port, or its address is not known */
	int raw[2]; /* raw sockets for IPv4 and IPv6; -1: not opened yet */
	size_t arrived;
};

static uint32_t add_words(uint32_t sum, const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
	return sum;
}

static uint16_t udp_checksum(const void *addresses, size_t addresses_len, int protocol, const struct udphdr *udp,
                             const void *data, size_t len)
{
	uint64_t sum = add_words(0, addresses, addresses_len);

	sum += (uint32_t)protocol + (uint32_t)(sizeof(*udp) + len);
	sum += add_words(0, udp, sizeof(*udp));
	/* 64 KiB of the largest words fit into 32 bits. */
	sum += add_words(0, data, len);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	sum = ~sum & 0xffff;
	return htons((uint16_t)(sum ?: 0xffff));
}

/* Turns an IPv4 address that an IPv6 socket shows (::ffff:1.2.3.4) into one of IPv4. */
static void unmap_v4(union inet_addr *n)
{
	union inet_addr v4 = { .v4.sin_family = AF_INET };

	if (n->any.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&n->v6.sin6_addr))
		return;
	v4.v4.sin_port = n->v6.sin6_port;
	memcpy(&v4.v4.sin_addr, &n->v6.sin6_addr.s6_addr[12], 4);
	*n = v4;
}

/* For IPv4 an unusual loopback address: another socket with the same port may be bound to 127.0.0.1. */
static void make_loopback(union inet_addr *n, int family, uint16_t port)
{
	*n = (union inet_addr) { 0 };
	n->any.sa_family = (sa_family_t)family;
	if (family == AF_INET6) {
		n->v6.sin6_addr = in6addr_loopback;
		n->v6.sin6_port = htons(port);
	} else {
		n->v4.sin_addr.s_addr = htonl(0x7f5b0703);
		n->v4.sin_port = htons(port);
	}
}

/*
 * In a SO_REUSEPORT group the kernel gives a datagram to any member. A BPF program of one instruction chooses ours:
 * members are numbered as they were bound.
 */
static int steer_to_member(int fd, uint32_t index)
{
	struct sock_filter ret = { .code = BPF_RET | BPF_K, .k = index };
	struct sock_fprog program = { .len = 1, .filter = &ret };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)) ? -errno : 0;
}

static void stop_steering(int fd)
{
	int any = 0;

	setsockopt(fd, SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &any, sizeof(any));
}

/* No packet may leave the host: only an address of this host can be bound. */
static bool is_local(const union inet_addr *n)
{
	_cleanup_close_ int fd = socket(n->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	union inet_addr any_port = *n;

	if (n->any.sa_family == AF_INET6 ? IN6_IS_ADDR_MULTICAST(&n->v6.sin6_addr)
	                                 : IN_MULTICAST(ntohl(n->v4.sin_addr.s_addr)))
		return false;
	if (n->any.sa_family == AF_INET6)
		any_port.v6.sin6_port = 0;
	else
		any_port.v4.sin_port = 0;
	return fd >= 0 && !bind(fd, &any_port.any, inet_addr_len(&any_port));
}

static int open_raw_socket(struct refill *f, int family)
{
	int *raw = &f->raw[family == AF_INET6];
	const char *dev = f->m->opts->so_bound_dev;

	if (*raw >= 0)
		return *raw;
	*raw = socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	/* So that the packets count as received on that device. */
	if (*raw >= 0 && dev)
		setsockopt(*raw, SOL_SOCKET, SO_BINDTODEVICE, dev, (socklen_t)strlen(dev));
	return *raw < 0 ? -errno : *raw;
}

static int send_packet(struct refill *f, const union inet_addr *from, const union inet_addr *to, const void *data,
                       size_t len)
{
	bool v6 = from->any.sa_family == AF_INET6;
	struct udphdr udp = { .source = v6 ? from->v6.sin6_port : from->v4.sin_port,
		              .dest = v6 ? to->v6.sin6_port : to->v4.sin_port };
	struct iphdr ip = { .version = 4, .ihl = 5, .ttl = 255, .protocol = (uint8_t)f->m->proto };
	struct ipv6hdr ip6 = { .version = 6, .hop_limit = 255, .nexthdr = (uint8_t)f->m->proto };
	struct iovec iov[] = {
		{ v6 ? (void *)&ip6 : &ip, v6 ? sizeof(ip6) : sizeof(ip) },
		{ &udp, sizeof(udp) },
		{ (void *)data, len },
	};
	union inet_addr target = *to;
	struct msghdr mh = { .msg_name = &target, .msg_namelen = inet_addr_len(to), .msg_iov = iov, .msg_iovlen = 3 };
	int raw = open_raw_socket(f, from->any.sa_family);

	if (raw < 0 || len + sizeof(udp) > UINT16_MAX)
		return raw < 0 ? raw : -EMSGSIZE;
	/* UDP-Lite has the number of bytes that the checksum covers here: 0 is all. */
	udp.len = f->m->proto == IPPROTO_UDPLITE ? 0 : htons((uint16_t)(sizeof(udp) + len));
	if (v6) {
		ip6.payload_len = htons((uint16_t)(sizeof(udp) + len));
		memcpy(&ip6.saddr, &from->v6.sin6_addr, sizeof(ip6.saddr));
		memcpy(&ip6.daddr, &to->v6.sin6_addr, sizeof(ip6.daddr));
		udp.check = udp_checksum(&ip6.saddr, 32, f->m->proto, &udp, data, len);
		target.v6.sin6_port = 0; /* a raw socket takes it for a protocol */
	} else {
		ip.saddr = from->v4.sin_addr.s_addr;
		ip.daddr = to->v4.sin_addr.s_addr;
		udp.check = udp_checksum(&ip.saddr, 8, f->m->proto, &udp, data, len);
	}
	return sendmsg(raw, &mh, MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* The loopback device has mostly delivered a packet before sendmsg() returns. */
static bool wait_for_delivery(const struct refill *f, uint32_t before)
{
	for (int i = 0; i < DELIVERY_MS; i++) {
		if (sock_queued(f->fd) > before)
			return true;
		poll(NULL, 0, 1);
	}
	return false;
}

static void refill_datagram(struct refill *f, const void *sender, size_t sender_len, const void *data, size_t len)
{
	union inet_addr from = { 0 }, local = f->local, shown;
	uint16_t port = inet_addr_port(&local);
	uint32_t before = sock_queued(f->fd);
	socklen_t name_len = sizeof(local);
	int err;

	if (sender_len < sizeof(from.v4))
		return;
	memcpy(&from, sender, MIN(sender_len, sizeof(from)));
	if (from.any.sa_family != AF_INET && (from.any.sa_family != AF_INET6 || sender_len < sizeof(from.v6)))
		return;
	shown = from;
	if (f->aimed && !connect(f->fd, &from.any, inet_addr_len(&from)))
		getsockname(f->fd, &local.any, &name_len);
	unmap_v4(&from);
	unmap_v4(&local);
	if (inet_addr_is_any(&local) || local.any.sa_family != from.any.sa_family)
		make_loopback(&local, from.any.sa_family, port);
	err = is_local(&local) ? send_packet(f, &from, &local, data, len) : -EADDRNOTAVAIL;
	if (!err && wait_for_delivery(f, before))
		f->arrived++;
	else
		log_debug("%s: a datagram of %zu bytes from %s: %s", f->who, len, inet_addr_text(&shown),
		          err ? strerror(-err) : "not delivered");
}

/* Room for all datagrams, whatever the limit of the socket; put back afterwards. */
static void set_receive_buffer(int fd, int bytes, int lock)
{
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)))
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	if (lock >= 0)
		setsockopt(fd, SOL_SOCKET, SO_BUF_LOCK, &lock, sizeof(lock));
}

static bool is_link_local(const void *sender, size_t len)
{
	union inet_addr n = { 0 };

	memcpy(&n, sender ?: "", sender ? MIN(len, sizeof(n)) : 0);
	return n.any.sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&n.v6.sin6_addr);
}

static void disconnect_aimed(const struct refill *f)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	const char *dev = f->m->opts->so_bound_dev;

	connect(f->fd, &none, sizeof(none));
	/* That has unbound the socket from its device. */
	if (dev)
		setsockopt(f->fd, SOL_SOCKET, SO_BINDTODEVICE, dev, (socklen_t)strlen(dev));
}

int inet_queue_restore(struct restore *r, int fd, const InetSkEntry *m, uint32_t member, const char *who)
{
	size_t n = queue_count(r, m->id), len, sender_len;
	struct refill f = { .fd = fd, .m = m, .who = who, .raw = { -1, -1 } };
	int was = 0, lock = -1;
	socklen_t size = sizeof(f.local), int_len = sizeof(int);
	bool connected = m->state == 1;

	if (!n)
		return 0;
	if (getsockname(fd, &f.local.any, &size))
		return log_errno(-errno, "%s: getsockname", who);
	if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &was, &int_len))
		return log_errno(-errno, "%s: getsockopt(SO_RCVBUF)", who);
	int_len = sizeof(lock);
	if (getsockopt(fd, SOL_SOCKET, SO_BUF_LOCK, &lock, &int_len))
		lock = -1;
	set_receive_buffer(fd, 1 << 29, -1);
	if (member)
		steer_to_member(fd, member);
	for (size_t i = 0; i < n; i++) {
		const void *sender = queue_sender(r, m->id, i, &sender_len), *data = queue_bytes(r, m->id, i, &len);

		f.aimed |= !connected && !m->opts->so_reuseport && is_link_local(sender, sender_len);
		refill_datagram(&f, sender, sender_len, data, len);
	}
	if (f.aimed)
		disconnect_aimed(&f);
	if (member)
		stop_steering(fd);
	set_receive_buffer(fd, was / 2, lock);
	for (size_t i = 0; i < 2; i++)
		if (f.raw[i] >= 0)
			close(f.raw[i]);
	if (f.arrived < n)
		log_warn(
		    "%s: %zu of the %zu datagrams in its receive queue are lost: they could not be sent again with "
		    "their source addresses (which needs CAP_NET_RAW and a loopback device that is up)",
		    who, n - f.arrived, n);
	return 0;
}
