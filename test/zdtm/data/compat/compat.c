/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A 32-bit program (built by test/zdtm/compat.py with -m32, which needs gcc-multilib): threads, handlers with and
 * without SA_SIGINFO on an alternate stack, timers, robust mutexes, TLS, FPU and SSE registers, a restartable sequence
 * as the C library has it, files, pipes, memory high and low, mmap() and brk(); calls by the vDSO and by int $0x80.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define THREADS 2

static pthread_mutex_t robust;
static __thread int own = -1;
static volatile int held, stop;
static volatile sig_atomic_t inside, plain, info, on_stack, ticks, value;
static int wrong;
static char altstack[65536];

#define expect(cond)                                                                                                   \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			printf("FAIL %d: %s (errno %d)\n", __LINE__, #cond, errno);                                    \
			wrong = 1;                                                                                     \
		}                                                                                                      \
	} while (0)

static void on_plain(int sig)
{
	plain++;
}

static void on_info(int sig, siginfo_t *si, void *context)
{
	const ucontext_t *uc = context;
	char here;

	info++;
	value = si->si_value.sival_int;
	on_stack = &here >= altstack && &here < altstack + sizeof(altstack);
	if (!uc->uc_mcontext.fpregs)
		value = -1;
}

/* In handlers over the dump: both kinds of frames wait on stacks. */
static void wait_plain(int sig)
{
	inside++;
	while (!stop)
		usleep(1000);
}

static void wait_info(int sig, siginfo_t *si, void *context)
{
	wait_plain(sig);
}

static void *in_handler(void *arg)
{
	long double x = 2.25L;

	own = 42;
	__asm__ volatile("fldt %0" : : "m"(x));
	pthread_kill(pthread_self(), SIGRTMIN + (int)(intptr_t)arg);
	__asm__ volatile("fstpt %0" : "=m"(x));
	return (void *)(intptr_t)(x != 2.25L || own != 42);
}

static void on_tick(int sig)
{
	ticks++;
}

/* For a while, a value stays in st(0) and another in an SSE register. */
static int spin(int n)
{
	long double x = 1.5L + n;
	float in[4] = { (float)n, 2, 3, 4 }, out[4];

	__asm__ volatile("fldt %2\n"
	                 "movups %3, %%xmm3\n"
	                 "movl $300000, %%ecx\n"
	                 "1: decl %%ecx\n"
	                 "jnz 1b\n"
	                 "fstpt %0\n"
	                 "movups %%xmm3, %1\n"
	                 : "=m"(x), "=m"(out)
	                 : "m"(x), "m"(in)
	                 : "ecx", "xmm3");
	return x != 1.5L + n || memcmp(in, out, sizeof(in));
}

/* And a third in thread-local memory. */
static void *work(void *arg)
{
	int n = (int)(intptr_t)arg;

	own = n;
	while (!stop)
		if (spin(n) || own != n)
			return (void *)-1;
	return NULL;
}

static void *holder(void *arg)
{
	pthread_mutex_lock(&robust);
	held = 1;
	while (!stop)
		usleep(1000);
	return NULL; /* dies with it */
}

static long int80(long nr, long a, long b, long c)
{
	long ret;

	__asm__ volatile("int $0x80" : "=a"(ret) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory");
	return ret;
}

static void make_robust(void)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&robust, &attr);
}

static void install(void)
{
	stack_t ss = { .ss_sp = altstack, .ss_size = sizeof(altstack) };
	struct sigaction plain_action = { .sa_handler = on_plain },
	                 info_action = { .sa_sigaction = on_info, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART },
	                 tick_action = { .sa_handler = on_tick, .sa_flags = SA_RESTART };

	struct sigaction waits = { .sa_handler = wait_plain }, waits_info = { .sa_sigaction = wait_info };

	waits_info.sa_flags = SA_SIGINFO;
	sigaction(SIGRTMIN + 1, &waits, NULL);
	sigaction(SIGRTMIN + 2, &waits_info, NULL);
	sigaddset(&info_action.sa_mask, SIGRTMIN + 5);
	sigaltstack(&ss, NULL);
	sigaction(SIGUSR1, &plain_action, NULL);
	sigaction(SIGUSR2, &info_action, NULL);
	sigaction(SIGALRM, &tick_action, NULL);
}

static void check_signals(timer_t timer)
{
	struct itimerspec its;
	union sigval v = { .sival_int = 4711 };
	struct sigaction now;
	int before = ticks;

	raise(SIGUSR1);
	sigqueue(getpid(), SIGUSR2, v);
	expect(plain == 2 && info == 2 && value == 4711 && on_stack);
	sigaction(SIGUSR2, NULL, &now);
	expect(now.sa_sigaction == on_info && sigismember(&now.sa_mask, SIGRTMIN + 5) == 1);
	expect(!timer_gettime(timer, &its) && its.it_interval.tv_nsec == 10000000);
	for (int i = 0; i < 500 && ticks < before + 3; i++)
		usleep(10000);
	expect(ticks >= before + 3);
}

static void check_memory(char *high, const char *low, char *heap)
{
	char *more = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	expect(!strcmp(high, "high") && !strcmp(low, "low") && !strcmp(heap, "heap"));
	expect(more != MAP_FAILED);
	if (more != MAP_FAILED)
		memset(more, 1, 1 << 20);
	more = malloc(300000);
	expect(more);
	memset(more, 2, 300000);
	expect(sbrk(65536) != (void *)-1);
}

static const char *prefix = "";

static const char *named(const char *name)
{
	static char path[64];

	snprintf(path, sizeof(path), "%s%s", prefix, name);
	return path;
}

static void say(const char *text)
{
	FILE *f = fopen(named("said"), "w");
	char from[64];

	fprintf(f, "%s\n", text);
	fclose(f);
	snprintf(from, sizeof(from), "%s", named("said"));
	rename(from, named("result"));
}

/* Everything that is there before the dump. */
struct state {
	char *high, *low, *heap, *segment;
	pthread_t threads[THREADS], dead, handlers[2];
	int pipes[2], fd, flags;
	timer_t timer;
	pid_t child;
};

static void start_thread(pthread_t *thread, void *(*fn)(void *), int n)
{
	while (pthread_create(thread, NULL, fn, (void *)(intptr_t)n))
		usleep(100000);
}

static void set_up(struct state *s)
{
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM };
	struct itimerspec its = { { 0, 10000000 }, { 0, 10000000 } };
	union sigval v = { .sival_int = 12 };
	int id;

	s->high = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	s->low = mmap((void *)0x20000, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	s->heap = malloc(100);
	strcpy(s->high, "high");
	strcpy(s->low, "low");
	strcpy(s->heap, "heap");
	id = shmget(IPC_PRIVATE, 4096, 0600);
	s->segment = shmat(id, NULL, 0);
	shmctl(id, IPC_RMID, NULL);
	strcpy(s->segment, "segment");
	install();
	make_robust();
	expect(!pipe(s->pipes) && write(s->pipes[1], "p", 1) == 1);
	s->fd = open(named("file"), O_RDWR | O_CREAT, 0600);
	expect(write(s->fd, "0123456789", 10) == 10 && lseek(s->fd, 4, SEEK_SET) == 4);
	s->flags = fcntl(s->fd, F_GETFL);
	raise(SIGUSR1);
	sigqueue(getpid(), SIGUSR2, v);
	expect(plain == 1 && info == 1 && value == 12 && on_stack);
	for (int i = 0; i < THREADS; i++)
		start_thread(&s->threads[i], work, i);
	start_thread(&s->dead, holder, 0);
	for (int i = 0; i < 2; i++)
		start_thread(&s->handlers[i], in_handler, i + 1);
	while (!held || inside < 2)
		usleep(1000);
	timer_create(CLOCK_MONOTONIC, &ev, &s->timer);
	timer_settime(s->timer, 0, &its, NULL);
}

static void check(struct state *s)
{
	void *ret;
	char c;
	int status;

	check_signals(s->timer);
	check_memory(s->high, s->low, s->heap);
	expect(!strcmp(s->segment, "segment") && !shmdt(s->segment));
	expect(fcntl(s->fd, F_GETFL) == s->flags);
	expect(read(s->pipes[0], &c, 1) == 1 && c == 'p' && read(s->fd, &c, 1) == 1 && c == '4');
	if (sizeof(long) == 4)
		expect(int80(20, 0, 0, 0) == getpid() && int80(224, 0, 0, 0) == syscall(SYS_gettid));
	stop = 1;
	for (int i = 0; i < THREADS; i++)
		expect(!pthread_join(s->threads[i], &ret) && !ret);
	pthread_join(s->dead, NULL);
	for (int i = 0; i < 2; i++)
		expect(!pthread_join(s->handlers[i], &ret) && !ret);
	expect(pthread_mutex_lock(&robust) == EOWNERDEAD);
	if (s->child)
		expect(waitpid(s->child, &status, 0) == s->child && status == 0);
}

/* compat [PREFIX of its files [PROGRAM of a child, and its arguments]] */
int main(int argc, char **argv)
{
	struct state s = { .child = 0 };

	prefix = argc > 1 ? argv[1] : "";
	if (argc > 2) {
		s.child = fork();
		if (!s.child)
			execv(argv[2], argv + 2);
	}
	set_up(&s);
	close(open(named("ready"), O_CREAT | O_WRONLY, 0600));
	while (access("verify", F_OK)) {
		for (int i = 0; i < 20; i++)
			expect(!spin(100 + i));
		usleep(2000);
	}
	check(&s);
	say(wrong ? "FAIL" : "PASS");
	return wrong;
}
