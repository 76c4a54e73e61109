/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Descriptors of /dev/net/tun. A persistent device is found again by its name; one that ended with its last descriptor
 * is created again, with what a program sets on it. Its addresses and routes belong to its network namespace.
 */
#include <linux/capability.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/filter.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>

#include "lib/fd_flags.h"
#include "files/files.h"
#include "files/net_ns.h"
#include "lib/log.h"
#include "tree/foresee.h"
#include "tun.pb-c.h"

#define TUN_MAJOR 10
#define TUN_MINOR 200
#define NO_OWNER  (-1)
/* The flags that TUNSETIFF accepts, of those that TUNGETIFF shows. */
#define IFF_SETTABLE                                                                                                   \
	(IFF_TUN | IFF_TAP | IFF_NO_PI | IFF_ONE_QUEUE | IFF_VNET_HDR | IFF_MULTI_QUEUE | IFF_NAPI | IFF_NAPI_FRAGS)

unsigned if_nametoindex(const char *name); /* <net/if.h> and <linux/if.h> cannot be included together */

extern const struct fd_kind tun_kind;

static bool tun_match(const struct fd_info *info)
{
	return S_ISCHR(info->st.st_mode) && info->st.st_rdev == makedev(TUN_MAJOR, TUN_MINOR) && !info->by_path &&
	       !(info->flags & O_PATH);
}

/* ---- dump ---- */

static int tun_attr(const struct nlattr *attr, void *msg)
{
	uint16_t type = mnl_attr_get_type(attr), len = mnl_attr_get_payload_len(attr);
	TunLinkEntry *link = msg;

	if (type == IFLA_TUN_OWNER && len >= sizeof(uint32_t))
		link->owner = (int32_t)mnl_attr_get_u32(attr);
	if (type == IFLA_TUN_GROUP && len >= sizeof(uint32_t))
		link->group = (int32_t)mnl_attr_get_u32(attr);
	if (type == IFLA_TUN_PI && len >= sizeof(uint8_t) && !mnl_attr_get_u8(attr))
		link->flags |= IFF_NO_PI;
	return MNL_CB_OK;
}

static int link_info(const struct nlattr *attr, void *msg)
{
	if (mnl_attr_get_type(attr) == IFLA_INFO_DATA)
		mnl_attr_parse_nested(attr, tun_attr, msg);
	return MNL_CB_OK;
}

static int link_attr(const struct nlattr *attr, void *msg)
{
	TunfileEntry *m = msg;

	switch (mnl_attr_get_type(attr)) {
	case IFLA_ADDRESS:
		m->has_hwaddr = true;
		m->hwaddr.len = mnl_attr_get_payload_len(attr);
		m->hwaddr.data = mnl_attr_get_payload(attr); /* copied before the buffer goes */
		break;
	case IFLA_MTU:
		m->has_mtu = !mnl_attr_validate(attr, MNL_TYPE_U32);
		m->mtu = m->has_mtu ? mnl_attr_get_u32(attr) : 0;
		break;
	case IFLA_LINKINFO:
		mnl_attr_parse_nested(attr, link_info, m->link);
		break;
	default:
		break;
	}
	return MNL_CB_OK;
}

static int link_message(const struct nlmsghdr *nlh, void *msg)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
	TunfileEntry *m = msg;

	if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*ifi))
		return MNL_CB_ERROR;
	m->has_up = true;
	m->up = ifi->ifi_flags & IFF_UP;
	return mnl_attr_parse(nlh, sizeof(*ifi), link_attr, msg);
}

/* From rtnetlink: owner, group, address, MTU, up. */
static int read_link_state(struct dump *d, TunfileEntry *m)
{
	_cleanup_free_ char *buf = malloc((size_t)MNL_SOCKET_BUFFER_SIZE * 4);
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	struct nlmsghdr *nlh = buf ? mnl_nlmsg_put_header(buf) : NULL;
	int err = nl && buf ? 0 : -ENOMEM;
	ssize_t n;

	if (err)
		goto out;
	nlh->nlmsg_type = RTM_GETLINK;
	nlh->nlmsg_flags = NLM_F_REQUEST;
	mnl_nlmsg_put_extra_header(nlh, sizeof(struct ifinfomsg));
	mnl_attr_put_strz(nlh, IFLA_IFNAME, m->netdev);
	n = mnl_socket_sendto(nl, nlh, nlh->nlmsg_len);
	if (n >= 0)
		n = mnl_socket_recvfrom(nl, buf, (size_t)MNL_SOCKET_BUFFER_SIZE * 4);
	if (n < 0 || mnl_cb_run(buf, (size_t)n, 0, mnl_socket_get_portid(nl), link_message, m) < 0)
		err = -errno;
	if (m->has_hwaddr)
		m->hwaddr.data = arena_memdup(d->arena, m->hwaddr.data, m->hwaddr.len);
out:
	if (nl)
		mnl_socket_close(nl);
	return err;
}

/*
 * One bit of TUNGETIFF means both "no filter" and "no packet information" (IFF_NOFILTER is IFF_NO_PI). Where the second
 * is the case, whether a filter was ever attached has to do.
 */
static bool has_filter(const struct fd_info *info, uint32_t flags, bool no_pi)
{
	struct sock_fprog filter = { 0 };

	if (!no_pi)
		return !(flags & IFF_NOFILTER);
	return !ioctl(info->fd, TUNGETFILTER, &filter) && filter.len;
}

static int dump_tun_device(struct dump *d, const struct fd_info *info, TunfileEntry *m, const struct ifreq *ifr)
{
	uint32_t flags = (uint16_t)ifr->ifr_flags;
	struct pollfd p = { .fd = info->fd, .events = POLLIN };
	int vnethdr = 0, sndbuf = 0, err;

	m->netdev = arena_printf(d->arena, "%.*s", IFNAMSIZ, ifr->ifr_name);
	m->has_detached = true;
	m->detached = flags & IFF_DETACH_QUEUE;
	m->link = arena_msg(d->arena, TunLinkEntry, tun_link_entry);
	m->link->flags = flags & ~(uint32_t)(IFF_DETACH_QUEUE | IFF_NOFILTER);
	m->link->owner = m->link->group = NO_OWNER;
	err = read_link_state(d, m);
	if (err || ioctl(info->fd, TUNGETVNETHDRSZ, &vnethdr) || ioctl(info->fd, TUNGETSNDBUF, &sndbuf))
		return log_errno(err ?: -errno, "%s: device %s: RTM_GETLINK, TUNGETVNETHDRSZ, TUNGETSNDBUF",
		                 fd_name(info), m->netdev);
	if (has_filter(info, flags, m->link->flags & IFF_NO_PI)) {
		log_refusal(-EOPNOTSUPP,
		            "%s: the device %s has a packet filter (TUNATTACHFILTER), which the kernel does not show; "
		            "use one without",
		            fd_name(info), m->netdev);
		return DUMP_REFUSED;
	}
	m->link->vnethdr = (uint32_t)vnethdr;
	m->link->sndbuf = (uint32_t)sndbuf;
	if (poll(&p, 1, 0) > 0 && (p.revents & POLLIN))
		log_warn("%s: packets in the device %s were not read yet; they are lost, as on a network",
		         fd_name(info), m->netdev);
	if (!(flags & IFF_PERSIST) && !net_ns_here(d)) /* in a namespace of the tree's own netdev/ has all of it */
		log_warn("%s: the device %s ends with the tree and is created again by a restore; its addresses and "
		         "routes are not",
		         fd_name(info), m->netdev);
	return 0;
}

static int foresee_device(struct dump *d, const struct fd_info *info, const struct ifreq *ifr)
{
	bool made_again = !(ifr->ifr_flags & IFF_PERSIST) && foresee_lacks(d, CAP_NET_ADMIN);
	int err = made_again ? -EPERM : foresee_open(d, "/dev/net/tun", O_RDWR);

	if (!err)
		return 0;
	return foresee_refuse(d, err,
	                      "%s: its device %s: %s, which criu may not, so that a restore cannot make it: dump and "
	                      "restore as root",
	                      fd_name(info), ifr->ifr_name,
	                      made_again ? "to create one takes CAP_NET_ADMIN" : "open of /dev/net/tun")
	           ? DUMP_REFUSED
	           : 0;
}

static int tun_dump(struct dump *d, const struct fd_info *info, void *msg)
{
	struct ifreq ifr = { 0 };

	if (!ioctl(info->fd, TUNGETIFF, &ifr))
		return dump_tun_device(d, info, msg, &ifr) ?: foresee_device(d, info, &ifr);
	return errno == EBADFD ? 0 : log_errno(-errno, "%s: TUNGETIFF", fd_name(info));
}

/* ---- restore ---- */

static int tun_check(struct restore *r, const void *msg, const char **why)
{
	const TunfileEntry *m = msg;
	bool exists;

	if (access("/dev/net/tun", R_OK | W_OK)) {
		*why = arena_printf(r->arena, "/dev/net/tun: %s", strerror(errno));
		return -errno;
	}
	if (!m->netdev || !*m->netdev)
		return 0;
	if (strlen(m->netdev) >= IFNAMSIZ || strchr(m->netdev, '%')) {
		*why = "the name of its network device is invalid";
		return -EINVAL;
	}
	if (net_ns_of_msg(r, m)) /* new */
		return 0;
	if (!m->link) /* CRIU has it in the image of the network namespace */
		return 0;
	exists = if_nametoindex(m->netdev);
	if (exists == !!(m->link->flags & IFF_PERSIST))
		return 0;
	*why = arena_printf(r->arena,
	                    exists ? "a network device %s exists already"
	                           : "its persistent network device %s does not exist; create it with ip tuntap add",
	                    m->netdev);
	return exists ? -EEXIST : -ENODEV;
}

static int restore_link_state(int sock, const TunfileEntry *m)
{
	struct ifreq ifr = { 0 };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", m->netdev);
	if (m->hwaddr.len && m->hwaddr.len <= sizeof(ifr.ifr_hwaddr.sa_data)) {
		if (ioctl(sock, SIOCGIFHWADDR, &ifr)) /* for its type */
			return -errno;
		memcpy(ifr.ifr_hwaddr.sa_data, m->hwaddr.data, m->hwaddr.len);
		if (ioctl(sock, SIOCSIFHWADDR, &ifr))
			return -errno;
	}
	ifr.ifr_mtu = (int)m->mtu;
	if (m->has_mtu && ioctl(sock, SIOCSIFMTU, &ifr))
		return -errno;
	if (!m->up)
		return 0;
	if (ioctl(sock, SIOCGIFFLAGS, &ifr))
		return -errno;
	ifr.ifr_flags |= IFF_UP;
	return ioctl(sock, SIOCSIFFLAGS, &ifr) ? -errno : 0;
}

/* What only a descriptor of it can set. */
static int restore_tun_options(int fd, const TunfileEntry *m)
{
	int vnethdr = (int)m->link->vnethdr, sndbuf = (int)m->link->sndbuf;

	if (m->link->owner != NO_OWNER && ioctl(fd, TUNSETOWNER, (long)(uint32_t)m->link->owner))
		return -errno;
	if (m->link->group != NO_OWNER && ioctl(fd, TUNSETGROUP, (long)(uint32_t)m->link->group))
		return -errno;
	if ((m->link->flags & IFF_VNET_HDR) && ioctl(fd, TUNSETVNETHDRSZ, &vnethdr))
		return -errno;
	if (sndbuf > 0 && ioctl(fd, TUNSETSNDBUF, &sndbuf))
		return -errno;
	return 0;
}

/* What the program had set on a device that is new. */
static int restore_tun_device(int fd, const TunfileEntry *m)
{
	_cleanup_close_ int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int err = sock < 0 ? -errno : restore_tun_options(fd, m);

	return err ?: restore_link_state(sock, m);
}

/* netdev/ has made it, to last until here. */
static int take_made_device(int fd, const TunfileEntry *m)
{
	int err = restore_tun_options(fd, m);

	return err ?: !(m->link->flags & IFF_PERSIST) && ioctl(fd, TUNSETPERSIST, 0) ? -errno : 0;
}

static int attach_device(struct restore *r, int fd, const TunfileEntry *m)
{
	bool is_new = !if_nametoindex(m->netdev);
	struct ifreq ifr = { .ifr_flags = (short)(m->link ? m->link->flags & IFF_SETTABLE : IFF_TUN) };
	int err;

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", m->netdev);
	if (ioctl(fd, TUNSETIFF, &ifr))
		return log_errno(-errno, "network device %s: TUNSETIFF", m->netdev);
	err = is_new && m->link ? restore_tun_device(fd, m) : 0;
	if (!is_new && m->link && net_ns_of_msg(r, m))
		err = take_made_device(fd, m);
	if (err)
		return log_errno(err, "network device %s: setting it up", m->netdev);
	ifr.ifr_flags = IFF_DETACH_QUEUE;
	if (m->detached && ioctl(fd, TUNSETQUEUE, &ifr))
		return log_errno(-errno, "network device %s: TUNSETQUEUE", m->netdev);
	return 0;
}

static int tun_open(struct restore *r, const void *msg)
{
	const TunfileEntry *m = msg;
	_cleanup_close_ int fd = open("/dev/net/tun", (m->has_flags ? (int)m->flags & O_ACCMODE : O_RDWR) | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return log_errno(-errno, "open of /dev/net/tun");
	if (m->netdev && *m->netdev)
		err = attach_device(r, fd, m);
	err = err ?: fd_flags_restore(fd, m->flags);
	return err ?: move_fd(&fd);
}

const struct fd_kind tun_kind = {
	.name = "tun",
	.type = FD_TYPES__TUNF,
	.field = 11,
	.pb = &tunfile_entry__descriptor,
	.in_net_ns = true,
	.match = tun_match,
	.dump = tun_dump,
	.check = tun_check,
	.open = tun_open,
};
