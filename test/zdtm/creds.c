/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Credentials: ids and groups, the five capability sets, securebits, no_new_privs, keepcaps, dumpable; another set of
 * them in a thread and in children.
 *
 * zdtm: needs-root
 * zdtm: restores 2
 * zdtm: flavour no pidns
 */
#include <grp.h>
#include <linux/capability.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>

#include "zdtm.h"
#include "zdtm_until.h"

/* The lines of our status that say who we are. */
static void who(char *buf, size_t len)
{
	static const char *const keys[] = { "Uid:", "Gid:", "Groups:", "Cap", "NoNewPrivs:", "Seccomp:" };
	char path[64], line[1000];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%ld/status", getpid(), syscall(SYS_gettid));
	zdtm_must((f = fopen(path, "re")) != NULL);
	*buf = 0;
	while (fgets(line, sizeof(line), f))
		for (unsigned i = 0; i < sizeof(keys) / sizeof(*keys); i++)
			if (!strncmp(line, keys[i], strlen(keys[i])))
				snprintf(buf + strlen(buf), len - strlen(buf), "%s", line);
	fclose(f);
	snprintf(buf + strlen(buf), len - strlen(buf), "securebits %x dumpable %d keep %d nnp %d\n",
	         prctl(PR_GET_SECUREBITS), prctl(PR_GET_DUMPABLE), prctl(PR_GET_KEEPCAPS),
	         prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
}

static void stay(const char *name)
{
	char before[4000], after[4000];

	who(before, sizeof(before));
	zdtm_wait();
	who(after, sizeof(after));
	zdtm_check(!strcmp(before, after), "%s was\n%snow\n%s", name, before, after);
}

static void set_caps(uint32_t eff, uint32_t perm, uint32_t inh)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = { { eff, perm, inh }, { 0, 0, 0 } };

	zdtm_must(!syscall(SYS_capset, &h, d));
}

/* Calls that glibc would carry out in all threads: here in this one only. */
static void *thread(void *arg)
{
	gid_t groups[] = { 7, 77 };

	zdtm_must(!syscall(SYS_setgroups, 2, groups) && !syscall(SYS_setresgid, 10, 11, 12));
	zdtm_must(!prctl(PR_SET_KEEPCAPS, 1) && !syscall(SYS_setresuid, 20, 21, 22));
	set_caps(1 << CAP_NET_RAW, 1 << CAP_NET_RAW | 1 << CAP_KILL, 1 << CAP_KILL);
	zdtm_must(!prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0));
	__atomic_store_n((int *)arg, 1, __ATOMIC_SEQ_CST);
	stay("the thread");
	return NULL;
}

static void user(void)
{
	zdtm_must(!setgroups(0, NULL) && !setresgid(1000, 1000, 1000) && !setresuid(1000, 1001, 1000));
	zdtm_must(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

static void many_groups(void)
{
	gid_t groups[300];

	for (int i = 0; i < 300; i++)
		groups[i] = 5000 + i;
	zdtm_must(!setgroups(300, groups));
	setfsuid(30);
	setfsgid(31);
}

static void bits(void)
{
	zdtm_must(!prctl(PR_CAPBSET_DROP, CAP_SYS_TIME) && !prctl(PR_CAPBSET_DROP, CAP_SYSLOG));
	zdtm_must(!prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_NO_SETUID_FIXUP | SECBIT_NOROOT_LOCKED));
	zdtm_must(!prctl(PR_SET_DUMPABLE, 0));
}

static void user_not_dumpable(void)
{
	user();
	zdtm_must(!prctl(PR_SET_DUMPABLE, 0));
}

static void user_dumpable(void)
{
	user();
	zdtm_must(!prctl(PR_SET_DUMPABLE, 1));
}

int main(void)
{
	static void (*const kinds[])(void) = { user, many_groups, bits, user_not_dumpable, user_dumpable };
	pid_t kids[5];
	pthread_t t;
	int status, up = 0;

	for (int i = 0; i < 5; i++) {
		zdtm_must((kids[i] = fork()) >= 0);
		if (!kids[i]) {
			char name[20];

			snprintf(name, sizeof(name), "child %d", i);
			kinds[i]();
			zdtm_up();
			stay(name);
			_exit(0);
		}
	}
	zdtm_until_up(5);
	zdtm_must(!pthread_create(&t, NULL, thread, &up));
	while (!__atomic_load_n(&up, __ATOMIC_SEQ_CST))
		zdtm_nap();
	zdtm_ready();
	stay("the root");
	for (int i = 0; i < 5; i++)
		zdtm_check(waitpid(kids[i], &status, 0) == kids[i] && !status, "child %d: status %x", i, status);
	pthread_join(t, NULL);
	zdtm_pass();
}
