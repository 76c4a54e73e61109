/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a device does for the kernel (ethtool -k): features that can be changed, by their names, "+name" or "-name".
 * Drivers with few of them, and namespaces that criu may not administer, say nothing.
 */
#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "lib/log.h"
#include "netdev/link.h"

#define FEATURES_MAX 512
#define BLOCKS       (FEATURES_MAX / 32)

/* The kernel's struct, which ends with an array that it does not give the length of, with room for that. */
#define WITH_ROOM(type, bytes)                                                                                         \
	union {                                                                                                        \
		struct type head;                                                                                      \
		uint8_t room[sizeof(struct type) + (bytes)];                                                           \
	}

struct feature_set {
	uint32_t n;
	char names[FEATURES_MAX][ETH_GSTRING_LEN];
	uint32_t available[BLOCKS], wanted[BLOCKS];
};

static int ask_device(int sock, const char *name, void *data)
{
	struct ifreq ifr = { .ifr_data = data };

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	return ioctl(sock, SIOCETHTOOL, &ifr) ? -errno : 0;
}

static int read_names(int sock, const char *device, struct feature_set *f)
{
	WITH_ROOM(ethtool_sset_info, sizeof(uint32_t)) set = { 0 };
	WITH_ROOM(ethtool_gstrings, sizeof(f->names)) all = { 0 };
	int err;

	set.head.cmd = ETHTOOL_GSSET_INFO;
	set.head.sset_mask = 1ULL << ETH_SS_FEATURES;
	err = ask_device(sock, device, &set);
	if (err || !set.head.sset_mask || !set.head.data[0] || set.head.data[0] > FEATURES_MAX)
		return err ?: -ENOTSUP;
	all.head.cmd = ETHTOOL_GSTRINGS;
	all.head.string_set = ETH_SS_FEATURES;
	all.head.len = f->n = set.head.data[0];
	err = ask_device(sock, device, &all);
	memcpy(f->names, all.head.data, sizeof(f->names));
	return err;
}

static int read_features(int sock, const char *device, struct feature_set *f)
{
	WITH_ROOM(ethtool_gfeatures, BLOCKS * sizeof(struct ethtool_get_features_block)) got = { 0 };
	int err = read_names(sock, device, f);

	got.head.cmd = ETHTOOL_GFEATURES;
	got.head.size = (f->n + 31) / 32;
	err = err ?: ask_device(sock, device, &got);
	for (uint32_t i = 0; !err && i < got.head.size && i < BLOCKS; i++) {
		f->available[i] = got.head.features[i].available & ~got.head.features[i].never_changed;
		f->wanted[i] = got.head.features[i].requested;
	}
	return err;
}

static bool has_bit(const uint32_t *bits, uint32_t i)
{
	return bits[i / 32] >> (i % 32) & 1;
}

void link_features_look(int sock, NetDeviceEntry *e, struct arena *a)
{
	struct feature_set f = { 0 };

	if (read_features(sock, e->name, &f))
		return;
	for (uint32_t i = 0; i < f.n; i++)
		if (has_bit(f.available, i) && *f.names[i]) {
			char *one =
			    arena_printf(a, "%c%.*s", has_bit(f.wanted, i) ? '+' : '-', ETH_GSTRING_LEN, f.names[i]);

			arena_push(a, &e->features, &e->n_features, one);
		}
}

static void set_bit(uint32_t *bits, uint32_t i, bool on)
{
	bits[i / 32] = (bits[i / 32] & ~(1U << (i % 32))) | (uint32_t)on << (i % 32);
}

/* Which differ from what is wanted now; *what: the last of them. */
static bool compare_features(const NetDeviceEntry *e, struct feature_set *f, uint32_t *valid, const char **what)
{
	bool any = false;

	for (size_t k = 0; k < e->n_features; k++)
		for (uint32_t i = 0; i < f->n; i++) {
			bool on = e->features[k][0] == '+';

			if (!has_bit(f->available, i) || has_bit(f->wanted, i) == on || !*e->features[k] ||
			    strncmp(e->features[k] + 1, f->names[i], ETH_GSTRING_LEN))
				continue;
			set_bit(valid, i, true);
			set_bit(f->wanted, i, on);
			*what = e->features[k];
			any = true;
		}
	return any;
}

void link_features_apply(int sock, const struct net *net, const NetDeviceEntry *e)
{
	WITH_ROOM(ethtool_sfeatures, BLOCKS * sizeof(struct ethtool_set_features_block)) set = { 0 };
	struct feature_set f = { 0 };
	uint32_t valid[BLOCKS] = { 0 };
	const char *what = "";
	int err;

	if (!e->n_features || read_features(sock, e->name, &f) || !compare_features(e, &f, valid, &what))
		return;
	set.head.cmd = ETHTOOL_SFEATURES;
	set.head.size = (f.n + 31) / 32;
	for (uint32_t i = 0; i < set.head.size; i++)
		set.head.features[i] =
		    (struct ethtool_set_features_block) { .valid = valid[i], .requested = f.wanted[i] };
	err = ask_device(sock, e->name, &set);
	if (err)
		log_warn("network namespace %u: device %s: features (ethtool -K), %s among them: %s", net->id, e->name,
		         what, strerror(-err));
}
