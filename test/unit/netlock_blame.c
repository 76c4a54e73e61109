/* SPDX-License-Identifier: GPL-2.0-only */
/* Which firewall rule drops a packet of ours; and that the default mark has no bit that others ask for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "options/options.h"
#include "netlock/net_lock_explain.h"
#include "unit_skip.h"

static struct arena *arena;

static struct dropped_packet packet(bool v6)
{
	struct dropped_packet p = { .mark = NETWORK_LOCK_MARK, .t = { .family = v6 ? AF_INET6 : AF_INET } };

	inet_pton(p.t.family, v6 ? "fd00::1" : "10.0.0.1", p.t.local);
	inet_pton(p.t.family, v6 ? "fd00::2" : "10.0.0.2", p.t.remote);
	p.t.local_port = htons(80);
	p.t.remote_port = htons(4711);
	p.except[0] = "CRIU-own";
	return p;
}

static void rules(const char *text)
{
	char line[4096];

	assert_int_equal(system("nft flush ruleset"), 0);
	snprintf(line, sizeof(line), "nft '%s'", text);
	assert_int_equal(system(line), 0);
}

/* Which table is blamed, "" for none. */
static const char *blamed(const struct dropped_packet *p)
{
	const char *text = net_lock_explain_drop(arena, p);

	return text ?: "";
}

#define OUT(prio, body) "chain o { type filter hook output priority " prio "; " body " }; "

static void by_mark(void **state)
{
	struct dropped_packet p = packet(false);

	rules("table inet a { " OUT("-460", "meta mark 0x3002 drop;") "}; table inet b { " OUT("0", "drop;") "}");
	assert_non_null(strstr(blamed(&p), "table inet a, chain o, handle "));
	/* Behind our own table the mark is gone. */
	rules("table inet a { " OUT("-440", "meta mark 0x3002 drop;") "}");
	assert_string_equal(blamed(&p), "");
	p.behind = NETWORK_LOCK_MARK;
	assert_non_null(strstr(blamed(&p), "table inet a"));
	p.behind = 0;
	rules("table ip a { " OUT("-460", "meta mark & 0x2 == 0x2 ct state new drop;") "}; table ip c { " OUT(
	    "-460", "meta mark & 0x4 == 0x4 drop;") "}; table ip b { " OUT("0", "ct state invalid drop;") "}");
	assert_non_null(strstr(blamed(&p), "table ip a"));
	rules("table ip a { " OUT("-460", "meta mark != 0 reject;") "}");
	assert_non_null(strstr(blamed(&p), "table ip a"));
}

static void by_address(void **state)
{
	struct dropped_packet p = packet(false), p6 = packet(true);

	rules("table ip a { " OUT("0", "ip daddr 10.0.0.3 drop; tcp dport 81 drop; udp dport 80 drop; accept;") "}");
	assert_string_equal(blamed(&p), "");
	rules("table ip a { " OUT("0", "ip saddr 10.0.0.0/24 tcp dport 80 drop;") "}");
	assert_non_null(strstr(blamed(&p), "table ip a"));
	assert_string_equal(blamed(&p6), "");
	rules("table ip6 a { " OUT("0", "ip6 daddr fd00::1 tcp sport 4711 drop;") "}");
	assert_string_equal(blamed(&p), "");
	assert_non_null(strstr(blamed(&p6), "table ip6 a"));
	rules("table inet a { " OUT("0", "tcp dport { 80, 443 } drop;") "}");
	assert_non_null(strstr(blamed(&p), "table inet a"));
	rules("table inet CRIU-own { " OUT("0", "drop;") "}");
	assert_string_equal(blamed(&p), "");
}

static void by_jump_and_policy(void **state)
{
	struct dropped_packet p = packet(false);

	rules("table ip a { chain x { drop; }; chain y { tcp dport 80 drop; }; " OUT("0",
	                                                                             "meta l4proto tcp jump y;") "}");
	assert_non_null(strstr(blamed(&p), "chain y"));
	rules("table ip a { chain i { type filter hook input priority 0; drop; }; }");
	assert_string_equal(blamed(&p), "");
	p.sent = true;
	assert_non_null(strstr(blamed(&p), "chain i"));
	p.sent = false;
	rules("table ip a { " OUT("0", "policy drop; tcp dport 81 accept;") "}");
	assert_non_null(strstr(blamed(&p), "the policy of chain o"));
	rules("table ip a { " OUT("0", "policy accept; tcp dport 81 accept;") "}");
	assert_string_equal(blamed(&p), "");
}

/* What lets it pass before the rule that would drop it. */
static void by_order(void **state)
{
	struct dropped_packet p = packet(false);

	rules("table ip a { " OUT("0", "tcp dport 80 accept; drop;") "}");
	assert_string_equal(blamed(&p), "");
	rules("table ip a { " OUT("0", "tcp dport 81 accept; ip saddr 10.0.0.2 reject; accept;") "}");
	assert_non_null(strstr(blamed(&p), "chain o, handle"));
	rules("table ip a { " OUT("0", "policy drop; tcp dport 80 accept;") "}");
	assert_string_equal(blamed(&p), "");
	rules("table ip a { " OUT("0", "policy drop; tcp dport 80 return; drop;") "}");
	assert_non_null(strstr(blamed(&p), "the policy of chain o"));
	rules("table ip a { chain y { tcp dport 80 return; drop; }; " OUT("0", "jump y;") "}");
	assert_string_equal(blamed(&p), "");
	/* One table's word is none of another's. */
	rules("table ip a { " OUT("0", "accept;") "}; table ip b { " OUT("5", "drop;") "}");
	assert_non_null(strstr(blamed(&p), "table ip b"));
	/* What is in sets is not known: the rule behind may be the one. */
	rules("table ip a { " OUT("0", "tcp dport { 80, 443 } accept; drop;") "}");
	assert_non_null(strstr(blamed(&p), "table ip a"));
}

static void by_tracking(void **state)
{
	struct dropped_packet p = packet(false);

	rules("table ip a { " OUT("0", "ct state established,related accept; ct state invalid drop;") "}");
	assert_non_null(strstr(blamed(&p), "table ip a"));
	p.untracked = true;
	assert_string_equal(blamed(&p), "");
	rules("table ip a { " OUT("0", "ct state untracked accept; drop;") "}");
	assert_string_equal(blamed(&p), "");
	rules("table ip a { " OUT("0", "policy drop; ct state established,related accept;") "}");
	assert_non_null(strstr(blamed(&p), "the policy of chain o"));
	rules("table ip a { " OUT("-310", "ct state untracked accept; ct mark 7 drop;") "}");
	assert_non_null(strstr(blamed(&p), "table ip a"));
}

static void by_comparison(void **state)
{
	static const struct {
		const char *rule;
		bool drops;
	} cases[] = {
		{ "tcp dport < 80 drop;", false },
		{ "tcp dport < 81 drop;", true },
		{ "tcp dport <= 79 drop;", false },
		{ "tcp dport <= 80 drop;", true },
		{ "tcp dport > 80 drop;", false },
		{ "tcp dport > 79 drop;", true },
		{ "tcp dport >= 81 drop;", false },
		{ "tcp dport >= 80 drop;", true },
		{ "tcp dport 70-90 drop;", true },
		{ "tcp dport 81-90 drop;", false },
		{ "tcp dport != 80 drop;", false },
		{ "meta nfproto ipv6 drop;", false },
		{ "meta nfproto ipv4 tcp dport 80 drop;", true },
		{ "meta mark set 5 tcp dport 80 drop;", true },
		{ "meta mark 0x3002-0x3010 drop;", false },
		{ "ip daddr . tcp dport { 10.0.0.1 . 80 } drop;", true },
		{ "ct mark set 4 log counter drop;", true },
		{ "tcp dport 80 tcp flags fin drop;", true },
		{ "tcp option maxseg size set 900 accept; ", false },
	};
	struct dropped_packet p = packet(false);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[300];

		snprintf(text, sizeof(text), "table inet a { chain o { type filter hook output priority 0; %s }; }",
		         cases[i].rule);
		rules(text);
		if (!*blamed(&p) == cases[i].drops)
			fail_msg("%s: %s", cases[i].rule, blamed(&p));
	}
}

/* What iptables makes of it: through nf_tables with matches of its own. */
static void by_iptables(void **state)
{
	struct dropped_packet p = packet(false);

	if (system("command -v iptables-nft >/dev/null"))
		unit_skip("needs iptables-nft");
	rules("");
	assert_int_equal(
	    system("iptables-nft -N KUBE-FIREWALL && iptables-nft -A OUTPUT -j KUBE-FIREWALL && "
	           "iptables-nft -A KUBE-FIREWALL -m comment --comment x -m mark --mark 0x8000/0x8000 -j DROP"),
	    0);
	assert_string_equal(blamed(&p), "");
	p.behind = 0x8000;
	assert_non_null(strstr(blamed(&p), "chain KUBE-FIREWALL, handle"));
	/* Matches that nf_tables has no words for may hold. */
	rules("");
	assert_int_equal(system("iptables-nft -A OUTPUT -p udp -m statistic --mode nth --every 1 --packet 0 -j DROP && "
	                        "iptables-nft -A OUTPUT -m comment --comment x -m statistic --mode nth --every 1 "
	                        "--packet 0 -j REJECT"),
	                 0);
	assert_non_null(strstr(blamed(&p), "table ip filter, chain OUTPUT, handle 3"));
}

/* criu(8), --network-lock-mark: bits that somebody sets or asks for, and the values that are used whole. */
static void nobodys_bits(void **state)
{
	static const struct {
		const char *who;
		uint32_t bits;
	} users[] = {
		{ "Kubernetes, drop", 0x8000 }, { "Kubernetes, masquerade", 0x4000 },
		{ "AWS VPC CNI", 0x80 },        { "Cilium", 0x0f00 },
		{ "Calico", 0xffff0000 },       { "Tailscale", 0xff0000 },
		{ "wg-quick, 0xca6c", 0xca6c }, { "Istio, 0x539", 0x539 },
		{ "CRIU, 0xc114", 0xc114 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(users); i++)
		if (NETWORK_LOCK_MARK & users[i].bits)
			fail_msg("0x%x has bits of %s: 0x%x", NETWORK_LOCK_MARK, users[i].who,
			         NETWORK_LOCK_MARK & users[i].bits);
	/* Rules that ask for any mark at all, or for small numbers (0, 1, 2 ... of policy routing), are told apart too.
	 */
	assert_true(NETWORK_LOCK_MARK > 0xfff);
}

static int in_a_network(void **state)
{
	arena = arena_new();
	return !arena;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_mark),     cmocka_unit_test(by_address),   cmocka_unit_test(by_jump_and_policy),
		cmocka_unit_test(by_order),    cmocka_unit_test(by_tracking),  cmocka_unit_test(by_comparison),
		cmocka_unit_test(by_iptables), cmocka_unit_test(nobodys_bits),
	};

	if (unshare(CLONE_NEWNET)) {
		printf("1..0 # SKIP no network namespace of our own: %s\n", strerror(errno));
		return 0;
	}
	return cmocka_run_group_tests(tests, in_a_network, NULL);
}
