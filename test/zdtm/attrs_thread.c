/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the kernel keeps for each thread: one thread for each attribute sets it, and all look at all of theirs, so that
 * what one has does not come to another.
 *
 * zdtm: needs-root
 * zdtm: iters 3
 * zdtm: flavour no pidns
 */
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/ioprio.h>
#include <linux/keyctl.h>
#include <linux/mempolicy.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "zdtm.h"
#include "zdtm_until.h"

#define TEXT  400
#define SLICE 7000000

struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t prio;
	uint64_t runtime, deadline, period;
	uint32_t min, max;
};

static int sched(struct attr a)
{
	a.size = sizeof(a);
	return syscall(SYS_sched_setattr, 0, &a, 0);
}

static int batch(void)
{
	return sched((struct attr) { .policy = SCHED_BATCH, .nice = 3, .flags = 1 });
}

static int fifo(void)
{
	return sched((struct attr) { .policy = SCHED_FIFO, .prio = 4 });
}

static int deadline(void)
{
	return sched(
	    (struct attr) { .policy = 6, .flags = 1, .runtime = 5000000, .deadline = 20000000, .period = 40000000 });
}

static int reclaim(void)
{
	return sched(
	    (struct attr) { .policy = 6, .flags = 6, .runtime = 5000000, .deadline = 30000000, .period = 30000000 });
}

static int slice(void)
{
	return sched((struct attr) { .policy = SCHED_OTHER, .runtime = SLICE });
}

static int clamps(void)
{
	return sched((struct attr) { .policy = SCHED_OTHER, .flags = 0x60, .min = 100, .max = 700 });
}

static void get_sched(char *s)
{
	struct attr a = { 0 };

	zdtm_check(!syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0), "sched_getattr: %s", strerror(errno));
	snprintf(s, TEXT, "policy %u flags %lx nice %d prio %u runtime %lu deadline %lu period %lu clamps %u %u",
	         a.policy, a.flags, a.nice, a.prio, a.runtime, a.deadline, a.period, a.min, a.max);
}

static int set_policy(int mode, unsigned long nodes)
{
	return syscall(SYS_set_mempolicy, mode, nodes ? &nodes : NULL, nodes ? 64 : 0);
}

static int bind_node(void)
{
	return set_policy(MPOL_BIND | MPOL_F_NUMA_BALANCING, 1);
}

static int prefer(void)
{
	return set_policy(MPOL_PREFERRED, 1);
}

static int interleave(void)
{
	return set_policy(MPOL_INTERLEAVE | MPOL_F_STATIC_NODES, 1);
}

static int relative(void)
{
	return set_policy(MPOL_INTERLEAVE | MPOL_F_RELATIVE_NODES, 5);
}

static int local(void)
{
	return set_policy(MPOL_LOCAL, 0);
}

static void get_policy(char *s)
{
	unsigned long nodes[16] = { 0 };
	int mode = -1;

	syscall(SYS_get_mempolicy, &mode, nodes, 1024, NULL, 0);
	snprintf(s, TEXT, "mode %x nodes %lx", mode, nodes[0]);
}

static int io_level(void)
{
	return syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 6));
}

static int io_idle(void)
{
	return syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0));
}

static void get_io(char *s)
{
	snprintf(s, TEXT, "%lx flusher %d", syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0),
	         prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0));
}

static int io_flusher(void)
{
	return prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
}

static int no_tsc(void)
{
	return prctl(PR_SET_TSC, PR_TSC_SIGSEGV);
}

static int no_cpuid(void)
{
	return syscall(SYS_arch_prctl, 0x1012, 0);
}

static int early(void)
{
	return prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
}

static int late(void)
{
	return prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_LATE, 0, 0);
}

static void get_traps(char *s)
{
	int tsc = -1;

	prctl(PR_GET_TSC, &tsc);
	snprintf(s, TEXT, "tsc %d cpuid %ld mce %d", tsc, syscall(SYS_arch_prctl, 0x1011),
	         prctl(PR_MCE_KILL_GET, 0, 0, 0, 0));
}

static int no_bypass(void)
{
	return prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_STORE_BYPASS, PR_SPEC_FORCE_DISABLE, 0, 0);
}

static int no_branches(void)
{
	return prctl(PR_SET_SPECULATION_CTRL, PR_SPEC_INDIRECT_BRANCH, PR_SPEC_DISABLE, 0, 0);
}

static void get_speculation(char *s)
{
	snprintf(s, TEXT, "%x %x %x", prctl(PR_GET_SPECULATION_CTRL, 0, 0, 0, 0),
	         prctl(PR_GET_SPECULATION_CTRL, 1, 0, 0, 0), prctl(PR_GET_SPECULATION_CTRL, 2, 0, 0, 0));
}

static int cookie(void)
{
	return prctl(PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, PR_SCHED_CORE_SCOPE_THREAD, 0);
}

/* The number changes, but not whether there is one. */
static void get_cookie(char *s)
{
	unsigned long c = 0;

	snprintf(s, TEXT, "%d %d", prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, PR_SCHED_CORE_SCOPE_THREAD, &c), c != 0);
}

static int old_addresses(void)
{
	return personality(ADDR_COMPAT_LAYOUT | READ_IMPLIES_EXEC) == -1;
}

static int slack(void)
{
	return prctl(PR_SET_TIMERSLACK, 7777);
}

static int secure_bits(void)
{
	return prctl(PR_SET_SECUREBITS, SECBIT_NOROOT | SECBIT_KEEP_CAPS);
}

static int no_privileges(void)
{
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static int name(void)
{
	return prctl(PR_SET_NAME, "another (name)");
}

static void get_prctl(char *s)
{
	char comm[16] = "";

	prctl(PR_GET_NAME, comm);
	snprintf(s, TEXT, "personality %x slack %d bits %x nnp %d comm %s", personality(0xffffffff),
	         prctl(PR_GET_TIMERSLACK), prctl(PR_GET_SECUREBITS), prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), comm);
}

static int one_cpu(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

static void get_cpus(char *s)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	sched_getaffinity(0, sizeof(set), &set);
	snprintf(s, TEXT, "%lx", *(unsigned long *)&set);
}

static int ids(void)
{
	gid_t groups[] = { 5, 77 };

	return syscall(SYS_setgroups, 2, groups) || syscall(SYS_setresgid, 11, 12, 13) ||
	       syscall(SYS_setresuid, 1001, 1002, 1003);
}

static int less_caps(void)
{
	return prctl(PR_CAPBSET_DROP, CAP_WAKE_ALARM);
}

/* What /proc shows of the thread: ids, capabilities, filters. */
static void get_status(char *s)
{
	char path[64], line[4096];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%ld/status", syscall(SYS_gettid));
	f = fopen(path, "re");
	*s = 0;
	while (f && fgets(line, sizeof(line), f))
		if ((!strncmp(line, "Uid", 3) || !strncmp(line, "Gid", 3) || !strncmp(line, "Groups", 6) ||
		     !strncmp(line, "Cap", 3) || !strncmp(line, "Seccomp", 7)) &&
		    strlen(s) + strlen(line) < TEXT)
			strcat(s, line);
	if (f)
		fclose(f);
}

static int own_fs(void)
{
	return unshare(CLONE_FS) || chdir("/proc/self") || (umask(0123), 0);
}

static int own_root(void)
{
	return unshare(CLONE_FS) || mkdir(zdtm_path("root"), 0755) || chroot(zdtm_path("root")) || chdir("/");
}

static int user_keys(void)
{
	return syscall(SYS_keyctl, KEYCTL_SET_REQKEY_KEYRING, KEY_REQKEY_DEFL_USER_KEYRING) < 0;
}

/* A thread in a root of its own sees no /proc, and not the runner's files. */
static void get_fs(char *s)
{
	static pthread_mutex_t one =
	    PTHREAD_MUTEX_INITIALIZER; /* most threads have the mask in common, and the look changes it */
	char cwd[TEXT / 2] = "?";
	mode_t mask;

	pthread_mutex_lock(&one);
	mask = umask(0);
	umask(mask);
	pthread_mutex_unlock(&one);
	syscall(SYS_getcwd, cwd, sizeof(cwd));
	snprintf(s, TEXT, "umask %o cwd %s keys %ld", mask, cwd,
	         syscall(SYS_keyctl, KEYCTL_SET_REQKEY_KEYRING, KEY_REQKEY_DEFL_NO_CHANGE));
}

static int filter_with(int err)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | err),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = { 4, f };

	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p, 0, 0);
}

static int filter(void)
{
	return filter_with(55);
}

static int two_filters(void)
{
	return filter_with(55) || filter_with(66);
}

static void get_filter(char *s)
{
	errno = 0;
	syscall(SYS_getpgid, 0x3fffffff);
	snprintf(s, TEXT, "%d", errno);
}

static const struct {
	const char *name;
	int (*set)(void);
} attrs[] = {
	{ "SCHED_BATCH", batch },
	{ "SCHED_FIFO", fifo },
	{ "SCHED_DEADLINE", deadline },
	{ "SCHED_DEADLINE with flags", reclaim },
	{ "slice", slice },
	{ "utilisation clamps", clamps },
	{ "MPOL_BIND", bind_node },
	{ "MPOL_PREFERRED", prefer },
	{ "MPOL_INTERLEAVE", interleave },
	{ "MPOL_F_RELATIVE_NODES", relative },
	{ "MPOL_LOCAL", local },
	{ "I/O level", io_level },
	{ "idle I/O", io_idle },
	{ "I/O flusher", io_flusher },
	{ "no TSC", no_tsc },
	{ "no CPUID", no_cpuid },
	{ "early kill", early },
	{ "late kill", late },
	{ "no store bypass", no_bypass },
	{ "no branch speculation", no_branches },
	{ "cookie", cookie },
	{ "personality", old_addresses },
	{ "timer slack", slack },
	{ "securebits", secure_bits },
	{ "no_new_privs", no_privileges },
	{ "name", name },
	{ "affinity", one_cpu },
	{ "ids", ids },
	{ "bounding set", less_caps },
	{ "a filter", filter },
	{ "two filters", two_filters },
	{ "working directory", own_fs },
	{ "root", own_root },
	{ "keyring for what is found", user_keys },
	{ "nothing", NULL },
};

#define N_ATTRS (sizeof(attrs) / sizeof(*attrs))

static void (*const look[])(char *) = { get_sched, get_policy, get_io,     get_traps,  get_speculation, get_cookie,
	                                get_prctl, get_cpus,   get_status, get_filter, get_fs };

#define N_LOOKS (sizeof(look) / sizeof(*look))

static unsigned ready, done, cannot, go;

static void *thread(void *arg)
{
	size_t i = (size_t)arg;
	char before[N_LOOKS][TEXT], now[TEXT];

	/* What this machine, or who runs the test, may not: the other threads are still a test. */
	if (attrs[i].set && attrs[i].set())
		__atomic_add_fetch(&cannot, 1, __ATOMIC_SEQ_CST);
	for (size_t k = 0; k < N_LOOKS; k++)
		look[k](before[k]);
	__atomic_add_fetch(&ready, 1, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&go, __ATOMIC_SEQ_CST)) /* one does not see the runner's files */
		zdtm_nap();
	for (size_t k = 0; k < N_LOOKS; k++) {
		look[k](now);
		zdtm_check(!strcmp(now, before[k]), "%s: was '%s', is '%s'", attrs[i].name, before[k], now);
	}
	__atomic_add_fetch(&done, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

int main(void)
{
	pthread_t t;

	for (size_t i = 0; i < N_ATTRS; i++)
		zdtm_must(!pthread_create(&t, NULL, thread, (void *)i));
	while (__atomic_load_n(&ready, __ATOMIC_SEQ_CST) < N_ATTRS)
		zdtm_nap();
	zdtm_must(cannot < N_ATTRS / 2);
	zdtm_ready();
	zdtm_wait();
	__atomic_store_n(&go, 1, __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&done, __ATOMIC_SEQ_CST) < N_ATTRS)
		zdtm_nap();
	zdtm_pass();
}
