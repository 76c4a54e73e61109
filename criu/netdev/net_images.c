/* SPDX-License-Identifier: GPL-2.0-only */
/* The files of a network namespace. Lists and texts are raw, as `ip ... save`, `nft list` and iptables-save write. */
#include <string.h>

#include "lib/log.h"
#include "netdev/netdev.h"

/* What the files of ip(8) begin with; 0: none. */
static const struct {
	enum image_type type;
	uint32_t magic;
} lists[NET_LISTS] = {
	[NET_ADDRS] = { IMG_IFADDR, 0x47361222 },   [NET_ROUTES] = { IMG_ROUTE, 0x45311224 },
	[NET_ROUTES6] = { IMG_ROUTE6, 0x45311224 }, [NET_RULES] = { IMG_RULE, 0x71706986 },
	[NET_NEIGHBOURS] = { IMG_COUNT, 0 },        [NET_NEXTHOPS] = { IMG_COUNT, 0 },
	[NET_ADDRLABELS] = { IMG_COUNT, 0 },        [NET_QDISCS] = { IMG_COUNT, 0 },
};

/* IMG_COUNT: none of its own. */
static const enum image_type texts[NET_TEXTS] = {
	[NET_IPSETS] = IMG_COUNT,
	[NET_NFTABLES] = IMG_NFTABLES,
	[NET_IPTABLES] = IMG_IPTABLES,
	[NET_IP6TABLES] = IMG_IP6TABLES,
};

/* ---- dump ---- */

static int write_raw(struct image_dir *dir, enum image_type type, uint32_t id, uint32_t magic,
                     const struct net_bytes *b)
{
	struct image *img;
	int err = image_create(dir, type, id, &img);

	if (err)
		return err;
	if (magic)
		err = image_write_raw(img, &magic, sizeof(magic));
	if (!err && b->n)
		err = image_write_raw(img, b->v, b->n);
	return image_close(img) ?: err;
}

static void put_bytes(const struct net_bytes *b, ProtobufCBinaryData *out, protobuf_c_boolean *has)
{
	*has = b->n;
	*out = (ProtobufCBinaryData) { .len = b->n, .data = (uint8_t *)b->v };
}

static void put_ours(const struct net *net)
{
	NetnsEntry *m = net->m;

	put_bytes(&net->list[NET_NEIGHBOURS], &m->neighbours, &m->has_neighbours);
	put_bytes(&net->list[NET_NEXTHOPS], &m->nexthops, &m->has_nexthops);
	put_bytes(&net->list[NET_ADDRLABELS], &m->addrlabels, &m->has_addrlabels);
	put_bytes(&net->list[NET_QDISCS], &m->qdiscs, &m->has_qdiscs);
	put_bytes(&net->text[NET_IPSETS], &m->ipsets, &m->has_ipsets);
	put_bytes(&net->expectations, &m->expectations, &m->has_expectations);
}

static int write_devices(struct image_dir *dir, const struct net *net)
{
	struct image *img;
	int err = image_create(dir, IMG_NETDEV, net->id, &img);

	if (err)
		return err;
	for (size_t i = 0; !err && i < net->n_devs; i++)
		err = image_write(img, net->devs[i]);
	return image_close(img) ?: err;
}

int net_images_write(struct dump *d, const struct net *net)
{
	int err;

	put_ours(net);
	err = image_write_one(d->dir, IMG_NETNS, net->id, net->m) ?: write_devices(d->dir, net);
	for (size_t i = 0; !err && i < NET_LISTS; i++)
		if (lists[i].magic)
			err = write_raw(d->dir, lists[i].type, net->id, lists[i].magic, &net->list[i]);
	for (size_t i = 0; !err && i < NET_TEXTS; i++)
		err = texts[i] == IMG_COUNT ? 0 : write_raw(d->dir, texts[i], net->id, 0, &net->text[i]);
	if (!err && net->conntrack.n)
		err = write_raw(d->dir, IMG_NETNF_CT, net->id, 0, &net->conntrack);
	return err;
}

/* ---- restore ---- */

#define RAW_MAX (256UL << 20)

static int read_raw(struct restore *r, enum image_type type, uint32_t id, uint32_t magic, struct net_bytes *b)
{
	_cleanup_image_ struct image *img = NULL;
	uint32_t found = magic;
	uint64_t n;
	int err = image_open(r->dir, type, id, &img);

	*b = (struct net_bytes) { 0 };
	if (err)
		return err == -ENOENT ? 0 : err;
	n = image_left(img);
	if (!n)
		return 0;
	if (n < (magic ? sizeof(magic) : 0) || n > RAW_MAX)
		return log_errno(-EBADMSG, "%s: has %llu bytes", image_name(img), (unsigned long long)n);
	if (magic) {
		err = image_read_raw(img, &found, sizeof(found));
		n -= sizeof(magic);
	}
	if (!err && found != magic)
		return log_errno(-EBADMSG, "%s: begins with %08x, not with %08x", image_name(img), found, magic);
	b->v = arena_alloc(r->arena, n + 1);
	b->n = n;
	return err ?: image_read_raw(img, b->v, n);
}

/* Each message is whole and has its attributes. */
static int check_list(const struct net *net, enum net_list which)
{
	int left = (int)net->list[which].n;
	const struct nlmsghdr *h = (const void *)net->list[which].v;
	const struct nlattr *tb[1];

	for (; left >= (int)sizeof(*h); h = mnl_nlmsg_next(h, &left))
		if (!mnl_nlmsg_ok(h, left) || mnl_nlmsg_get_payload_len(h) < net_list_head(which) ||
		    h->nlmsg_type != net_list_type(which) || rtnl_attrs(h, net_list_head(which), tb, 0))
			return log_errno(-EBADMSG, "the images of network namespace %u: a list of rtnetlink is damaged",
			                 net->id);
	return left ? log_errno(-EBADMSG, "the images of network namespace %u: a list of rtnetlink is cut", net->id)
	            : 0;
}

static int read_devices(struct restore *r, struct net *net)
{
	_cleanup_image_ struct image *img = NULL;
	int err = image_open(r->dir, IMG_NETDEV, net->id, &img);
	NetDeviceEntry *e;

	if (err)
		return err == -ENOENT ? 0 : err;
	while (!err && (err = image_read(img, &net_device_entry__descriptor, r->arena, &e)) > 0) {
		arena_push(r->arena, &net->devs, &net->n_devs, e);
		err = 0;
	}
	return err;
}

static struct net_bytes bytes_of(bool has, const ProtobufCBinaryData *b)
{
	return has ? (struct net_bytes) { .v = (char *)b->data, .n = b->len } : (struct net_bytes) { 0 };
}

static void take_ours(struct net *net)
{
	const NetnsEntry *m = net->m;

	net->list[NET_NEIGHBOURS] = bytes_of(m->has_neighbours, &m->neighbours);
	net->list[NET_NEXTHOPS] = bytes_of(m->has_nexthops, &m->nexthops);
	net->list[NET_ADDRLABELS] = bytes_of(m->has_addrlabels, &m->addrlabels);
	net->list[NET_QDISCS] = bytes_of(m->has_qdiscs, &m->qdiscs);
	net->text[NET_IPSETS] = bytes_of(m->has_ipsets, &m->ipsets);
	net->expectations = bytes_of(m->has_expectations, &m->expectations);
}

int net_images_read(struct restore *r, struct net *net)
{
	int err = image_read_one(r->dir, IMG_NETNS, net->id, r->arena, &net->m);

	if (err)
		return err == -ENOENT ? log_errno(err, "netns-%u.img", net->id) : err;
	err = read_devices(r, net);
	for (size_t i = 0; !err && i < NET_LISTS; i++)
		if (lists[i].magic)
			err = read_raw(r, lists[i].type, net->id, lists[i].magic, &net->list[i]);
	for (size_t i = 0; !err && i < NET_TEXTS; i++)
		err = texts[i] == IMG_COUNT ? 0 : read_raw(r, texts[i], net->id, 0, &net->text[i]);
	err = err ?: read_raw(r, IMG_NETNF_CT, net->id, 0, &net->conntrack);
	take_ours(net);
	for (size_t i = 0; !err && i < NET_LISTS; i++)
		err = check_list(net, i);
	return err;
}
