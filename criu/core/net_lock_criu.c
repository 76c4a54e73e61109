/* SPDX-License-Identifier: GPL-2.0-only */
#include <arpa/inet.h>
#include <string.h>

#include "core/ipt_run.h"
#include "core/log.h"
#include "core/net_lock_criu.h"

/* As iptables-save writes what CRIU has made. */
#define RULE4 "-A %7s -s %63[^/]/32 -d %63[^/]/32 -p tcp -m mark ! --mark 0xc114 -m tcp --sport %hu --dport %hu -j DROP"
#define RULE6                                                                                                          \
	"-A %7s -s %63[^/]/128 -d %63[^/]/128 -p tcp -m mark ! --mark 0xc114 -m tcp --sport %hu --dport %hu -j DROP"

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct net_tuple));
}

/* The connection that a rule is for, seen from here. */
static bool read_rule(const char *line, int family, struct net_tuple *t)
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

/* How many rules there are of these connections (sorted); what removes them goes into rules. */
static size_t put_removal(FILE *table, int family, const struct net_tuple *sorted, size_t n, FILE *rules)
{
	struct net_tuple t;
	char line[1024];
	size_t found = 0;

	fputs("*filter\n", rules);
	while (fgets(line, sizeof(line), table)) {
		if (!read_rule(line, family, &t) || !bsearch(&t, sorted, n, sizeof(t), compare))
			continue;
		fprintf(rules, "-D%s", line + 2);
		found++;
	}
	fputs("COMMIT\n", rules);
	return found;
}

static int look(int which, const struct net_tuple *sorted, size_t n, bool remove)
{
	_cleanup_text_ FILE *table = ipt_text();
	_cleanup_text_ FILE *rules = ipt_text();
	char said[200] = "";
	int ret;

	if (!table || !rules)
		return log_errno(-errno, "memory for what %s says", ipt_save_program(which));
	ret = ipt_save(which, "filter", table);
	if (ret) { /* not installed, no such table: no such rules */
		log_debug("%s ended with %d", ipt_save_program(which), ret);
		return 0;
	}
	if (!put_removal(table, which ? AF_INET6 : AF_INET, sorted, n, rules))
		return 0;
	ret = remove ? ipt_feed(which, rules, -1, said) : 0;
	return ret ? log_errno(ret, "removing CRIU's network lock by %s: %s", ipt_restore_program(which), said) : 1;
}

static int look_both(const struct net_tuple *tuples, size_t n, bool remove)
{
	_cleanup_free_ struct net_tuple *sorted = malloc((n + 1) * sizeof(*tuples));
	int v4, v6;

	if (!sorted)
		return log_errno(-ENOMEM, "looking for CRIU's network lock");
	memcpy(sorted, tuples, n * sizeof(*tuples));
	qsort(sorted, n, sizeof(*tuples), compare);
	v4 = look(0, sorted, n, remove);
	v6 = look(1, sorted, n, remove);
	return v4 < 0 ? v4 : v6 < 0 ? v6 : v4 || v6;
}

int criu_rules_there(const struct net_tuple *tuples, size_t n)
{
	return look_both(tuples, n, false);
}

int criu_rules_remove(const struct net_tuple *tuples, size_t n)
{
	int found = look_both(tuples, n, true);

	return found > 0 ? 0 : found ?: -ENOENT;
}
