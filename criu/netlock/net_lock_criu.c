/* SPDX-License-Identifier: GPL-2.0-only */
#include <arpa/inet.h>
#include <string.h>

#include "netlock/ipt_run.h"
#include "lib/log.h"
#include "netlock/net_lock_criu.h"

/* CRIU's rules, as iptables-save writes them. */
#define RULE4 "-A %7s -s %63[^/]/32 -d %63[^/]/32 -p tcp -m mark ! --mark 0xc114 -m tcp --sport %hu --dport %hu -j DROP"
#define RULE6                                                                                                          \
	"-A %7s -s %63[^/]/128 -d %63[^/]/128 -p tcp -m mark ! --mark 0xc114 -m tcp --sport %hu --dport %hu -j DROP"

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
		return log_errno(-ENOMEM, "out of memory looking for CRIU's network lock");
	memcpy(sorted, tuples, n * sizeof(*tuples));
	qsort(sorted, n, sizeof(*tuples), compare_tuples);
	return ipt_look("filter", find_criu_rules, &w, remove, "CRIU's network lock");
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
