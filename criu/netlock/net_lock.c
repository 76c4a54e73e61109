/* SPDX-License-Identifier: GPL-2.0-only */
#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <time.h>

#include "lib/log.h"
#include "netlock/net_lock.h"
#include "netlock/net_lock_rules.h"
#include "netlock/nft.h"
#include "uapi/nft_bits.h"

/* Types as nft(8) numbers them, so that it lists the sets: ipv4_addr 7, ipv6_addr 8, inet_service 13; 6 bits each. */
#define KEY_TYPE(addr) ((addr) << 18 | 13U << 12 | (addr) << 6 | 13U)

struct net_lock {
	struct nft_batch batch;
	const char *name;
	bool lifted;
};

static const char *const set_names[2] = { "tuples4", "tuples6" };

/* ---- table, sets, chains ---- */

static int add_table(struct nft_batch *b, const char *name, bool owned)
{
	struct nlmsghdr *h = nft_begin(b, NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL);
	struct nftnl_table *t = nftnl_table_alloc();

	if (h && t) {
		nftnl_table_set_str(t, NFTNL_TABLE_NAME, name);
		if (owned)
			nftnl_table_set_u32(t, NFTNL_TABLE_FLAGS, TABLE_F_OWNER);
		nftnl_table_nlmsg_build_payload(h, t);
		nft_end(b, h);
	}
	if (t)
		nftnl_table_free(t);
	return h && t ? 0 : -ENOMEM;
}

static struct nftnl_set *new_set(const char *table, int which)
{
	const uint8_t addr = which ? 16 : 4, fields[4] = { addr, 2, addr, 2 };
	struct nftnl_set *s = nftnl_set_alloc();

	if (!s)
		return NULL;
	nftnl_set_set_str(s, NFTNL_SET_TABLE, table);
	nftnl_set_set_str(s, NFTNL_SET_NAME, set_names[which]);
	nftnl_set_set_u32(s, NFTNL_SET_ID, (uint32_t)which + 1);
	nftnl_set_set_u32(s, NFTNL_SET_FAMILY, NFPROTO_INET);
	nftnl_set_set_u32(s, NFTNL_SET_KEY_TYPE, which ? KEY_TYPE(8U) : KEY_TYPE(7U));
	nftnl_set_set_u32(s, NFTNL_SET_KEY_LEN, which ? TUPLE6_LEN : TUPLE4_LEN);
	nftnl_set_set_u32(s, NFTNL_SET_FLAGS, SET_F_CONCAT);
	nftnl_set_set_data(s, NFTNL_SET_DESC_CONCAT, fields, sizeof(fields));
	return s;
}

static int add_set(struct nft_batch *b, const char *table, int which)
{
	struct nlmsghdr *h = nft_begin(b, NFT_MSG_NEWSET, NLM_F_CREATE);
	struct nftnl_set *s = new_set(table, which);

	if (h && s) {
		nftnl_set_nlmsg_build_payload(h, s);
		nft_end(b, h);
	}
	if (s)
		nftnl_set_free(s);
	return h && s ? 0 : -ENOMEM;
}

static int add_chain(struct nft_batch *b, const char *table, const char *name, uint32_t hook, int priority)
{
	struct nlmsghdr *h = nft_begin(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
	struct nftnl_chain *c = nftnl_chain_alloc();

	if (h && c) {
		nftnl_chain_set_str(c, NFTNL_CHAIN_TABLE, table);
		nftnl_chain_set_str(c, NFTNL_CHAIN_NAME, name);
		nftnl_chain_set_str(c, NFTNL_CHAIN_TYPE, "filter");
		nftnl_chain_set_u32(c, NFTNL_CHAIN_HOOKNUM, hook);
		nftnl_chain_set_s32(c, NFTNL_CHAIN_PRIO, priority);
		nftnl_chain_nlmsg_build_payload(h, c);
		nft_end(b, h);
	}
	if (c)
		nftnl_chain_free(c);
	return h && c ? 0 : -ENOMEM;
}

/* ---- elements ---- */

static size_t key_of_tuple(const struct net_tuple *t, uint8_t *key)
{
	size_t len = t->family == AF_INET ? 4 : 16;

	/* Each part takes whole registers of 4 bytes. */
	memset(key, 0, TUPLE6_LEN);
	memcpy(key, t->local, len);
	memcpy(key + len, &t->local_port, 2);
	memcpy(key + len + 4, t->remote, len);
	memcpy(key + 2 * len + 4, &t->remote_port, 2);
	return 2 * len + 8;
}

static int add_element(struct nftnl_set *s, const struct net_tuple *t)
{
	struct nftnl_set_elem *e = nftnl_set_elem_alloc();
	uint8_t key[TUPLE6_LEN];
	size_t len = key_of_tuple(t, key);

	if (!e)
		return -ENOMEM;
	nftnl_set_elem_set(e, NFTNL_SET_ELEM_KEY, key, (uint32_t)len);
	nftnl_set_elem_add(s, e);
	return 0;
}

static int send_elements(struct nft_batch *b, struct nftnl_set *s)
{
	struct nftnl_set_elems_iter *i = nftnl_set_elems_iter_create(s);
	int more = 1;

	if (!i)
		return -ENOMEM;
	while (more > 0) {
		struct nlmsghdr *h = nft_begin(b, NFT_MSG_NEWSETELEM, NLM_F_CREATE);

		if (!h)
			break;
		more = nftnl_set_elems_nlmsg_build_payload_iter(h, i);
		nft_end(b, h);
	}
	nftnl_set_elems_iter_destroy(i);
	return more > 0 ? -ENOMEM : 0;
}

static int add_elements(struct nft_batch *b, const char *table, int which, const struct net_tuple *tuples, size_t n)
{
	struct nftnl_set *s = new_set(table, which);
	size_t added = 0;
	int err = s ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < n; i++) {
		if ((tuples[i].family == AF_INET6) != which)
			continue;
		err = add_element(s, &tuples[i]);
		added++;
	}
	if (!err && added)
		err = send_elements(b, s);
	if (s)
		nftnl_set_free(s);
	return err;
}

/* ---- the lock ---- */

static int add_lock_table(struct nft_batch *b, const struct net_lock_spec *spec, const struct net_tuple *tuples,
                          size_t n)
{
	int priority = spec->kind == NET_LOCK_RESTORE ? NET_LOCK_PRIORITY_RESTORE : NET_LOCK_PRIORITY, err;

	err = add_table(b, spec->name, spec->kind != NET_LOCK_LASTING);
	for (int which = 0; !err && which < 2; which++)
		err = add_set(b, spec->name, which) ?: add_elements(b, spec->name, which, tuples, n);
	if (!err)
		err = add_chain(b, spec->name, "in", NF_INET_PRE_ROUTING, priority)
		          ?: add_chain(b, spec->name, "local", NF_INET_LOCAL_IN, priority)
		          ?: add_chain(b, spec->name, "out", NF_INET_LOCAL_OUT, priority);
	if (!err && spec->before)
		err = add_chain(b, spec->name, "pre", NF_INET_LOCAL_OUT, NET_LOCK_PRIORITY_PRE);
	if (!err && spec->kind == NET_LOCK_RESTORE)
		err = add_chain(b, spec->name, "own", NF_INET_LOCAL_OUT, NET_LOCK_PRIORITY_OWN);
	for (int which = 0; !err && which < 2; which++)
		err = net_lock_rules_add(b, set_names[which], which, spec);
	return err;
}

static const char *lock_hint(int err)
{
	switch (err) {
	case -EPERM:
		return "; CAP_NET_ADMIN is needed in the tree's network namespace, or --network-lock skip";
	case -EINVAL: /* before 5.12: no owned tables */
	case -EOPNOTSUPP:
	case -EPROTONOSUPPORT:
	case -ENOENT:
		return "; this kernel lacks parts of nf_tables (owned tables, sets, notrack): --network-lock iptables";
	case -EEXIST:
		return "; a table of this name exists already: criu unlock -D removes the lock that an earlier dump "
		       "left";
	default:
		return "";
	}
}

int net_lock_take(struct arena *a, const struct net_lock_spec *spec, const struct net_tuple *tuples, size_t n,
                  struct net_lock **lockp)
{
	struct net_lock *lock = arena_new_of(a, struct net_lock);
	int err = nft_open(&lock->batch);

	lock->name = arena_strdup(a, spec->name);
	if (!err) {
		err = add_lock_table(&lock->batch, spec, tuples, n) ?: nft_commit(&lock->batch);
		if (err)
			log_errno(err, "locking %zu connections (nftables, table inet %s)%s", n, spec->name,
			          lock_hint(err));
	}
	if (err || spec->kind == NET_LOCK_LASTING)
		nft_close(&lock->batch);
	else
		*lockp = lock;
	return err;
}

static int put_removal(struct nft_batch *b, const char *name)
{
	struct nlmsghdr *h = nft_begin(b, NFT_MSG_DELTABLE, 0);
	struct nftnl_table *t = nftnl_table_alloc();

	if (h && t) {
		nftnl_table_set_str(t, NFTNL_TABLE_NAME, name);
		nftnl_table_nlmsg_build_payload(h, t);
		nft_end(b, h);
	}
	if (t)
		nftnl_table_free(t);
	return h && t ? 0 : -ENOMEM;
}

int net_lock_lift(struct net_lock *lock, const char *lasting)
{
	struct nft_batch *b = &lock->batch;
	int err = put_removal(b, lock->name);

	if (!err && lasting)
		err = put_removal(b, lasting);
	err = err ?: nft_commit(b);
	lock->lifted = !err;
	if (err && lasting) /* one of them is gone already: remove each by itself */
		err = net_lock_lift(lock, NULL) ?: net_lock_remove(lasting);
	return err == -ENOENT ? 0 : err;
}

void net_lock_drop(struct net_lock *lock)
{
	if (lock && lock->lifted)
		nft_close_unwaited(&lock->batch);
	else if (lock)
		nft_close(&lock->batch);
}

#define SOON_TIMES 3

/*
 * The end of a tree of mounts waits for an expedited grace period (linux/fs/namespace.c, namespace_unlock()): 0.1 ms,
 * in which all packets that were on their way through the kernel have got where they were going.
 */
bool net_lock_settle_soon(void)
{
	int fd = open_tree(AT_FDCWD, "/", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

void net_lock_settle(unsigned again)
{
	const struct timespec pause = { .tv_nsec = 2000000 };

	if (again < SOON_TIMES && net_lock_settle_soon())
		return;
	if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0)) /* EINVAL with nohz_full */
		nanosleep(&pause, NULL);
}

static int request_for_table(const char *name, uint16_t type)
{
	struct nft_batch b;
	int err = nft_open(&b);
	struct nlmsghdr *h = err ? NULL : nft_begin(&b, type, 0);
	struct nftnl_table *t = err ? NULL : nftnl_table_alloc();

	if (h && t) {
		nftnl_table_set_str(t, NFTNL_TABLE_NAME, name);
		nftnl_table_nlmsg_build_payload(h, t);
		nft_end(&b, h);
		err = type == NFT_MSG_GETTABLE ? nft_ask(&b) : nft_commit(&b);
	} else if (!err) {
		err = -ENOMEM;
	}
	if (t)
		nftnl_table_free(t);
	nft_close(&b);
	return err;
}

int net_lock_remove(const char *name)
{
	int err = request_for_table(name, NFT_MSG_DELTABLE);

	return err && err != -ENOENT ? log_errno(err, "removing the network lock (table inet %s)", name) : err;
}

int net_lock_exists(const char *name)
{
	int err = request_for_table(name, NFT_MSG_GETTABLE);

	if (err == -ENOENT)
		return 0;
	return err ?: 1;
}
