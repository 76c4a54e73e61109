/* SPDX-License-Identifier: GPL-2.0-only */
/* The stages of a dump and of a restore for what is in network namespaces of a tree's own. */
#include <fcntl.h>
#include <linux/sched.h>

#include "files/net_ns.h"
#include "lib/fault.h"
#include "lib/log.h"
#include "netdev/link.h"
#include "netdev/net_end.h"
#include "tree/inventory.h"
#include "tree/ns_given.h"
#include "tree/ns_ids.h"
#include "tree/subsys.h"
#include "inventory.pb-c.h"

static struct net *add_net(struct arena *a, struct net_all *all, uint32_t id)
{
	struct net *net = arena_new_of(a, struct net);

	net->arena = a;
	net->id = id;
	arena_push(a, &all->v, &all->n, net);
	return net;
}

/* ---- dump ---- */

/* In the namespace that is looked at first: one user namespace owns both, so that an ordinary user's criu may go from
 * the one to the other. */
static int make_fresh(struct net_fresh *fresh)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	int err = fresh->fd ? 0 : net_visit_new(&v);

	if (err)
		return log_errno(err, "unshare(CLONE_NEWNET), to see what settings a new namespace has");
	if (fresh->fd)
		return 0;
	fresh->arena = arena_new();
	fresh->fd = fresh->arena ? open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC) : -1;
	return fresh->fd < 0 ? log_errno(-errno, "open of /proc/thread-self/ns/net") : 0;
}

static int look_at_content(struct dump *d, struct net *net, struct net_fresh *fresh)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	int err = net_ns_visit_dumped(d, net->id, &v);

	err = err ?: make_fresh(fresh) ?: link_look_all(d, net);
	err = err ?: net_conf_look(net);
	err = err ?: net_sysctl_look(net, fresh);
	err = err ?: net_lists_look(net, fresh->fd) ?: net_qdisc_look(net);
	err = err ?: firewall_look(net) ?: conntrack_look(net);
	if (!err)
		net_refuse_look(net);
	return err;
}

static void end_fresh(struct dump *d)
{
	struct net_fresh *fresh = &((struct net_all *)dump_state(d, &netdev_subsys))->fresh;

	if (fresh->fd > 0)
		close(fresh->fd);
	if (fresh->arena)
		arena_free(fresh->arena);
	*fresh = (struct net_fresh) { 0 };
}

/* One that only descriptors of the tree hold is the tree's; a copy of another program's would be no way back to it. */
static void refuse_stranger(struct dump *d, const struct ns *ns)
{
	const char *holder = ns->pid < 0 ? net_holder(d, ns, false) : NULL;

	if (holder)
		log_refusal(
		    -ENOTSUP,
		    "a socket or descriptor of the tree belongs to the network namespace net:[%llu], which is held by "
		    "%s outside of the tree: dump a tree with both, or close it before the dump",
		    (unsigned long long)ns->ino, holder);
}

/* A restore makes another one, which has no name, and whose devices may need names outside that the old one has. */
static void warn_of_name(const struct ns *ns)
{
	if (net_has_name(ns, "self"))
		log_warn("network namespace net:[%llu] has a name (ip netns) and stays when its tasks are gone; a "
		         "restore makes a new one, or with --join-ns net:FILE takes the tasks back there",
		         (unsigned long long)ns->ino);
}

static int look_at_all(struct dump *d)
{
	struct net_all *all = dump_state(d, &netdev_subsys);
	const struct ns_ids *ids = ns_ids_all(d);
	int err = 0;

	for (size_t i = 0; !err && i < ids->n; i++) {
		struct net *net;

		if (ids->all[i].type->flag != CLONE_NEWNET || ids->all[i].id <= NAMESPACE_TYPES || ids->all[i].external)
			continue;
		refuse_stranger(d, &ids->all[i]);
		warn_of_name(&ids->all[i]);
		net = add_net(d->arena, all, ids->all[i].id);
		net->m = arena_msg(d->arena, NetnsEntry, netns_entry);
		if (d->opts->empty_net_ns)
			continue;
		err = look_at_content(d, net, &all->fresh);
	}
	return err;
}

/* What CRIU would pass over. */
static bool is_only_ours(const struct net *net)
{
	bool is = net->m->n_sysctls || net->text[NET_IPSETS].n || net->expectations.n;

	for (size_t i = NET_NEIGHBOURS; i < NET_LISTS; i++)
		is |= net->list[i].n;
	for (size_t i = 0; i < net->n_devs; i++)
		is |= net->devs[i]->alias || net->devs[i]->has_group || net->devs[i]->has_token ||
		      net->devs[i]->n_altnames || net->devs[i]->has_tx_queues || net->devs[i]->has_rx_queues ||
		      net->devs[i]->has_gso_max_size || net->devs[i]->has_gso_max_segs ||
		      net->devs[i]->has_gro_max_size;
	return is;
}

static int write_all(struct dump *d)
{
	const struct net_all *all = dump_state(d, &netdev_subsys);
	int err = 0;

	for (size_t i = 0; !err && i < all->n; i++)
		err = net_images_write(d, all->v[i]);
	for (size_t i = 0; i < all->n; i++)
		if (is_only_ours(all->v[i]))
			inventory_only_ours(d);
	return err;
}

/* ---- restore ---- */

static int read_and_check(struct restore *r, uint32_t id)
{
	struct net *net = add_net(r->arena, restore_state(r, &netdev_subsys), id);

	net->ours = r->inventory->tool_version;
	return net_images_read(r, net) ?: link_check_all(r, net);
}

/* When all that are going to be made are known. */
static int check_all(struct restore *r)
{
	const uint32_t *ids;
	size_t n = net_ns_expected(r, &ids);
	int err = 0;

	for (size_t i = 0; !err && !r->opts->empty_net_ns && i < n; i++)
		err = read_and_check(r, ids[i]);
	return err;
}

/* Calls fn for each namespace, in it. */
static int each_net(struct restore *r, int (*fn)(struct restore *r, const struct net *net))
{
	const struct net_all *all = restore_state(r, &netdev_subsys);
	int err = 0;

	for (size_t i = 0; !err && i < all->n; i++) {
		_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;

		if (!all->v[i]->n_devs) /* it was saved empty: --empty-ns */
			continue;
		err = net_ns_visit(r, all->v[i]->id, &v) ?: fn(r, all->v[i]);
	}
	return err;
}

/* New IPv6 addresses are used at once: their duplicates were looked for when they were new. */
static int raise_devices(struct restore *r, const struct net *net)
{
	int err = link_tokens_apply(net) ?: net_conf_apply(r, net, false) ?: net_conf_apply(r, net, true);

	err = err ?: net_sysctl_apply(r, net) ?: net_conf_no_dad(net);
	return err ?: link_raise_all(r, net);
}

static int add_addresses(struct restore *r, const struct net *net)
{
	int err = net_lists_apply(net, NET_ADDRS);

	net_lists_await_addresses();
	err = err ?: net_conf_apply_again(r, net);
	return err ?: link_finish_all(r, net);
}

static int add_routes(struct restore *r, const struct net *net)
{
	static const enum net_list order[] = { NET_NEXTHOPS, NET_ROUTES,     NET_ROUTES6,
		                               NET_RULES,    NET_NEIGHBOURS, NET_ADDRLABELS };
	int err = 0;

	for (size_t i = 0; !err && i < ARRAY_SIZE(order); i++)
		err = net_lists_apply(net, order[i]);
	err = err ?: net_qdisc_apply(net) ?: firewall_apply(net);
	return err ?: conntrack_apply(net);
}

static int fill_all(struct restore *r)
{
	const struct net_all *all = restore_state(r, &netdev_subsys);
	int err = net_end_take_back(r) ?: net_end_foresee(r);

	if (!all->n)
		return err;
	fault_point("network namespaces are made");
	err = err ?: link_make_all(r, all);
	err = err ?: each_net(r, raise_devices);
	fault_point("network devices are up");
	err = err ?: each_net(r, add_addresses);
	err = err ?: each_net(r, add_routes);
	fault_point("network namespaces are filled");
	return err;
}

const struct subsys netdev_subsys = {
	.name = "contents of network namespaces",
	.state = { .dump = sizeof(struct net_all), .restore = sizeof(struct net_all) },
	.collect = look_at_all,
	.write_images = write_all,
	.before_commit = net_end_prepare,
	.after_commit = net_end_all,
	.end = end_fresh,
	.check = check_all,
};

/* A row of its own: what is locked in a new namespace has to be locked before anything is in it. */
const struct subsys netdev_fill_subsys = { .name = "filling of network namespaces", .before_start = fill_all };
