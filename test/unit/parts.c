/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The rows of what every task has: a process and a thread with something unusual in all of them are read, what was read
 * is brought to a plain process, and that one is read again. Needs root. The agent is put into both by the dump's way
 * in.
 */
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "agent/agent.h"
#include "agent/infect.h"
#include "agent/inject.h"
#include "freeze/ptrace.h"
#include "arch/arch.h"
#include "tree/kind.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "task/timer_ids.h"
#include "uapi/prctl_new.h"

#define MUST(x)                                                                                                        \
	do {                                                                                                           \
		if (!(x)) {                                                                                            \
			fprintf(stderr, "line %d: %s: %m\n", __LINE__, #x);                                            \
			_exit(99);                                                                                     \
		}                                                                                                      \
	} while (0)

/* ---- the processes ---- */

struct kind_of_child {
	bool rich, sparse_ids;
};

static struct {
	volatile int thread_ready, ready;
} * shared;
static uint8_t altstack[65536];

static void on_signal(int sig, siginfo_t *si, void *ctx)
{
}

static void filter(unsigned nr, unsigned err, unsigned flags)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | err),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { ARRAY_SIZE(f), f };

	MUST(!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog));
}

static void send_to_thread(int sig, int value)
{
	siginfo_t info = { .si_signo = sig, .si_code = SI_QUEUE };

	info.si_value.sival_int = value;
	MUST(!syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid(), sig, &info));
}

static int timer(int clock, int notify, int sig, long value)
{
	struct sigevent ev = { .sigev_notify = notify, .sigev_signo = sig, .sigev_value.sival_ptr = (void *)value };
	int id = (int)value;

	ev._sigev_un._tid = gettid();
	MUST(!syscall(SYS_timer_create, clock, &ev, &id));
	return id;
}

static void rich_thread(void)
{
	struct sched_param sp = { .sched_priority = 7 };
	cpu_set_t cpus;
	stack_t st = { .ss_sp = altstack, .ss_size = 20000 };
	gid_t groups[400];

	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	MUST(!sched_setaffinity(0, sizeof(cpus), &cpus) && !setpriority(PRIO_PROCESS, 0, -3));
	MUST(!syscall(SYS_sched_setscheduler, 0, SCHED_RR | SCHED_RESET_ON_FORK, &sp));
	MUST(!prctl(PR_SET_NAME, "thr (ead)") && !sigaltstack(&st, NULL));
	send_to_thread(SIGRTMIN + 3, 11);
	send_to_thread(SIGRTMIN + 3, 12);
	send_to_thread(SIGUSR2, 13);
	for (int i = 0; i < 400; i++)
		groups[i] = (gid_t)(9000 - i);
	filter(SYS_getppid, 77, SECCOMP_FILTER_FLAG_LOG);
	MUST(!syscall(SYS_setgroups, 400, groups) && !syscall(SYS_setresgid, 10, 11, 12));
	MUST(!prctl(PR_SET_KEEPCAPS, 1) && !syscall(SYS_setresuid, 20, 21, 22));
	MUST(!prctl(PR_SET_PDEATHSIG, SIGUSR1));
}

static void *thread_main(void *arg)
{
	if (((struct kind_of_child *)arg)->rich)
		rich_thread();
	shared->thread_ready = 1;
	while (1)
		pause();
	return NULL;
}

static void set_caps(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	MUST(!syscall(SYS_capget, &h, d));
	d[0].inheritable = 1 << CAP_NET_RAW | 1 << CAP_KILL;
	d[0].effective = 1 << CAP_KILL;
	MUST(!syscall(SYS_capset, &h, d));
	MUST(!prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_KILL, 0, 0));
}

static void rich_timers(bool sparse)
{
	struct itimerval it = { { 5, 6 }, { 700, 8 } };
	struct itimerspec spec = { { 3, 4 }, { 2000, 5 } };
	int ids[6];

	MUST(!setitimer(ITIMER_REAL, &it, NULL) && !setitimer(ITIMER_PROF, &it, NULL));
	if (sparse && prctl(PR_TIMER_CREATE_RESTORE_IDS, PR_TIMER_CREATE_RESTORE_IDS_ON, 0, 0, 0))
		sparse = false;
	for (int i = 0; i < 6; i++)
		ids[i] = timer(i & 1 ? CLOCK_REALTIME : CLOCK_PROCESS_CPUTIME_ID, i & 2 ? SIGEV_SIGNAL : SIGEV_NONE,
		               SIGRTMIN + i, 500000 + i * 1000);
	timer(CLOCK_MONOTONIC, SIGEV_THREAD_ID, SIGUSR1, 77);
	MUST(!syscall(SYS_timer_delete, ids[0]) && !syscall(SYS_timer_delete, ids[3]));
	MUST(!syscall(SYS_timer_settime, ids[1], 0, &spec, NULL));
	MUST(!syscall(SYS_timer_settime, ids[4], 0, &spec, NULL));
}

static void rich_process(const struct kind_of_child *kind)
{
	static const uint64_t mask = 0x7000;
	struct rlimit lim = { 1000, 2000 };
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK };
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	memcpy(&sa.sa_mask, &mask, sizeof(mask));
	MUST(fd >= 0 && write(fd, "321", 3) == 3 && !close(fd));
	MUST(!sigaction(SIGUSR1, &sa, NULL) && signal(SIGHUP, SIG_IGN) != SIG_ERR &&
	     signal(SIGCHLD, SIG_IGN) != SIG_ERR);
	MUST(!setrlimit(RLIMIT_NOFILE, &lim) && personality(0x40000) != -1 && !prctl(PR_SET_NAME, "main"));
	MUST(!prctl(PR_SET_CHILD_SUBREAPER, 1) && !prctl(PR_SET_TIMERSLACK, 123456) && nice(4) == 4);
	MUST(!syscall(SYS_membarrier, 1 << 4, 0, 0));
	MUST(!sigqueue(getpid(), SIGRTMIN + 1, (union sigval) { .sival_int = 1 }) && !kill(getpid(), SIGTERM));
	MUST(!sigqueue(getpid(), SIGRTMIN + 1, (union sigval) { .sival_int = 2 }));
	rich_timers(kind->sparse_ids);
	filter(SYS_getuid, 5, SECCOMP_FILTER_FLAG_TSYNC);
	filter(SYS_getuid, 6, SECCOMP_FILTER_FLAG_TSYNC);
}

static void rich_credentials(void)
{
	setfsuid(30);
	setfsgid(31);
	MUST(!prctl(PR_CAPBSET_DROP, CAP_SYSLOG));
	filter(SYS_getgid, 7, 0);
	set_caps();
	MUST(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) && !prctl(PR_SET_DUMPABLE, 0));
}

static void child_main(struct kind_of_child kind)
{
	sigset_t all;
	pthread_t th;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	sigfillset(&all);
	MUST(!sigprocmask(SIG_SETMASK, &all, NULL));
	shared->thread_ready = shared->ready = 0;
	if (kind.rich)
		rich_process(&kind);
	MUST(!pthread_create(&th, NULL, thread_main, &kind));
	while (!shared->thread_ready)
		usleep(1000);
	if (kind.rich)
		rich_credentials();
	shared->ready = 1;
	for (;;)
		pause();
}

/* ---- reading one ---- */

struct victim {
	struct dump d;
	struct task t;
	struct dump_task dt;
	struct dump_thread dth[2];
	struct thread th[2];
};

static struct arena *arena;
static struct guardian *guardian;
static const struct options options;
static pid_t running[2]; /* for the teardown of a test that failed */
static char dir_path[] = "/tmp/unit-parts-XXXXXX";

static void start(struct victim *v, struct kind_of_child kind)
{
	struct proc_stat *stat;

	memset(v, 0, sizeof(*v));
	v->d.arena = arena;
	v->d.guardian = guardian;
	v->d.opts = &options;
	v->d.inventory = arena_msg(arena, InventoryEntry, inventory_entry);
	shared->ready = 0;
	v->t.pid = fork();
	if (!v->t.pid)
		child_main(kind);
	running[kind.rich] = v->t.pid;
	while (!shared->ready) {
		assert_int_equal(waitpid(v->t.pid, NULL, WNOHANG), 0);
		usleep(1000);
	}
	usleep(10000);
	v->t.vpid = VPID(v->t.pid);
	v->t.state = TASK_ALIVE;
	v->t.dump = &v->dt;
	strcpy(v->t.comm, kind.rich ? "rich" : "plain");
	v->t.threads = v->th;
	v->t.n_threads = 2;
	v->dt.proc_fd = proc_open(v->t.pid);
	assert_true(v->dt.proc_fd >= 0);
	stat = arena_new_of(arena, struct proc_stat);
	assert_int_equal(proc_stat_of(v->t.pid, stat), 0);
	v->dt.stat = stat;
	v->d.tree.n_tasks = 1;
	v->d.tree.tasks = arena_array(arena, struct task *, 1);
	v->d.tree.tasks[0] = &v->t;
	v->t.ids = arena_msg(arena, TaskKobjIdsEntry, task_kobj_ids_entry);
	v->t.mm = arena_msg(arena, MmEntry, mm_entry);
}

static void seize(struct victim *v)
{
	struct task tmp = { .pid = v->t.pid };
	bool stop_came;

	assert_int_equal(task_list_threads(arena, &tmp), 0);
	assert_int_equal(tmp.n_threads, 2);
	for (int i = 0; i < 2; i++) {
		pid_t tid = tmp.threads[i].tid;

		v->th[i] = (struct thread) { .task = &v->t, .tid = tid, .vtid = VPID(tid), .dump = &v->dth[i] };
		assert_int_equal(ptrace_seize(tid, 0), 0);
		assert_int_equal(inject_stop_thread(tid, "victim", &stop_came, NULL), 0);
	}
}

static void peek(struct victim *v, struct thread *th)
{
	struct proc_status *st = arena_new_of(arena, struct proc_status);
	bool leader = th == v->th;

	th->core = arena_msg(arena, CoreEntry, core_entry);
	th->core->thread_core = arena_msg(arena, ThreadCoreEntry, thread_core_entry);
	if (leader)
		th->core->tc = arena_msg(arena, TaskCoreEntry, task_core_entry);
	assert_int_equal(proc_read_status(v->dt.proc_fd, th->tid, arena, st), 0);
	th->dump->status = st;
	th->dump->regs = arch_regs_get(arena, th->tid);
	assert_non_null(th->dump->regs);
	assert_int_equal(ptrace_get_sigmask(th->tid, &th->dump->sigmask), 0);
	for (const struct task_part *const *p = task_parts; *p; p++)
		if ((*p)->peek && (leader || (*p)->per_thread))
			assert_int_equal((*p)->peek(&v->d, th), 0);
}

static bool ours(const struct task_part *p, bool leader)
{
	return leader || p->per_thread;
}

static void ask(struct victim *v, struct thread *th)
{
	struct answers answers[64] = { 0 };
	struct batch *b = agent_batch(th->dump->agent, "asking");
	unsigned first[64] = { 0 };

	for (int i = 0; task_parts[i]; i++) {
		void *data = NULL;

		if (!task_parts[i]->ask || !ours(task_parts[i], th == v->th))
			continue;
		first[i] = b->n;
		assert_int_equal(task_parts[i]->ask(&v->d, th, b, &data), 0);
		answers[i].data = data;
	}
	assert_int_equal(batch_run(b), 0);
	for (int i = 0; task_parts[i]; i++) {
		answers[i].op = th->dump->agent->ops + first[i];
		if (task_parts[i]->dump && ours(task_parts[i], th == v->th))
			assert_int_equal(task_parts[i]->dump(&v->d, th, &answers[i]), 0);
	}
	assert_int_equal(arch_regs_to_core(arena, th->dump->regs, th->core), 0);
}

static void enter(struct victim *v)
{
	assert_int_equal(agent_infect(&v->d, &v->t), 0);
	assert_int_equal(agent_infect_thread(&v->d, &v->th[1]), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(agent_wait(v->dth[i].agent), 0);
}

static void read_it(struct victim *v)
{
	peek(v, &v->th[0]);
	peek(v, &v->th[1]);
	enter(v);
	ask(v, &v->th[0]);
	ask(v, &v->th[1]);
	assert_int_equal(agent_cure(&v->d, &v->t), 0);
}

static void end(struct victim *v)
{
	kill(v->t.pid, SIGKILL);
	/* A tracer has to reap threads too, and before the leader. */
	for (int i = 1; i >= 0; i--)
		while (waitpid(v->th[i].tid, NULL, __WALL) > 0)
			;
	close(v->dt.proc_fd);
}

/* ---- bringing it to another ---- */

static void each_stopped(struct victim *v, void (*fn)(struct victim *, struct thread *, struct restore *),
                         struct restore *r)
{
	bool stop_came;

	for (int i = 0; i < 2; i++) {
		assert_int_equal(inject_stop_thread(v->th[i].tid, "victim", &stop_came, NULL), 0);
		fn(v, &v->th[i], r);
		assert_int_equal(ptrace_cont(v->th[i].tid, 0), 0);
	}
}

static void suspend_seccomp(struct victim *v, struct thread *th, struct restore *r)
{
	assert_int_equal(ptrace_set_options(th->tid, PTRACE_O_TRACESYSGOOD | PTRACE_O_SUSPEND_SECCOMP), 0);
}

static void finish(struct victim *v, struct thread *th, struct restore *r)
{
	for (const struct task_part *const *p = task_parts; *p; p++)
		if ((*p)->finish && ours(*p, th == v->th))
			assert_int_equal((*p)->finish(r, th), 0);
}

static void bring(struct victim *v, struct restore *r)
{
	struct restore_task rt = { 0 };
	struct restore_thread rth[2] = { 0 };

	v->t.restore = &rt;
	for (int i = 0; i < 2; i++) {
		rth[i].agent = v->dth[i].agent;
		v->th[i].restore = &rth[i];
	}
	for (int i = 0; i < 2; i++) {
		struct batch *b = agent_batch(rth[i].agent, "bringing");

		for (const struct task_part *const *p = task_parts; *p; p++)
			if ((*p)->check && ours(*p, !i))
				assert_int_equal((*p)->check(r, &v->th[i]), 0);
		for (const struct task_part *const *p = task_parts; *p; p++) {
			if (!(*p)->restore || !ours(*p, !i))
				continue;
			batch_what(b, (*p)->name);
			assert_int_equal((*p)->restore(r, &v->th[i], b), 0);
		}
		assert_int_equal(batch_run(b), 0);
	}
	each_stopped(v, finish, r);
}

/* The images of one, with the numbers of the other's threads. rseq: the C library has registered it already. */
static void take_cores(struct victim *to, const struct victim *from, struct victim *saved)
{
	TaskTimersEntry *timers = from->th[0].core->tc->timers;

	for (size_t i = 0; i < timers->n_posix; i++)
		if (timers->posix[i]->has_notify_thread_id)
			timers->posix[i]->notify_thread_id = to->th[0].vtid.v;
	for (int i = 0; i < 2; i++) {
		to->th[i].core = from->th[i].core;
		assert_non_null(from->th[i].core->thread_core->rseq_entry);
		saved->th[i].core = arena_msg(arena, CoreEntry, core_entry);
		saved->th[i].core->thread_core = arena_msg(arena, ThreadCoreEntry, thread_core_entry);
		saved->th[i].core->thread_core->rseq_entry = from->th[i].core->thread_core->rseq_entry;
		from->th[i].core->thread_core->rseq_entry = NULL;
	}
	to->t.mm->has_dumpable = true;
	to->t.mm->dumpable = from->t.mm->dumpable;
}

/* ---- comparing ---- */

static void same_message(const ProtobufCMessage *a, const ProtobufCMessage *b, const char *what)
{
	size_t n_a = protobuf_c_message_get_packed_size(a), n_b = protobuf_c_message_get_packed_size(b);
	uint8_t *x = arena_alloc(arena, n_a + 1), *y = arena_alloc(arena, n_b + 1);

	protobuf_c_message_pack(a, x);
	protobuf_c_message_pack(b, y);
	if (n_a != n_b || memcmp(x, y, n_a))
		fail_msg("%s differs", what);
}

#define SAME(a, b, part)                                                                                               \
	do {                                                                                                           \
		assert_true(!(a)->part == !(b)->part);                                                                 \
		if ((a)->part)                                                                                         \
			same_message(&(a)->part->base, &(b)->part->base, #part);                                       \
		(a)->part = (b)->part = NULL;                                                                          \
	} while (0)

/* Seconds that have passed; the kernel rounds the time that is left, up too. */
static int64_t seconds_passed(uint64_t before, uint64_t after)
{
	return (int64_t)before - (int64_t)after;
}

/* Time has passed, for those that run. */
static void same_timers(TaskTimersEntry *a, TaskTimersEntry *b)
{
	assert_true(seconds_passed(a->real->vsec, b->real->vsec) < 3 && b->real->vsec > 690);
	a->real->vsec = b->real->vsec;
	a->real->vusec = b->real->vusec;
	assert_true(seconds_passed(a->prof->vsec, b->prof->vsec) < 3 && b->prof->vsec > 690);
	a->prof->vsec = b->prof->vsec;
	a->prof->vusec = b->prof->vusec;
	assert_int_equal(a->n_posix, 5);
	assert_int_equal(a->n_posix, b->n_posix);
	for (size_t i = 0; i < a->n_posix; i++) {
		assert_true(seconds_passed(a->posix[i]->vsec, b->posix[i]->vsec) < 3);
		a->posix[i]->vsec = b->posix[i]->vsec;
		a->posix[i]->vnsec = b->posix[i]->vnsec;
	}
	same_message(&a->base, &b->base, "timers");
}

static void same_thread(const struct thread *x, const struct thread *y)
{
	ThreadCoreEntry *a = x->core->thread_core, *b = y->core->thread_core;

	assert_int_equal(arch_core_clear_tid(x->core), arch_core_clear_tid(y->core));
	SAME(a, b, creds);
	SAME(a, b, sas);
	SAME(a, b, signals_p);
	SAME(a, b, rseq_entry);
	assert_string_equal(a->comm, b->comm);
	assert_int_equal(a->sched_nice, b->sched_nice);
	assert_int_equal(a->sched_policy, b->sched_policy);
	same_message(&a->base, &b->base, "thread_core");
}

static void same_task(TaskCoreEntry *a, TaskCoreEntry *b)
{
	a->flags = b->flags = 0;
	same_timers(a->timers, b->timers);
	a->timers = b->timers = NULL;
	SAME(a, b, rlimits);
	SAME(a, b, signals_s);
	assert_int_equal(a->n_sigactions, b->n_sigactions);
	for (size_t i = 0; i < a->n_sigactions; i++)
		same_message(&a->sigactions[i]->base, &b->sigactions[i]->base, "a signal action");
	assert_int_equal(a->oom_score_adj, b->oom_score_adj);
	assert_int_equal(a->personality, b->personality);
	same_message(&a->base, &b->base, "tc");
}

/* That the rich one was read at all, and not two times nothing. */
static void expect_rich(const struct victim *v)
{
	const ThreadCoreEntry *a = v->th[0].core->thread_core, *b = v->th[1].core->thread_core;
	const TaskCoreEntry *tc = v->th[0].core->tc;

	assert_int_equal(tc->signals_s->n_signals, 3);
	assert_int_equal(b->signals_p->n_signals, 3);
	assert_int_equal(b->creds->n_groups, 400);
	assert_int_equal(b->creds->euid, 21);
	assert_int_equal(a->creds->fsuid, 30);
	assert_int_equal(a->creds->no_new_privs, 1);
	assert_int_equal(b->pdeath_sig, SIGUSR1);
	assert_int_equal(b->sched_policy, SCHED_RR | SCHED_RESET_ON_FORK);
	assert_int_equal(b->sched_prio, 7);
	assert_int_equal(b->sched_nice, -3);
	assert_int_equal(a->sched_nice, 4);
	assert_int_equal(b->sas->ss_size, 20000);
	assert_true(a->has_seccomp_filter && b->has_seccomp_filter && a->seccomp_filter != b->seccomp_filter);
	assert_int_equal(tc->oom_score_adj, 321);
	assert_int_equal(tc->child_subreaper, 1);
	assert_int_equal(tc->n_sigactions, 62);
	assert_true(v->t.mm->has_dumpable && !v->t.mm->dumpable);
}

static void write_and_read_images(struct victim *v, struct restore *r)
{
	assert_int_equal(image_dir_create(dir_path, &v->d.dir), 0);
	for (const struct task_part *const *p = task_parts; *p; p++)
		if ((*p)->write_images)
			assert_int_equal((*p)->write_images(&v->d), 0);
	assert_int_equal(image_dir_seal(v->d.dir), 0);
	image_dir_close(v->d.dir);
	assert_int_equal(image_dir_open(dir_path, false, &r->dir), 0);
	for (const struct task_part *const *p = task_parts; *p; p++)
		if ((*p)->read_images)
			assert_int_equal((*p)->read_images(r), 0);
	image_dir_close(r->dir);
}

static void to_and_fro(bool sparse)
{
	struct victim a, b, saved;
	InventoryEntry inventory = INVENTORY_ENTRY__INIT;
	struct restore r = { .arena = arena, .opts = &options, .inventory = &inventory };

	start(&a, (struct kind_of_child) { .rich = true, .sparse_ids = sparse });
	seize(&a);
	read_it(&a);
	expect_rich(&a);
	end(&a);
	r.tree = a.d.tree;
	write_and_read_images(&a, &r);

	start(&b, (struct kind_of_child) { 0 });
	seize(&b);
	peek(&b, &b.th[0]);
	peek(&b, &b.th[1]);
	enter(&b);
	each_stopped(&b, suspend_seccomp, NULL);
	take_cores(&b, &a, &saved);
	r.tree = b.d.tree;
	bring(&b, &r);
	assert_int_equal(agent_cure(&b.d, &b.t), 0);

	read_it(&b);
	for (int i = 0; i < 2; i++) {
		a.th[i].core->thread_core->rseq_entry = saved.th[i].core->thread_core->rseq_entry;
		same_thread(&a.th[i], &b.th[i]);
	}
	same_task(a.th[0].core->tc, b.th[0].core->tc);
	assert_int_equal(a.t.mm->dumpable, b.t.mm->dumpable);
	end(&b);
}

static int kill_all(void **state)
{
	for (int i = 0; i < 2; i++)
		if (running[i] > 0)
			kill(running[i], SIGKILL);
	return 0;
}

static void test_low_ids(void **state)
{
	to_and_fro(false);
}

static void test_sparse_ids(void **state)
{
	to_and_fro(true);
}

/* ---- text ---- */

static void test_timers_text(void **state)
{
	const char *text = "ID: 0\nsignal: 60/00007fff86e452a8\nnotify: signal/pid.2634\nClockID: 0\n"
	                   "ID: 1000000\nsignal: 34/0\nnotify: signal/tid.77\nClockID: -6\n"
	                   "ID: 3\nsignal: 0/ffffffffffffffff\nnotify: none/pid.1\nClockID: 7\n";
	const char *bad[] = { "ID: x\n", "ID: 1\nsignal: 3\n", "ID: 0\nsignal: 60/0\nnotify: signal/pid.\nClockID: 0\n",
		              "ID: 0\nsignal: 60/0\nnotify: signalsignal/pid.1\nClockID: 0\n", "\n" };
	struct timer_line l;

	assert_int_equal(timer_parse(&text, &l), 1);
	assert_true(l.id == 0 && l.signo == 60 && l.value == 0x7fff86e452a8 && l.pid == 2634 && !l.clock);
	assert_int_equal(l.notify, SIGEV_SIGNAL);
	assert_int_equal(timer_parse(&text, &l), 1);
	assert_true(l.id == 1000000 && l.pid == 77 && l.clock == -6);
	assert_int_equal(l.notify, SIGEV_THREAD_ID);
	assert_int_equal(timer_parse(&text, &l), 1);
	assert_true(l.value == UINT64_MAX && l.clock == 7);
	assert_int_equal(l.notify, SIGEV_NONE);
	assert_int_equal(timer_parse(&text, &l), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(timer_parse(&bad[i], &l), -EBADMSG);
}

static int setup(void **state)
{
	arena = arena_new();
	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return !arena || shared == MAP_FAILED || !mkdtemp(dir_path) || guardian_start(&guardian);
}

static int teardown(void **state)
{
	char command[64];

	guardian_stop(guardian, false);
	arena_free(arena);
	snprintf(command, sizeof(command), "rm -r %s", dir_path);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(test_low_ids, kill_all),
		cmocka_unit_test_teardown(test_sparse_ids, kill_all),
		cmocka_unit_test(test_timers_text),
	};

	log_init(-1, LOG_WARN);
	return cmocka_run_group_tests(tests, setup, teardown);
}
