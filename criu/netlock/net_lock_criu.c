/* SPDX-License-Identifier: GPL-2.0-only */
#include <arpa/inet.h>
#include <string.h>

#include "netlock/ipt_run.h"
#include "lib/log.h"
#include "netlock/net_lock_criu.h"
#include "format.h"

/* CRIU's rules, as iptables-save writes them. */
#define RULE4 "-A %7s -s %63[^/]/32 -d %63[^/]/32 -p tcp -m mark ! --mark 0xc114 -m tcp --sport %hu --dport %hu -j DROP"
#define RULE6                                                                                                          \
	"-A %7s -s %63[^/]/128 -d %63[^/]/128 -p tcp -m mark ! --mark 0xc114 -m tcp --sport %hu --dport %hu -j DROP"

static void print_criu_rule(FILE *f, const char *chain, const struct net_tuple *t, bool out)
{
	char local[INET6_ADDRSTRLEN] = "", remote[INET6_ADDRSTRLEN] = "";

	inet_ntop(t->family, t->local, local, sizeof(local));
	inet_ntop(t->family, t->remote, remote, sizeof(remote));
	fprintf(f, "-I %s 1 -p tcp -m mark ! --mark 0x%x -s %s --sport %u -d %s --dport %u -j DROP\n", chain,
	        NETWORK_LOCK_CRIU_MARK, out ? local : remote, ntohs(out ? t->local_port : t->remote_port),
	        out ? remote : local, ntohs(out ? t->remote_port : t->local_port));
}

/* First in their chains: a rule that accepts what belongs to a connection would let all through. */
static int lock_criu_family(int which, const struct net_tuple *tuples, size_t n, int held)
{
	_cleanup_text_ FILE *rules = ipt_text();
	size_t locked = 0;
	char said[200];
	int err;

	if (!rules)
		return log_errno(-errno, "memfd_create for the rules of %s", ipt_restore_program(which));
	fputs("*filter\n", rules);
	for (size_t i = 0; i < n; i++) {
		if (tuples[i].family != (which ? AF_INET6 : AF_INET))
			continue;
		print_criu_rule(rules, "INPUT", &tuples[i], false);
		print_criu_rule(rules, "OUTPUT", &tuples[i], true);
		locked++;
	}
	fputs("COMMIT\n", rules);
	err = locked ? ipt_feed(which, rules, held, said) : 0;
	if (err)
		return log_errno(err, "locking %zu connections by %s: %s", locked, ipt_restore_program(which),
		                 err == -ENOENT ? "not installed" : said);
	return 0;
}

int net_lock_criu_take(const struct net_tuple *tuples, size_t n, int held)
{
	int err = 0;

	for (int which = 0; !err && which < 2; which++)
		err = lock_criu_family(which, tuples, n, held);
	if (err)
		net_lock_criu_remove(tuples, n);
	return err;
}

static int compare_tuples(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct net_tuple));
}

/* The connection that a rule is for, seen from its socket here. */
static bool parse_criu_rule(const char *line, int family, struct net_tuple *t)
{
	char chain[8] = "", from[64], to[64];
	uint16_t sport, dport;
	bool out;

	if (sscanf(line, family == AF_INET ? RULE4 : RULE6, chain, from, to, &sport, &dport) != 5)
		return false;
	out = !strcmp(chain, "OUTPUT");
	if (!out && strcmp(chain, "INPUT"))
		return false;
	memset(t, 0, sizeof(*t));
	t->family = family;
	t->local_port = htons(out ? sport : dport);
	t->remote_port = htons(out ? dport : sport);
	return inet_pton(family, out ? from : to, t->local) == 1 && inet_pton(family, out ? to : from, t->remote) == 1;
}

struct sorted_tuples {
	const struct net_tuple *sorted;
	size_t n;
};

static bool find_criu_rules(FILE *saved, int which, const void *arg, FILE *rules)
{
	const struct sorted_tuples *w = arg;
	struct net_tuple t;
	char line[1024];
	bool found = false;

	fputs("*filter\n", rules);
	while (fgets(line, sizeof(line), saved)) {
		if (!parse_criu_rule(line, which ? AF_INET6 : AF_INET, &t) ||
		    !bsearch(&t, w->sorted, w->n, sizeof(t), compare_tuples))
			continue;
		fprintf(rules, "-D%s", line + 2);
		found = true;
	}
	fputs("COMMIT\n", rules);
	return found;
}

static int look_for_criu_rules(const struct net_tuple *tuples, size_t n, bool remove)
{
	_cleanup_free_ struct net_tuple *sorted = malloc((n + 1) * sizeof(*tuples));
	const struct sorted_tuples w = { sorted, n };

	if (!sorted)
		return log_errno(-ENOMEM, "out of memory looking for the network lock");
	memcpy(sorted, tuples, n * sizeof(*tuples));
	qsort(sorted, n, sizeof(*tuples), compare_tuples);
	return ipt_look("filter", find_criu_rules, &w, remove, "the network lock");
}

int net_lock_criu_exists(const struct net_tuple *tuples, size_t n)
{
	return look_for_criu_rules(tuples, n, false);
}

int net_lock_criu_remove(const struct net_tuple *tuples, size_t n)
{
	int found = look_for_criu_rules(tuples, n, true);

	return found > 0 ? 0 : found ?: -ENOENT;
}
