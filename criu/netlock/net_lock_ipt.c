/* SPDX-License-Identifier: GPL-2.0-only */
#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

#include "netlock/ipt_run.h"
#include "lib/log.h"
#include "netlock/net_lock_ipt.h"

#define KEY_LEN 20 /* names of chains have up to 28 letters, of which "CRIU-o-" takes 7 */

/* The part of a name that our chains carry. Checked: the name may come from an image, and goes to iptables. */
static int chain_key(const char *name, char key[KEY_LEN + 1])
{
	size_t n = 0;

	if (strncmp(name, "CRIU-", 5))
		return -EINVAL;
	for (name += 5; *name && n < KEY_LEN; name++, n++) {
		if (!isalnum((unsigned char)*name) && *name != '-')
			return -EINVAL;
		key[n] = *name;
	}
	key[n] = 0;
	return n ? 0 : -EINVAL;
}

/* ---- rules ---- */

static void print_rule(FILE *f, const struct net_tuple *t, bool turned, const char *chain, const char *target)
{
	char a[INET6_ADDRSTRLEN] = "", b[INET6_ADDRSTRLEN] = "";

	inet_ntop(t->family, turned ? t->remote : t->local, a, sizeof(a));
	inet_ntop(t->family, turned ? t->local : t->remote, b, sizeof(b));
	fprintf(f, "-A %s -p tcp -s %s --sport %u -d %s --dport %u -j %s\n", chain, a,
	        ntohs(turned ? t->remote_port : t->local_port), b, ntohs(turned ? t->local_port : t->remote_port),
	        target);
}

/* For the packets to our sockets; both: for those from them as well. */
static void print_rule_of_each(FILE *f, int family, const char *chain, const char *target, bool both,
                               const struct net_tuple *tuples, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (tuples[i].family != family)
			continue;
		print_rule(f, &tuples[i], true, chain, target);
		if (both)
			print_rule(f, &tuples[i], false, chain, target);
	}
}

/* CRIU's rules would let CRIU's mark through alone, which shares bits with those that others drop (Kubernetes). */
static void print_pass(FILE *f, const char *pass, uint32_t mark)
{
	fprintf(f, "*filter\n:%s - [0:0]\n-A %s -j ACCEPT\n", pass, pass);
	for (int out = 0; out < 2; out++)
		fprintf(f, "-I %s 1 -p tcp -m mark --mark 0x%x -j %s\n", out ? "OUTPUT" : "INPUT", mark, pass);
	fputs("COMMIT\n", f);
}

static void print_lock(FILE *f, int family, const char *key, const struct net_lock_ipt_marks *marks,
                       const struct net_tuple *tuples, size_t n)
{
	char in[40], out[40], pass[40];

	snprintf(in, sizeof(in), "CRIU-i-%s", key);
	snprintf(out, sizeof(out), "CRIU-o-%s", key);
	snprintf(pass, sizeof(pass), "CRIU-m-%s", key);
	fprintf(f, "*raw\n:%s - [0:0]\n:%s - [0:0]\n:%s - [0:0]\n", in, out, pass);
	fprintf(f, "-A %s -m mark ! --mark 0x%x -j DROP\n-A %s -j CT --notrack\n", pass, marks->ours, pass);
	fprintf(f, "-A %s -j MARK --set-xmark 0x%x/0xffffffff\n-A %s -j ACCEPT\n", pass, marks->behind, pass);
	print_rule_of_each(f, family, out, pass, true, tuples, n);
	print_rule_of_each(f, family, in, "DROP", false, tuples, n);
	/* Packets over lo have passed OUTPUT. */
	fprintf(f, "-I OUTPUT 1 -p tcp -j %s\n-I PREROUTING 1 ! -i lo -p tcp -j %s\nCOMMIT\n", out, in);
	/* Translated packets have the socket's addresses only where they are delivered. */
	fprintf(f, "*mangle\n:%s - [0:0]\n", in);
	print_rule_of_each(f, family, in, "DROP", false, tuples, n);
	fprintf(f, "-I INPUT 1 ! -i lo -p tcp -j %s\nCOMMIT\n", in);
	if (marks->pass_filter)
		print_pass(f, pass, marks->behind);
}

static size_t count_family(int family, const struct net_tuple *tuples, size_t n)
{
	size_t found = 0;

	for (size_t i = 0; i < n; i++)
		found += tuples[i].family == family;
	return found;
}

static int lock_family(int which, const char *key, const struct net_lock_ipt_marks *marks,
                       const struct net_tuple *tuples, size_t n, int held)
{
	int family = which ? AF_INET6 : AF_INET, err;
	_cleanup_text_ FILE *rules = ipt_text();
	size_t wanted = count_family(family, tuples, n);
	char said[200];

	if (!wanted)
		return 0;
	if (!rules)
		return log_errno(-errno, "memfd_create for the rules of %s", ipt_restore_program(which));
	print_lock(rules, family, key, marks, tuples, n);
	err = ipt_feed(which, rules, held, said);
	if (err)
		return log_errno(err, "locking %zu connections by %s: %s", wanted, ipt_restore_program(which),
		                 err == -ENOENT ? "not installed" : said);
	return 0;
}

int net_lock_ipt_take(const char *name, const struct net_lock_ipt_marks *marks, const struct net_tuple *tuples,
                      size_t n, int held)
{
	char key[KEY_LEN + 1];
	int err = chain_key(name, key);

	if (err)
		return log_errno(err, "'%s' cannot be used in names of iptables chains", name);
	for (int which = 0; !err && which < 2; which++)
		err = lock_family(which, key, marks, tuples, n, held);
	if (err)
		net_lock_ipt_remove(name);
	return err;
}

/* ---- removing them ---- */

/* The part of one table in the output of iptables-save: what is found of ours. */
struct saved_table {
	char name[64]; /* "*raw" and the newline */
	bool begun;
	unsigned chains; /* bits, of "oim" */
};

static void begin_removal(struct saved_table *s, FILE *rules)
{
	if (!s->begun)
		fputs(s->name, rules);
	s->begun = true;
}

static void end_removal(struct saved_table *s, char of[3][40], FILE *rules)
{
	for (int what = 0; what < 2; what++)
		for (int i = 0; i < 3; i++)
			if (s->chains & 1U << i)
				fprintf(rules, "-%c %s\n", "FX"[what], of[i]);
	if (s->begun)
		fputs("COMMIT\n", rules);
}

/* A jump to one of our chains, from another chain. */
static bool is_jump(const char *line, char of[3][40])
{
	size_t len = strcspn(line, "\n");

	if (strncmp(line, "-A ", 3) || !strncmp(line, "-A CRIU-", 8))
		return false;
	for (int i = 0; i < 3; i++) {
		size_t n = strlen(of[i]);

		if (len > n + 4 && !strncmp(line + len - n, of[i], n) && !strncmp(line + len - n - 4, " -j ", 4))
			return true;
	}
	return false;
}

/* An ipt_find: only what is in the tables now is removed, since others may have changed or emptied them. */
static bool find_our_chains(FILE *tables, int which, const void *arg, FILE *rules)
{
	const char *key = arg;
	struct saved_table s = { 0 };
	char line[1024], of[3][40];
	bool found = false;

	for (int i = 0; i < 3; i++)
		snprintf(of[i], sizeof(of[i]), "CRIU-%c-%s", "oim"[i], key);
	while (fgets(line, sizeof(line), tables)) {
		if (line[0] == '*')
			s = (struct saved_table) { 0 };
		if (line[0] == '*')
			snprintf(s.name, sizeof(s.name), "%.60s", line);
		for (int i = 0; line[0] == ':' && i < 3; i++) {
			size_t n = strlen(of[i]);

			if (strncmp(line + 1, of[i], n) || line[1 + n] != ' ')
				continue;
			begin_removal(&s, rules);
			s.chains |= 1U << i;
			found = true;
		}
		if (is_jump(line, of)) {
			begin_removal(&s, rules);
			fprintf(rules, "-D%s", line + 2);
		}
		if (!strncmp(line, "COMMIT", 6))
			end_removal(&s, of, rules);
	}
	return found;
}

static int look_for_chains(const char *name, bool remove)
{
	char key[KEY_LEN + 1];

	return chain_key(name, key) ? 0 : ipt_look(NULL, find_our_chains, key, remove, "the network lock");
}

int net_lock_ipt_remove(const char *name)
{
	int found = look_for_chains(name, true);

	return found > 0 ? 0 : found ?: -ENOENT;
}

int net_lock_ipt_exists(const char *name)
{
	return look_for_chains(name, false);
}
