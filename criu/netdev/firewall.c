/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rules of nftables and of the older iptables, and sets (ipset(8)), as text: what `nft list ruleset`, iptables-save and
 * `ipset save` print. The programs
 * are wanted only where there are rules.
 */
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/ipset/ip_set.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <string.h>
#include <sys/mman.h>

#include "helper/run_program.h"
#include "lib/io.h"
#include "lib/log.h"
#include "netdev/netdev.h"

#define TEXT_MAX (64L << 20)

/* ---- programs ---- */

static int text_file(const void *text, size_t n)
{
	int fd = memfd_create("rules", MFD_CLOEXEC);
	int err = fd < 0 ? -errno : io_write_all(fd, text ?: "", n);

	if (err && fd >= 0)
		close(fd);
	if (!err)
		lseek(fd, 0, SEEK_SET);
	return err ?: fd;
}

/* Runs it here, in this namespace. *out: what it printed, in the arena. 0 or a negative errno (logged). */
static int run_tool(struct arena *a, const char *const *argv, const struct net_bytes *in, struct net_bytes *out)
{
	_cleanup_close_ int from = text_file(in ? in->v : NULL, in ? in->n : 0), to = text_file(NULL, 0),
	                    errors = text_file(NULL, 0);
	char said[300] = "";
	off_t n;
	int ret;

	if (from < 0 || to < 0 || errors < 0)
		return log_errno(MIN(MIN(from, to), errors), "memfd_create for %s", argv[0]);
	ret = run_program(argv, from, to, errors, -1);
	if (ret) {
		io_pread_all(errors, said, sizeof(said) - 1, 0);
		said[strcspn(said, "\n")] = 0;
		return ret < 0 ? log_errno(ret, "running %s (is it installed?)", argv[0])
		               : log_errno(-EIO, "%s exited with %d: %s", argv[0], ret, said);
	}
	n = lseek(to, 0, SEEK_END);
	if (!out || n <= 0)
		return 0;
	if (n > TEXT_MAX)
		return log_errno(-E2BIG, "%s printed %lld bytes", argv[0], (long long)n);
	out->v = arena_alloc(a, (size_t)n + 1);
	out->n = (size_t)n;
	return io_pread_all(to, out->v, out->n, 0) == n ? 0 : log_errno(-EIO, "reading what %s printed", argv[0]);
}

/* ---- text of nft ---- */

static size_t line_length(const char *at, const char *end)
{
	const char *newline = memchr(at, '\n', (size_t)(end - at));

	return (size_t)(newline ? newline + 1 - at : end - at);
}

static bool begins(const char *line, size_t len, const char *with)
{
	return len >= strlen(with) && !memcmp(line, with, strlen(with));
}

/* Copies the text but for blocks whose first line begins so, up to the line that closes them; and such lines. */
static void drop_text(struct arena *a, struct net_bytes *b, const char *block, const char *closes, const char *line)
{
	char *out = arena_alloc(a, b->n + 1);
	const char *at = b->v, *end = b->v + b->n;
	bool within = false;
	size_t n = 0;

	for (size_t len; at < end; at += len) {
		len = line_length(at, end);
		if (!within && begins(at, len, block)) {
			within = true;
		} else if (within) {
			within = !begins(at, len, closes);
		} else if (!(line && len >= strlen(line) && memmem(at, len, line, strlen(line)))) {
			memcpy(out + n, at, len);
			n += len;
		}
	}
	b->v = out;
	b->n = n;
}

/* ---- dump ---- */

static int count_table(const struct nlmsghdr *h, void *n)
{
	if (h->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWTABLE))
		++*(unsigned *)n;
	return MNL_CB_OK;
}

/* Whether there is any table of nftables. A kernel without them has none. */
static bool has_tables(void)
{
	char buf[8192] __attribute__((aligned(8)));
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
	unsigned tables = 0;
	ssize_t n;

	h->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETTABLE;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	if (nl && mnl_socket_sendto(nl, h, h->nlmsg_len) > 0)
		do
			n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
		while (n > 0 && mnl_cb_run(buf, (size_t)n, 0, 0, count_table, &tables) > 0);
	if (nl)
		mnl_socket_close(nl);
	return tables;
}

/* Our own locks (netlock/) are in the list. */
static int look_at_nft(struct net *net)
{
	static const char *const argv[] = { "nft", "list", "ruleset", NULL };
	struct net_bytes *b = &net->text[NET_NFTABLES];
	int err;

	if (!has_tables())
		return 0;
	err = run_tool(net->arena, argv, NULL, b);
	if (err)
		return err;
	drop_text(net->arena, b, "table inet CRIU-", "}", NULL);
	if (b->n && memmem(b->v, b->n, "xt match", 8))
		log_refusal(
		    -ENOTSUP,
		    "network namespace %u: nft shows rules of iptables that it has no words for (\"xt match\"), so "
		    "that they cannot be kept: remove them before the dump",
		    net->id);
	return 0;
}

/* The tables that a program has asked for: with none, the older iptables was not in use. */
static bool has_legacy(const char *file)
{
	char path[64], c;
	_cleanup_close_ int fd = -1;

	snprintf(path, sizeof(path), "/proc/thread-self/net/%s", file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd >= 0 && read(fd, &c, 1) == 1;
}

static int look_at_legacy(struct net *net, const char *file, const char *program, enum net_text which)
{
	const char *argv[] = { program, "-c", NULL };

	return has_legacy(file) ? run_tool(net->arena, argv, NULL, &net->text[which]) : 0;
}

static int count_set(const struct nlmsghdr *h, void *n)
{
	if (h->nlmsg_type == (NFNL_SUBSYS_IPSET << 8 | IPSET_CMD_LIST))
		++*(size_t *)n;
	return 0;
}

/* A kernel that has not loaded the part has no sets. */
static int count_ipsets(size_t *n)
{
	_cleanup_rtnl_ struct rtnl r = { 0 };
	struct nfgenmsg *g;
	struct nlmsghdr *h;
	int err;

	if (access("/sys/module/ip_set", F_OK) || rtnl_open_family(&r, NETLINK_NETFILTER))
		return 0;
	h = rtnl_message(&r, NFNL_SUBSYS_IPSET << 8 | IPSET_CMD_LIST, NLM_F_DUMP, sizeof(*g), &g);
	mnl_attr_put_u8(h, IPSET_ATTR_PROTOCOL, IPSET_PROTOCOL_MIN);
	err = rtnl_list_asked(&r, h, count_set, n);
	return err == -ENOENT || err == -EOPNOTSUPP || err == -EINVAL ? 0 : err;
}

static int look_at_ipsets(struct net *net)
{
	static const char *const argv[] = { "ipset", "save", NULL };

	size_t n = 0;
	int err = count_ipsets(&n);

	if (err)
		return log_errno(err, "network namespace %u: listing the sets of ipset by netlink", net->id);
	return n ? run_tool(net->arena, argv, NULL, &net->text[NET_IPSETS]) : 0;
}

int firewall_look(struct net *net)
{
	int err = look_at_nft(net);

	err = err ?: look_at_legacy(net, "ip_tables_names", "iptables-legacy-save", NET_IPTABLES);
	err = err ?: look_at_legacy(net, "ip6_tables_names", "ip6tables-legacy-save", NET_IP6TABLES);
	return err ?: look_at_ipsets(net);
}

/* ---- restore ---- */

static int apply_nft(const struct net *net)
{
	static const char *const argv[] = { "nft", "-f", "-", NULL };
	struct net_bytes b = net->text[NET_NFTABLES];

	/* Its own lock, which CRIU takes off after it has put the rules back. */
	if (!net->ours && b.n) {
		drop_text(net->arena, &b, "\tchain CRIU {", "\t}", "jump CRIU");
		drop_text(net->arena, &b, "table inet CRIU-", "}", NULL);
	}
	return b.n ? run_tool(net->arena, argv, &b, NULL) : 0;
}

static int apply_legacy(const struct net *net, enum net_text which, const char *ours, const char *crius)
{
	/* A lock of ours stays. */
	const char *argv[] = { net->ours ? ours : crius, "--noflush", net->ours ? "-c" : NULL, NULL };

	return net->text[which].n ? run_tool(net->arena, argv, &net->text[which], NULL) : 0;
}

/* Before the rules that look into them. */
static int apply_ipsets(const struct net *net)
{
	static const char *const argv[] = { "ipset", "restore", NULL };

	return net->text[NET_IPSETS].n ? run_tool(net->arena, argv, &net->text[NET_IPSETS], NULL) : 0;
}

int firewall_apply(const struct net *net)
{
	int err = apply_ipsets(net) ?: apply_nft(net);

	err = err ?: apply_legacy(net, NET_IPTABLES, "iptables-legacy-restore", "iptables-restore");
	return err ?: apply_legacy(net, NET_IP6TABLES, "ip6tables-legacy-restore", "ip6tables-restore");
}
