/* SPDX-License-Identifier: GPL-2.0-only */
/* Features of CRIU's list that concern namespaces, and network namespaces with their links above all. */
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "helper/helper.h"
#include "helper/run_program.h"
#include "probe/probe_fns.h"
#include "uapi/feature_bits.h"

static int do_nothing(void *unused)
{
	return 0;
}

static int in_new(uint64_t namespaces, int (*fn)(void *unused))
{
	return helper_run(&(struct helper_spec) { .flags = namespaces }, fn, NULL);
}

int probe_userns(void)
{
	return in_new(CLONE_NEWUSER, do_nothing);
}

int probe_cgroupns(void)
{
	return in_new(CLONE_NEWCGROUP, do_nothing);
}

static int unshare_time(void *unused)
{
	return unshare(CLONE_NEWTIME) || access("/proc/self/timens_offsets", F_OK) ? -errno : 0;
}

int probe_timens(void)
{
	return in_new(0, unshare_time);
}

/* ---- sockets ---- */

static int ask_socket(int fd, unsigned long request)
{
	_cleanup_close_ int answer = fd < 0 ? -1 : ioctl(fd, request);

	return answer < 0 ? -errno : 0;
}

int probe_sk_ns(void)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return ask_socket(fd, PROBE_SIOCGSKNS);
}

int probe_sk_unix_file(void)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int err;

	snprintf(a.sun_path, sizeof(a.sun_path), "/tmp/.criu-probe-%d", getpid());
	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(a)))
		return -errno;
	err = ask_socket(fd, PROBE_SIOCUNIXFILE);
	unlink(a.sun_path);
	return err;
}

static int has_option(int family, int level, int option)
{
	_cleanup_close_ int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int value;
	socklen_t len = sizeof(value);

	return fd < 0 || getsockopt(fd, level, option, &value, &len) ? -errno : 0;
}

int probe_sockopt_buf_lock(void)
{
	return has_option(AF_INET, SOL_SOCKET, PROBE_SO_BUF_LOCK);
}

int probe_ipv6_freebind(void)
{
	return has_option(AF_INET6, IPPROTO_IPV6, PROBE_IPV6_FREEBIND);
}

/* ---- netlink ---- */

static int ask_netlink(int bus, struct nlmsghdr *h)
{
	struct mnl_socket *nl = mnl_socket_open2(bus, SOCK_CLOEXEC);
	char buf[8192];
	ssize_t n = -1;
	int err;

	h->nlmsg_seq = 1;
	if (nl && !mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) && mnl_socket_sendto(nl, h, h->nlmsg_len) > 0)
		n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
	err = n < 0 || mnl_cb_run(buf, (size_t)n, 1, mnl_socket_get_portid(nl), NULL, NULL) < 0 ? -errno : 0;
	if (nl)
		mnl_socket_close(nl);
	return err;
}

static struct nlmsghdr *new_request(char *buf, uint16_t type, uint16_t flags, const void *header, size_t len)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);

	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | flags;
	memcpy(mnl_nlmsg_put_extra_header(h, len), header, len);
	return h;
}

int probe_net_diag_raw(void)
{
	struct {
		uint8_t family, protocol, ext, pad;
		uint32_t states, id[12];
	} request = { .family = AF_INET, .protocol = IPPROTO_RAW, .states = ~0U };
	char buf[512];

	return ask_netlink(NETLINK_SOCK_DIAG,
	                   new_request(buf, SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &request, sizeof(request)));
}

static int give_number(int ns_fd, uint32_t number)
{
	struct rtgenmsg g = { .rtgen_family = AF_UNSPEC };
	char buf[512];
	struct nlmsghdr *h = new_request(buf, RTM_NEWNSID, NLM_F_ACK, &g, sizeof(g));

	mnl_attr_put_u32(h, NETNSA_FD, (uint32_t)ns_fd);
	mnl_attr_put_u32(h, NETNSA_NSID, number);
	return ask_netlink(NETLINK_ROUTE, h);
}

#define SOME_NUMBER 5

/* We go into a namespace in which the one of before has this number; it lives as long as its descriptor. */
static int leave_numbered(int *own)
{
	*own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	return *own < 0 || unshare(CLONE_NEWNET) ? -errno : give_number(*own, SOME_NUMBER);
}

static int try_nsid(void *unused)
{
	_cleanup_close_ int own = -1;

	return leave_numbered(&own);
}

int probe_nsid(void)
{
	return in_new(CLONE_NEWNET, try_nsid);
}

/* The links of another namespace by its number. */
static int try_link_nsid(void *unused)
{
	struct ifinfomsg i = { .ifi_family = AF_UNSPEC, .ifi_index = 1 };
	_cleanup_close_ int own = -1;
	int err = leave_numbered(&own);
	char buf[512];
	struct nlmsghdr *h = new_request(buf, RTM_GETLINK, 0, &i, sizeof(i));

	mnl_attr_put_u32(h, PROBE_IFLA_TARGET_NETNSID, SOME_NUMBER);
	return err ?: ask_netlink(NETLINK_ROUTE, h);
}

int probe_link_nsid(void)
{
	return in_new(CLONE_NEWNET, try_link_nsid);
}

static int new_tun(struct ifreq *r)
{
	_cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	*r = (struct ifreq) { .ifr_name = "criu-probe", .ifr_flags = IFF_TUN | IFF_NO_PI };
	return fd < 0 || ioctl(fd, TUNSETIFF, r) ? -errno : move_fd(&fd);
}

static int try_tun_ns(void *unused)
{
	struct ifreq r;
	_cleanup_close_ int fd = new_tun(&r);

	return fd < 0 ? fd : ask_socket(fd, PROBE_TUNGETDEVNETNS);
}

int probe_tun_ns(void)
{
	return in_new(CLONE_NEWNET, try_tun_ns);
}

/* A link gets an index of choice when it is moved into another namespace. */
static int try_new_index(void *unused)
{
	_cleanup_close_ int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	_cleanup_close_ int tun = -1;
	struct ifinfomsg i = { .ifi_family = AF_UNSPEC };
	struct nlmsghdr *h;
	struct ifreq r;
	char buf[512];

	if (own < 0 || unshare(CLONE_NEWNET))
		return -errno;
	tun = new_tun(&r);
	if (tun < 0)
		return tun;
	i.ifi_index = (int)if_nametoindex(r.ifr_name);
	h = new_request(buf, RTM_NEWLINK, NLM_F_ACK, &i, sizeof(i));
	mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)own);
	mnl_attr_put_u32(h, PROBE_IFLA_NEW_IFINDEX, 77);
	return ask_netlink(NETLINK_ROUTE, h);
}

int probe_newifindex(void)
{
	return in_new(CLONE_NEWNET, try_new_index);
}

int probe_ipt_legacy(void)
{
	static const char *const argv[] = { "iptables-legacy-save", NULL };
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int status = null < 0 ? -errno : run_program(argv, null, null, null, -1);

	return status > 0 ? -EOPNOTSUPP : status;
}
