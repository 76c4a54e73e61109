/* SPDX-License-Identifier: GPL-2.0-only */
/* The settings that CRIU's format has, by their places in arrays: conf/{all,default,DEVICE} of IPv4 and IPv6. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/io.h"
#include "lib/log.h"
#include "netdev/netdev.h"

static const char *const conf4[] = {
	"accept_local",
	"accept_redirects",
	"accept_source_route",
	"arp_accept",
	"arp_announce",
	"arp_filter",
	"arp_ignore",
	"arp_notify",
	"bootp_relay",
	"disable_policy",
	"disable_xfrm",
	"force_igmp_version",
	"forwarding",
	"igmpv2_unsolicited_report_interval",
	"igmpv3_unsolicited_report_interval",
	"log_martians",
	"medium_id",
	"promote_secondaries",
	"proxy_arp",
	"proxy_arp_pvlan",
	"route_localnet",
	"rp_filter",
	"secure_redirects",
	"send_redirects",
	"shared_media",
	"src_valid_mark",
	"tag",
	"ignore_routes_with_linkdown",
	"drop_gratuitous_arp",
	"drop_unicast_in_l2_multicast",
};

static const char *const conf6[] = {
	"accept_dad",
	"accept_ra",
	"accept_ra_defrtr",
	"accept_ra_from_local",
	"accept_ra_min_hop_limit",
	"accept_ra_mtu",
	"accept_ra_pinfo",
	"accept_ra_rt_info_max_plen",
	"accept_ra_rtr_pref",
	"accept_redirects",
	"accept_source_route",
	"autoconf",
	"dad_transmits",
	"disable_ipv6",
	"drop_unicast_in_l2_multicast",
	"drop_unsolicited_na",
	"force_mld_version",
	"force_tllao",
	"forwarding",
	"hop_limit",
	"ignore_routes_with_linkdown",
	"keep_addr_on_down",
	"max_addresses",
	"max_desync_factor",
	"mldv1_unsolicited_report_interval",
	"mldv2_unsolicited_report_interval",
	"mtu",
	"ndisc_notify",
	"optimistic_dad",
	"proxy_ndp",
	"regen_max_retry",
	"router_probe_interval",
	"router_solicitation_delay",
	"router_solicitation_interval",
	"router_solicitations",
	"stable_secret",
	"suppress_frag_ndisc",
	"temp_prefered_lft",
	"temp_valid_lft",
	"use_oif_addrs_only",
	"use_optimistic",
	"use_tempaddr",
};

static const char *const unix_conf[] = { "max_dgram_qlen" };
static const char *const ipv4_conf[] = { "ping_group_range" };

/* An array of settings: below which folder of /proc/sys/net. */
struct conf_array {
	const char *const *names;
	size_t n;
};

static const struct conf_array arrays[] = {
	{ conf4, ARRAY_SIZE(conf4) },
	{ conf6, ARRAY_SIZE(conf6) },
	{ unix_conf, ARRAY_SIZE(unix_conf) },
	{ ipv4_conf, ARRAY_SIZE(ipv4_conf) },
};

enum { CONF4, CONF6, UNIX, IPV4 };

static bool is_text(const char *name)
{
	return !strcmp(name, "stable_secret") || !strcmp(name, "ping_group_range");
}

static int open_folder(const char *family, const char *device)
{
	char path[128];

	snprintf(path, sizeof(path), "/proc/sys/net/%s%s%s", family, device ? "/conf/" : "", device ?: "");
	return open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* The value without its newline; false where the file is missing or tells nothing (stable_secret that is not set). */
static bool read_value(int folder, const char *name, char *value, size_t size)
{
	_cleanup_close_ int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, value, size - 1);

	if (n < 0)
		return false;
	value[n] = 0;
	value[strcspn(value, "\n")] = 0;
	return true;
}

/* Of no group, as each new namespace has. CRIU leaves it out: a user namespace without these groups cannot set it. */
static bool is_left_out(const char *name, const char *value)
{
	return !strcmp(name, "ping_group_range") && !strcmp(value, "1\t0");
}

static void look_at_array(struct net *net, const struct conf_array *a, int folder, SysctlEntry ***out, size_t *n_out)
{
	SysctlEntry **all = arena_array(net->arena, SysctlEntry *, a->n);

	for (size_t i = 0; i < a->n; i++) {
		SysctlEntry *e = all[i] = arena_msg(net->arena, SysctlEntry, sysctl_entry);
		char value[256];
		bool is_there =
		    read_value(folder, a->names[i], value, sizeof(value)) && !is_left_out(a->names[i], value);

		e->type = is_text(a->names[i]) ? SYSCTL_TYPE__CTL_STR : SYSCTL_TYPE__CTL_32;
		if (is_there && e->type == SYSCTL_TYPE__CTL_STR) {
			e->sarg = arena_strdup(net->arena, value);
		} else if (is_there) {
			e->has_iarg = true;
			e->iarg = (int32_t)strtol(value, NULL, 10);
		}
	}
	*out = all;
	*n_out = a->n;
}

/* Without IPv6 in the kernel, or on a device with a small MTU, there is no folder. */
static void look_at_folder(struct net *net, int which, const char *family, const char *device, SysctlEntry ***out,
                           size_t *n_out)
{
	_cleanup_close_ int folder = open_folder(family, device);

	if (folder >= 0)
		look_at_array(net, &arrays[which], folder, out, n_out);
}

int net_conf_look(struct net *net)
{
	NetnsEntry *m = net->m;

	look_at_folder(net, CONF4, "ipv4", "default", &m->def_conf4, &m->n_def_conf4);
	look_at_folder(net, CONF4, "ipv4", "all", &m->all_conf4, &m->n_all_conf4);
	look_at_folder(net, CONF6, "ipv6", "default", &m->def_conf6, &m->n_def_conf6);
	look_at_folder(net, CONF6, "ipv6", "all", &m->all_conf6, &m->n_all_conf6);
	look_at_folder(net, UNIX, "unix", NULL, &m->unix_conf, &m->n_unix_conf);
	look_at_folder(net, IPV4, "ipv4", NULL, &m->ipv4_sysctl, &m->n_ipv4_sysctl);
	for (size_t i = 0; i < net->n_devs; i++) {
		NetDeviceEntry *e = net->devs[i];

		look_at_folder(net, CONF4, "ipv4", e->name, &e->conf4, &e->n_conf4);
		look_at_folder(net, CONF6, "ipv6", e->name, &e->conf6, &e->n_conf6);
	}
	return 0;
}

bool net_conf_has(const char *name)
{
	const char *file = strrchr(name, '/') + 1;
	int which = !strncmp(name, "ipv4/conf/", 10) ? CONF4 : !strncmp(name, "ipv6/conf/", 10) ? CONF6 : -1;

	if (which < 0)
		return !strcmp(name, "unix/max_dgram_qlen") || !strcmp(name, "ipv4/ping_group_range");
	for (size_t i = 0; i < arrays[which].n; i++)
		if (!strcmp(arrays[which].names[i], file))
			return true;
	return false;
}

/* ---- restore ---- */

/* Errors of files that this kernel does not have are warnings where CRIU's are, and with --weak-sysctls. */
static int write_value(struct restore *r, int folder, const char *where, const char *name, const char *value)
{
	_cleanup_close_ int fd = openat(folder, name, O_WRONLY | O_CLOEXEC);
	size_t len = strlen(value);

	if (fd >= 0 && write(fd, value, len) == (ssize_t)len)
		return 0;
	if (errno == ENOENT || r->opts->weak_sysctls) {
		log_warn("net/%s/%s: %s could not be written: %s", where, name, value, strerror(errno));
		return 0;
	}
	if (fd < 0)
		return log_errno(-errno, "open of net/%s/%s, to write %s (--weak-sysctls passes over it)", where, name,
		                 value);
	return log_errno(-errno, "write of %s to net/%s/%s (--weak-sysctls passes over it)", value, where, name);
}

static int apply_one(struct restore *r, int folder, const char *where, const char *name, const SysctlEntry *e)
{
	char now[256], value[16];
	const char *wanted = e->type == SYSCTL_TYPE__CTL_STR ? e->sarg : e->has_iarg ? value : NULL;

	if (!wanted)
		return 0;
	snprintf(value, sizeof(value), "%d", e->iarg);
	if (read_value(folder, name, now, sizeof(now)) && !strcmp(now, wanted))
		return 0;
	/* The kernel makes -1 of it where a device has no autoconfiguration, and takes no such value. */
	if (e->has_iarg && e->iarg < 0 && !strcmp(name, "use_tempaddr"))
		return 0;
	return write_value(r, folder, where, name, wanted);
}

/* accept_dad by net_conf_no_dad(), the MTU when a device comes up. */
static bool is_changed_since(const char *name)
{
	return !strcmp(name, "accept_dad") || !strcmp(name, "mtu");
}

static int apply_again(struct restore *r, const char *device, SysctlEntry **v, size_t n)
{
	const struct conf_array *a = &arrays[CONF6];
	_cleanup_close_ int folder = n ? open_folder("ipv6", device) : -1;
	char where[64];
	int err = 0;

	snprintf(where, sizeof(where), "ipv6/conf/%s", device);
	for (size_t i = 0; folder >= 0 && !err && i < MIN(n, a->n); i++)
		if (is_changed_since(a->names[i]))
			err = apply_one(r, folder, where, a->names[i], v[i]);
	return err;
}

int net_conf_apply_again(struct restore *r, const struct net *net)
{
	int err = apply_again(r, "all", net->m->all_conf6, net->m->n_all_conf6)
	              ?: apply_again(r, "default", net->m->def_conf6, net->m->n_def_conf6);

	for (size_t i = 0; !err && i < net->n_devs; i++)
		err = apply_again(r, net->devs[i]->name, net->devs[i]->conf6, net->devs[i]->n_conf6);
	return err;
}

static int apply_array(struct restore *r, int which, const char *family, const char *device, SysctlEntry **v, size_t n)
{
	const struct conf_array *a = &arrays[which];
	_cleanup_close_ int folder = n ? open_folder(family, device) : -1;
	char where[64];
	int err = 0;

	if (!n)
		return 0;
	snprintf(where, sizeof(where), "%s%s%s", family, device ? "/conf/" : "", device ?: "");
	if (folder < 0) {
		log_warn("net/%s: not in this kernel: %s", where, strerror(errno));
		return 0;
	}
	for (size_t i = 0; !err && i < MIN(n, a->n); i++)
		err = apply_one(r, folder, where, a->names[i], v[i]);
	return err;
}

/* "all" before "default" before the devices: forwarding of all overwrites that of the others. */
static int apply_defaults(struct restore *r, const NetnsEntry *m)
{
	return apply_array(r, CONF4, "ipv4", "all", m->all_conf4, m->n_all_conf4)
	           ?: apply_array(r, CONF4, "ipv4", "default", m->def_conf4, m->n_def_conf4)
	           ?: apply_array(r, CONF6, "ipv6", "all", m->all_conf6, m->n_all_conf6)
	           ?: apply_array(r, CONF6, "ipv6", "default", m->def_conf6, m->n_def_conf6)
	           ?: apply_array(r, UNIX, "unix", NULL, m->unix_conf, m->n_unix_conf)
	           ?: apply_array(r, IPV4, "ipv4", NULL, m->ipv4_sysctl, m->n_ipv4_sysctl);
}

int net_conf_apply(struct restore *r, const struct net *net, bool devices)
{
	int err = devices ? 0 : apply_defaults(r, net->m);

	for (size_t i = 0; devices && !err && i < net->n_devs; i++) {
		const NetDeviceEntry *e = net->devs[i];

		err = apply_array(r, CONF4, "ipv4", e->name, e->conf4, e->n_conf4)
		          ?: apply_array(r, CONF6, "ipv6", e->name, e->conf6, e->n_conf6);
	}
	return err;
}

static void write_zero(const char *device)
{
	_cleanup_close_ int folder = open_folder("ipv6", device), fd = -1;

	if (folder >= 0)
		fd = openat(folder, "accept_dad", O_WRONLY | O_CLOEXEC);
	if (fd >= 0 && write(fd, "0", 1) != 1)
		log_debug("net/ipv6/conf/%s/accept_dad: write: %s", device, strerror(errno));
}

int net_conf_no_dad(const struct net *net)
{
	write_zero("all");
	for (size_t i = 0; i < net->n_devs; i++)
		write_zero(net->devs[i]->name);
	return 0;
}
