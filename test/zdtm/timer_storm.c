/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Timers of all kinds that expire every few milliseconds, a process each, and signals that are sent from outside. What
 * was armed, sent and got is counted in the file "counts", which both sides map.
 *
 * Alone it is a test: the timers go on after a restore. test/zdtm/timer_storm.py gives arguments:
 *	timer_storm tree		the timers, and the process that gets signals (the root)
 *	timer_storm send PID TID	sends while the file "gate" exists; "ack": nothing is under way; until "quit"
 *
 * zdtm: iters 2
 * zdtm: frozen
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/timerfd.h>

#include "zdtm.h"

#define QUEUED      (SIGRTMIN + 1) /* to the process, with numbers */
#define TO_THREAD   (SIGRTMIN + 2) /* to its thread, with numbers */
#define OF_TIMER    (SIGRTMIN + 3)
#define WAITED_MS   20000
#define MANY        20 /* timers with SIGEV_THREAD, whose signal is one of the libc's own (32) */
#define FAR_SECONDS 1000
#define NUMBERS     (8 << 20)

/* One line of the file. Expired: how often, and the expirations of one that was not armed. */
struct count {
	_Atomic uint64_t expired, doubled;
};

enum { N_KINDS_MAX = 32 };

static struct {
	_Atomic uint64_t tid, sent[4], got[4], wrong;
	struct count kinds[N_KINDS_MAX];
} * c;

static struct count *mine;
static volatile sig_atomic_t armed;
static int clock_id, timer_id;
static long value_us, interval_us;

static void map_counts(void)
{
	int fd = open("counts", O_RDWR | O_CREAT | O_CLOEXEC, 0666);

	zdtm_must(fd >= 0 && !ftruncate(fd, sizeof(*c)));
	c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	zdtm_must(c != MAP_FAILED);
	close(fd);
}

/* ---- timers ---- */

static void arm_itimer(void)
{
	struct itimerval v = { .it_interval.tv_usec = interval_us, .it_value.tv_usec = value_us };

	armed = 1;
	zdtm_must(!setitimer(clock_id, &v, NULL));
}

static void arm_posix(void)
{
	struct itimerspec v = { .it_interval.tv_nsec = interval_us * 1000, .it_value.tv_nsec = value_us * 1000 };

	armed = 1;
	zdtm_must(!syscall(SYS_timer_settime, timer_id, 0, &v, NULL));
}

static void arm_alarm(void)
{
	armed = 1;
	alarm(1);
}

static void (*arm)(void);

static void expired(int sig)
{
	mine->expired++;
	if (!armed)
		mine->doubled++;
	if (interval_us)
		return;
	armed = 0;
	arm();
}

static void create(clockid_t clock, int notify, int sig)
{
	struct sigevent ev = { .sigev_notify = notify, .sigev_signo = sig };

	ev._sigev_un._tid = (pid_t)syscall(SYS_gettid);
	zdtm_must(!syscall(SYS_timer_create, clock, &ev, &timer_id));
	arm = arm_posix;
}

static void catch (int sig)
{
	struct sigaction sa = { .sa_handler = expired };

	sigfillset(&sa.sa_mask);
	sigaction(sig, &sa, NULL);
}

static void itimer(int which, int sig, long value, long interval)
{
	value_us = value;
	interval_us = interval;
	clock_id = which;
	arm = arm_itimer;
	catch (sig);
	arm_itimer();
}

static void posix(clockid_t clock, int notify, int sig, long value, long interval)
{
	value_us = value;
	interval_us = interval;
	catch (sig);
	create(clock, notify, sig);
	arm_posix();
}

static void spin(void)
{
	struct timespec start, now;

	for (;; usleep(2000)) {
		clock_gettime(CLOCK_MONOTONIC, &start);
		do
			clock_gettime(CLOCK_MONOTONIC, &now);
		while ((now.tv_sec - start.tv_sec) * 1000000000L + now.tv_nsec - start.tv_nsec < 300000);
	}
}

static void real_once(void)
{
	itimer(ITIMER_REAL, SIGALRM, 3000, 0);
}
static void real_often(void)
{
	itimer(ITIMER_REAL, SIGALRM, 2000, 4000);
}
static void real_at_once(void)
{
	itimer(ITIMER_REAL, SIGALRM, 100, 100);
}
static void virtual_once(void)
{
	itimer(ITIMER_VIRTUAL, SIGVTALRM, 4000, 0);
	spin();
}
static void prof_often(void)
{
	itimer(ITIMER_PROF, SIGPROF, 4000, 4000);
	spin();
}
static void seconds(void)
{
	catch (SIGALRM);
	(arm = arm_alarm)();
}
static void posix_once(void)
{
	posix(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR1, 3000, 0);
}
static void posix_often(void)
{
	posix(CLOCK_REALTIME, SIGEV_SIGNAL, OF_TIMER, 2000, 3000);
}
static void posix_at_once(void)
{
	posix(CLOCK_MONOTONIC, SIGEV_SIGNAL, OF_TIMER, 50, 50);
}
static void boot_once(void)
{
	posix(CLOCK_BOOTTIME, SIGEV_SIGNAL, OF_TIMER, 5000, 0);
}
static void cpu_once(void)
{
	posix(CLOCK_PROCESS_CPUTIME_ID, SIGEV_SIGNAL, OF_TIMER, 1000, 0);
	spin();
}
static void cpu_often(void)
{
	posix(CLOCK_PROCESS_CPUTIME_ID, SIGEV_SIGNAL, SIGUSR2, 1000, 2000);
	spin();
}

static void *thread_once(void *arg)
{
	posix(CLOCK_MONOTONIC, SIGEV_SIGNAL | SIGEV_THREAD_ID, OF_TIMER, 3000, 0);
	while (pause())
		;
	return NULL;
}

static void *thread_often(void *arg)
{
	posix(CLOCK_BOOTTIME, SIGEV_SIGNAL | SIGEV_THREAD_ID, SIGUSR1, 3000, 5000);
	while (pause())
		;
	return NULL;
}

static void in_thread(void *(*fn)(void *))
{
	pthread_t t;

	zdtm_must(!pthread_create(&t, NULL, fn, NULL));
}

static void a_thread_once(void)
{
	in_thread(thread_once);
}
static void a_thread_often(void)
{
	in_thread(thread_often);
}

/* By sigwaitinfo(), blocked. */
static void waited(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, OF_TIMER);
	sigprocmask(SIG_BLOCK, &set, NULL);
	posix(CLOCK_MONOTONIC, SIGEV_SIGNAL, OF_TIMER, 2000, 0);
	for (;;)
		if (sigwaitinfo(&set, NULL) == OF_TIMER)
			expired(OF_TIMER);
}

static void tick(union sigval v)
{
	mine->expired++;
}

static void libc_threads(void)
{
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD, .sigev_notify_function = tick };
	struct itimerspec v = { { 0, 3000000 }, { 0, 3000000 } };
	timer_t timer;

	for (int i = 0; i < MANY; i++)
		zdtm_must(!timer_create(CLOCK_MONOTONIC, &ev, &timer) && !timer_settime(timer, 0, &v, NULL));
}

static void fd_timer(long interval)
{
	struct itimerspec v = { { 0, interval }, { 0, 3000000 } };
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);
	uint64_t n;

	zdtm_must(!timerfd_settime(fd, 0, &v, NULL));
	for (;;) {
		if (read(fd, &n, 8) != 8)
			continue;
		mine->expired += n;
		mine->doubled += !interval && n != 1;
		if (!interval)
			timerfd_settime(fd, 0, &v, NULL);
	}
}

static void fd_once(void)
{
	fd_timer(0);
}
static void fd_often(void)
{
	fd_timer(4000000);
}

/*
 * Periodic ones, whose signals stay pending, and are looked at after the last round: one signal, and a timer that goes
 * on when the signal is taken.
 */
static void stay_pending(void)
{
	struct itimerval far = { { FAR_SECONDS, 0 }, { 0, 1000 } }, now = { 0 };
	struct itimerspec spec = { { FAR_SECONDS, 0 }, { 0, 1000000 } };
	sigset_t set;

	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	zdtm_must(!setitimer(ITIMER_REAL, &far, NULL));
	create(CLOCK_MONOTONIC, SIGEV_SIGNAL, OF_TIMER);
	zdtm_must(!syscall(SYS_timer_settime, timer_id, 0, &spec, NULL));
	zdtm_wait();
	sigemptyset(&set);
	sigaddset(&set, SIGALRM);
	sigaddset(&set, OF_TIMER);
	for (int sig, want = SIGALRM;; want = want == SIGALRM ? OF_TIMER : 0) {
		sig = sigtimedwait(&set, NULL, &(struct timespec) { 0 });
		if (!zdtm_check(want ? sig == want : sig < 0, "signal %d is pending, not %d", sig, want) || !want)
			break;
	}
	getitimer(ITIMER_REAL, &now);
	zdtm_check(now.it_value.tv_sec > FAR_SECONDS / 2 && now.it_interval.tv_sec == FAR_SECONDS,
	           "ITIMER_REAL stands still: %ld, %ld", now.it_value.tv_sec, now.it_interval.tv_sec);
	zdtm_check(!syscall(SYS_timer_gettime, timer_id, &spec) && spec.it_value.tv_sec > FAR_SECONDS / 2,
	           "the POSIX timer: %ld", spec.it_value.tv_sec);
	_exit(0);
}

static const struct {
	const char *name;
	void (*run)(void);
} kinds[] = {
	{ "alarm", seconds },
	{ "ITIMER_REAL, once", real_once },
	{ "ITIMER_REAL", real_often },
	{ "ITIMER_REAL, 100 us", real_at_once },
	{ "ITIMER_VIRTUAL, once", virtual_once },
	{ "ITIMER_PROF", prof_often },
	{ "POSIX, once", posix_once },
	{ "POSIX, realtime", posix_often },
	{ "POSIX, 50 us", posix_at_once },
	{ "POSIX, boottime, once", boot_once },
	{ "POSIX, CPU time, once", cpu_once },
	{ "POSIX, CPU time", cpu_often },
	{ "SIGEV_THREAD_ID, once", a_thread_once },
	{ "SIGEV_THREAD_ID", a_thread_often },
	{ "sigwaitinfo", waited },
	{ "SIGEV_THREAD", libc_threads },
	{ "timerfd, once", fd_once },
	{ "timerfd", fd_often },
};

#define N_KINDS (int)(sizeof(kinds) / sizeof(*kinds))

static pid_t start(int kind)
{
	pid_t pid = fork();

	zdtm_must(pid >= 0);
	if (pid)
		return pid;
	if (kind == N_KINDS)
		stay_pending();
	mine = &c->kinds[kind];
	kinds[kind].run();
	for (;;)
		pause();
}

/* ---- signals from outside ---- */

/* Each number once; those that come during a restore may overtake those that were pending. */
static void numbered(int sig, siginfo_t *si, void *ctx)
{
	static unsigned char seen[2][NUMBERS];
	int which = sig == QUEUED ? 0 : 1;
	unsigned number = (unsigned)si->si_value.sival_int % NUMBERS;

	c->wrong += seen[which][number];
	seen[which][number] = 1;
	c->got[which]++;
}

static void plain(int sig)
{
	c->got[sig == SIGUSR1 ? 2 : 3]++;
}

static void *receiver(void *arg)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, QUEUED);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	c->tid = (uint64_t)syscall(SYS_gettid);
	while (pause())
		;
	return NULL;
}

static void receive(void)
{
	struct sigaction sa = { .sa_sigaction = numbered, .sa_flags = SA_SIGINFO | SA_RESTART };

	sigfillset(&sa.sa_mask);
	sigaction(QUEUED, &sa, NULL);
	sigaction(TO_THREAD, &sa, NULL);
	sa.sa_handler = plain;
	sa.sa_flags = SA_RESTART;
	sigaction(SIGUSR1, &sa, NULL);
	sigaction(SIGUSR2, &sa, NULL);
	in_thread(receiver);
	while (!c->tid)
		usleep(1000);
}

/* With numbers, in order. */
static void send_numbered(int which, pid_t pid, pid_t tid)
{
	siginfo_t si = { .si_code = SI_QUEUE, .si_value.sival_int = (int)(uint32_t)c->sent[which] };

	si.si_pid = getpid();
	if (which ? !syscall(SYS_rt_tgsigqueueinfo, pid, tid, TO_THREAD, &si)
	          : !syscall(SYS_rt_sigqueueinfo, pid, QUEUED, &si))
		c->sent[which]++;
}

/* One after the other has come, since they may merge. */
static void send_plain(int which, pid_t pid, pid_t tid)
{
	if (c->sent[which] != c->got[which])
		return;
	c->sent[which]++; /* before it comes */
	if (which == 2 ? kill(pid, SIGUSR1) : (int)syscall(SYS_tgkill, pid, tid, SIGUSR2))
		c->sent[which]--;
}

static int sends(pid_t pid, pid_t tid)
{
	for (unsigned i = 0; access("quit", F_OK); i++, usleep(50 + i * 7919 % 400)) {
		if (access("gate", F_OK)) {
			zdtm_touch("ack");
			continue;
		}
		if (i % 4 < 2)
			send_numbered(i % 2, pid, tid);
		else
			send_plain((int)(i % 4), pid, tid);
	}
	return 0;
}

/* ---- */

static void all_kinds(pid_t *pids)
{
	for (int i = 0; i <= N_KINDS; i++)
		pids[i] = start(i);
}

static void end_kinds(const pid_t *pids)
{
	for (int i = 0; i <= N_KINDS; i++) {
		if (i < N_KINDS)
			kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
}

static void look_at_kinds(void)
{
	uint64_t before[N_KINDS];

	for (int i = 0; i < N_KINDS; i++)
		before[i] = c->kinds[i].expired;
	for (int i = 0; i < N_KINDS; i++) {
		for (int k = 0; k < WAITED_MS && c->kinds[i].expired == before[i]; k++)
			usleep(1000);
		zdtm_check(c->kinds[i].expired != before[i], "%s: stands still", kinds[i].name);
		zdtm_check(!c->kinds[i].doubled, "%s: %d expirations too many", kinds[i].name,
		           (int)c->kinds[i].doubled);
	}
}

int main(int argc, char **argv)
{
	pid_t pids[N_KINDS + 1];

	map_counts();
	if (argc == 4 && !strcmp(argv[1], "send"))
		return sends(atoi(argv[2]), atoi(argv[3]));
	all_kinds(pids);
	receive();
	for (int i = 0; i < N_KINDS; i++)
		while (!c->kinds[i].expired)
			usleep(1000);
	if (argc > 1)
		for (int i = 0; i < N_KINDS; i++)
			zdtm_say("KIND", 0, "%s", kinds[i].name);
	zdtm_ready();
	zdtm_wait();
	look_at_kinds();
	end_kinds(pids);
	zdtm_pass();
}
