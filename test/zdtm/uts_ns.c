/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * UTS namespaces of the tree's own: two, a descriptor of one, tasks whose parents are in another one, and one that has
 * gone back to the host's. A name that is set afterwards reaches those, and only those, that are in the same.
 *
 * zdtm: needs-root
 * zdtm: iters 3
 * zdtm: no-userns enters namespaces of root
 */
#include <sched.h>
#include <sys/mman.h>
#include <sys/utsname.h>

#include "zdtm.h"

#define LONGEST "a-name-of-a-host-that-is-as-long-as-one-may-be-64-bytes-in-all-x"

static struct {
	int ready, told, done;
	char host[65];
} * sh;

static void check_names(const char *who, const char *node, const char *domain)
{
	struct utsname u;

	zdtm_check(!uname(&u), "%s: uname", who);
	zdtm_check(!strcmp(u.nodename, node), "%s: nodename is %s, not %s", who, u.nodename, node);
	zdtm_check(!domain || !strcmp(u.domainname, domain), "%s: domainname is %s, not %s", who, u.domainname, domain);
}

/* Each checks twice: before and after the main process has given its namespace another name. */
static void member(const char *who, const char *node, const char *domain, const char *then)
{
	__atomic_add_fetch(&sh->ready, 1, __ATOMIC_SEQ_CST);
	zdtm_wait();
	check_names(who, node, domain);
	__atomic_add_fetch(&sh->told, 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&sh->done, __ATOMIC_SEQ_CST))
		zdtm_nap();
	check_names(who, then, domain);
	_exit(0);
}

static void in_new(const char *node, const char *domain)
{
	zdtm_must(!unshare(CLONE_NEWUTS) && !sethostname(node, strlen(node)));
	zdtm_must(!setdomainname(domain, strlen(domain)));
}

static void start(void (*fn)(int), int arg)
{
	pid_t pid = fork();

	zdtm_must(pid >= 0);
	if (!pid)
		fn(arg);
}

static void sibling(int unused)
{
	member("a child in the same", "first", "one.example", "changed");
}

static void grandchild_of_other(int first)
{
	zdtm_must(!setns(first, CLONE_NEWUTS));
	member("one that entered its grandparent's", "first", "one.example", "changed");
}

static void other(int first)
{
	in_new(LONGEST, "");
	start(grandchild_of_other, first);
	member("the second namespace", LONGEST, "", LONGEST);
}

static void back(int host)
{
	zdtm_must(!setns(host, CLONE_NEWUTS));
	member("one that went back to the host's", sh->host, NULL, sh->host);
}

int main(void)
{
	int host = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC), first;
	struct stat a, b;

	zdtm_must(strlen(LONGEST) == 64);
	sh = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	zdtm_must(sh != MAP_FAILED && host >= 0 && !gethostname(sh->host, sizeof(sh->host)));
	in_new("first", "one.example");
	first = open("/proc/self/ns/uts", O_RDONLY | O_CLOEXEC);
	zdtm_must(first >= 0);
	start(sibling, 0);
	start(other, first);
	start(back, host);
	while (__atomic_load_n(&sh->ready, __ATOMIC_SEQ_CST) < 4)
		zdtm_nap();
	zdtm_ready();
	zdtm_wait();
	check_names("the first namespace", "first", "one.example");
	zdtm_check(!fstat(first, &a) && !stat("/proc/self/ns/uts", &b) && a.st_ino == b.st_ino, "its own");
	zdtm_check(!fstat(host, &a) && a.st_ino != b.st_ino, "the host's");
	while (__atomic_load_n(&sh->told, __ATOMIC_SEQ_CST) < 4)
		zdtm_nap();
	zdtm_check(!sethostname("changed", 7), "sethostname");
	__atomic_store_n(&sh->done, 1, __ATOMIC_SEQ_CST);
	while (wait(NULL) > 0)
		;
	check_names("the first namespace", "changed", "one.example");
	zdtm_pass();
}
