/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A process whose first thread has ended, with a status of its own, while others live on: descriptors, memory, a child,
 * a timer, masks and names of threads are reached by another thread. Ids are as before, and the first thread has ended.
 *
 * zdtm: no-snapshot its main thread has ended
 * zdtm: iters 3
 * zdtm: restores 2
 * zdtm: victim points random
 * zdtm: flavour no pidns
 */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>

#include "zdtm.h"
#include "zdtm_until.h"

#define N      4
#define STATUS 5
#define BYTES  (1 << 20)

static pid_t process, child, tids[N];
static int event, timer;
static unsigned char *memory;
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;
static __thread int mine;
static volatile sig_atomic_t came, on;

static void handler(int sig)
{
	came++;
	on = (int)syscall(SYS_gettid);
}

static void look_at_thread(int i)
{
	char name[16], want[16];
	sigset_t set;

	snprintf(want, sizeof(want), "other-%d", i);
	prctl(PR_GET_NAME, name);
	zdtm_check(!strcmp(name, want), "thread %d is called %s", i, name);
	zdtm_check(syscall(SYS_gettid) == tids[i], "thread %d: tid %d is %ld", i, tids[i], syscall(SYS_gettid));
	zdtm_check(getpid() == process, "thread %d: pid %d is %d", i, process, getpid());
	zdtm_check(syscall(SYS_getppid) == -1 && errno == EDOM, "thread %d: getppid() works", i);
	zdtm_check(mine == 100 + i, "thread %d: TLS %d", i, mine);
	pthread_sigmask(SIG_SETMASK, NULL, &set);
	for (int k = 0; k < N; k++)
		zdtm_check(sigismember(&set, SIGRTMIN + k) == (k == i), "thread %d: mask of signal %d", i,
		           SIGRTMIN + k);
}

/* Field n of /proc/PID/stat, behind the name. */
static long stat_field(int n)
{
	char path[64], buf[600] = "", *at;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", process);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || read(fd, buf, sizeof(buf) - 1) < 0)
		return -1;
	close(fd);
	at = strrchr(buf, ')');
	for (int i = 3; at && i <= n; i++)
		at = strchr(at + 1, ' ');
	return !at ? -1 : n == 3 ? at[1] : atol(at + 1);
}

static int soon(volatile sig_atomic_t *what, int value)
{
	for (int i = 0; i < 6000 && *what != value; i++)
		zdtm_nap();
	return *what == value;
}

static void look_at_process(void)
{
	uint64_t n = 0;
	struct itimerspec its;

	zdtm_check(stat_field(3) == 'Z', "the state of the first thread is '%c'", (int)stat_field(3));
	zdtm_check(stat_field(20) == N + 1, "there are %ld threads", stat_field(20));
	zdtm_check(stat_field(52) == STATUS << 8, "the first thread ended with 0x%lx", stat_field(52));
	zdtm_check(!syscall(SYS_tgkill, process, tids[1], 0), "tgkill: %s", strerror(errno));
	for (int i = 0; i < BYTES; i += 4096)
		zdtm_check(memory[i] == (unsigned char)(i >> 12), "memory at %d", i);
	zdtm_check(read(event, &n, sizeof(n)) == sizeof(n) && n == 7, "the eventfd has %lu", (unsigned long)n);
	zdtm_check(write(event, &n, sizeof(n)) == sizeof(n), "the eventfd: %s", strerror(errno));
	zdtm_check(!timerfd_gettime(timer, &its) && its.it_value.tv_sec > 1000, "the timer has %ld s",
	           its.it_value.tv_sec);
	zdtm_check(kill(child, 0) == 0 && getpgid(child) == getpgid(0), "the child: %s", strerror(errno));
	came = 0;
	kill(process, SIGUSR1);
	zdtm_check(soon(&came, 1) && on != process, "the signal came %d times, to %d", came, (int)on);
}

static void *other(void *arg)
{
	int i = (int)(long)arg;
	char name[16];
	sigset_t set;

	mine = 100 + i;
	snprintf(name, sizeof(name), "other-%d", i);
	prctl(PR_SET_NAME, name);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN + i);
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	__atomic_store_n(&tids[i], (pid_t)syscall(SYS_gettid), __ATOMIC_RELEASE);
	if (!i) {
		zdtm_until(process, ") Z ");
		for (int k = 0; k < N; k++)
			while (!__atomic_load_n(&tids[k], __ATOMIC_ACQUIRE))
				zdtm_nap();
		zdtm_ready();
	}
	for (;;) {
		if (i) {
			zdtm_wait();
			look_at_thread(i);
			pthread_mutex_lock(&held);
			pause();
		}
		while (zdtm_asked()) {
			look_at_thread(i);
			look_at_process();
			zdtm_answer();
		}
		look_at_thread(i);
		look_at_process();
		kill(child, SIGKILL);
		zdtm_check(waitpid(child, NULL, 0) == child, "the child: %s", strerror(errno));
		zdtm_pass();
	}
}

/* getppid(2) says EDOM, in all threads. */
static void filter_getppid(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EDOM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(*code), code };

	zdtm_must(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	zdtm_must(!syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &prog));
}

int main(void)
{
	pthread_t t;

	process = getpid();
	memory = malloc(BYTES);
	event = eventfd(7, EFD_CLOEXEC);
	timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	zdtm_must(memory && event >= 0 && timer >= 0);
	zdtm_must(!timerfd_settime(timer, 0, &(struct itimerspec) { .it_value.tv_sec = 100000 }, NULL));
	for (int i = 0; i < BYTES; i += 4096)
		memory[i] = (unsigned char)(i >> 12);
	signal(SIGUSR1, handler);
	child = fork();
	zdtm_must(child >= 0);
	if (!child)
		for (;;)
			pause();
	filter_getppid();
	for (long i = 0; i < N; i++)
		zdtm_must(!pthread_create(&t, NULL, other, (void *)i));
	syscall(SYS_exit, STATUS);
	return 0;
}
