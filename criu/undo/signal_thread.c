/* SPDX-License-Identifier: GPL-2.0-only */
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/own_pids.h"
#include "undo/signal_thread.h"

#define WAKE          SIGURG /* nobody sends this one to a criu */
#define WATCHED_TRIES 100000 /* of a tenth of a millisecond */

struct signal_thread {
	struct undo_log *log;
	pthread_t thread;
	pthread_mutex_t ending; /* held where criu is not to be ended */
	const char *no_stop;    /* why criu is not stopped; NULL: it may be */
	bool over;
	int late;             /* a signal that came after the commit */
	sigset_t ends, stops; /* what this thread waits for */
	sigset_t before;      /* the caller's mask */
};

static const int end_signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
static const int stop_signals[] = { SIGTSTP, SIGTTIN, SIGTTOU };

/* Those that would do what they do by default: neither ignored nor blocked when criu was started. */
static void choose_signals(const int *signals, size_t n, const sigset_t *blocked, sigset_t *set)
{
	sigemptyset(set);
	for (size_t i = 0; i < n; i++) {
		struct sigaction now;

		if (!sigaction(signals[i], NULL, &now) && now.sa_handler == SIG_DFL &&
		    !sigismember(blocked, signals[i]))
			sigaddset(set, signals[i]);
	}
}

/*
 * The signal is raised in this thread, which ends all: the others may be traced or wait for a vfork(2), where a signal
 * that is not SIGKILL would not reach them. The first process of a pid namespace is not killed by its own signals.
 */
static _Noreturn void die_of(struct signal_thread *s, int sig)
{
	const struct timespec pause = { .tv_nsec = 100000 };
	sigset_t one;

	/* A guardian that was forked just now does not hold this thread yet: on a busy machine it may not have run at
	 * all. */
	for (int i = 0; i < WATCHED_TRIES && !undo_log_is_watched(s->log); i++)
		nanosleep(&pause, NULL);
	log_errno(0, "SIG%s: criu ends, and everything is taken back", sigabbrev_np(sig));
	sigemptyset(&one);
	sigaddset(&one, sig);
	pthread_sigmask(SIG_UNBLOCK, &one, NULL);
	raise(sig);
	_exit(128 + sig);
}

/* ---- after the commit ---- */

#define ENDS_WITHIN_MS 300 /* what is left takes a moment, but for a log or a pid file that nobody reads */

/* For a command that does not end then, but has a tree to wait for. lint: global: a signal handler writes it */
static volatile sig_atomic_t late_signal;

int signal_thread_late(void)
{
	return late_signal;
}

/* The guardian finishes what has been committed, if that is not done yet. */
static void exit_done(int sig)
{
	_exit(0);
}

static void end_soon(int sig)
{
	const struct sigaction sa = { .sa_handler = exit_done };
	const struct itimerval soon = { .it_value.tv_usec = ENDS_WITHIN_MS * 1000 };

	late_signal = sig;
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &soon, NULL);
}

/* Without the thread: a signal leaves criu a moment to come to its end, with the status of what has been done. */
static void let_signals_hasten(const struct signal_thread *s)
{
	const struct sigaction sa = { .sa_handler = end_soon, .sa_flags = SA_RESTART };
	sigset_t mask = s->before;

	for (size_t i = 0; i < ARRAY_SIZE(end_signals); i++)
		if (sigismember(&s->ends, end_signals[i]))
			sigaction(end_signals[i], &sa, NULL);
	if (s->late)
		raise(s->late);
	sigdelset(&mask, SIGALRM);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

/* ---- the thread ---- */

static void take_signal(struct signal_thread *s, int sig)
{
	if (sig < 0 && s->late && errno == EAGAIN)
		exit_done(s->late);
	if (sig <= 0 || sig == WAKE)
		return;
	if (sigismember(&s->stops, sig)) {
		log_warn("SIG%s: %s, so criu does not stop; SIGINT (^C) takes all back", sigabbrev_np(sig), s->no_stop);
	} else if (sigismember(&s->ends, sig)) {
		pthread_mutex_lock(&s->ending);
		if (undo_log_interrupt(s->log))
			die_of(s, sig);
		pthread_mutex_unlock(&s->ending);
		s->late = sig;
	}
}

static void *wait_for_signals(void *arg)
{
	const struct timespec moment = { .tv_nsec = ENDS_WITHIN_MS * 1000000L };
	struct signal_thread *s = arg;

	prctl(PR_SET_NAME, GUARDIAN_SIGNAL_THREAD);
	undo_log_set_holder(s->log, gettid());
	while (!__atomic_load_n(&s->over, __ATOMIC_ACQUIRE)) {
		sigset_t set = s->ends;

		if (__atomic_load_n(&s->no_stop, __ATOMIC_ACQUIRE))
			sigorset(&set, &s->ends, &s->stops);
		sigaddset(&set, WAKE);
		take_signal(s, sigtimedwait(&set, NULL, s->late ? &moment : NULL));
	}
	return NULL;
}

static int create_thread(struct signal_thread *s)
{
	sigset_t all, mask;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &s->before);
	choose_signals(end_signals, ARRAY_SIZE(end_signals), &s->before, &s->ends);
	choose_signals(stop_signals, ARRAY_SIZE(stop_signals), &s->before, &s->stops);
	err = own_pids_thread(&s->thread, wait_for_signals, s);
	mask = s->before;
	if (!err)
		sigorset(&mask, &s->before, &s->ends);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	return err;
}

int signal_thread_start(struct undo_log *log, struct signal_thread **sp)
{
	struct signal_thread *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return log_errno(-ENOMEM, "starting the thread that takes signals");
	s->log = log;
	pthread_mutex_init(&s->ending, NULL);
	err = create_thread(s);
	if (err) {
		pthread_mutex_destroy(&s->ending);
		free(s);
		return log_errno(err, "pthread_create of the thread that takes signals");
	}
	*sp = s;
	return 0;
}

void signal_thread_hold_stops(struct signal_thread *s, const char *text)
{
	pthread_sigmask(SIG_BLOCK, &s->stops, NULL);
	__atomic_store_n(&s->no_stop, text, __ATOMIC_RELEASE);
	pthread_kill(s->thread, WAKE);
}

void signal_thread_hold_end(struct signal_thread *s)
{
	pthread_mutex_lock(&s->ending);
}

void signal_thread_allow_end(struct signal_thread *s)
{
	pthread_mutex_unlock(&s->ending);
}

void signal_thread_end(struct signal_thread *s, bool committed)
{
	__atomic_store_n(&s->over, true, __ATOMIC_RELEASE);
	pthread_kill(s->thread, WAKE);
	pthread_join(s->thread, NULL);
	if (committed)
		let_signals_hasten(s);
	else
		pthread_sigmask(SIG_SETMASK, &s->before, NULL);
	pthread_mutex_destroy(&s->ending);
	free(s);
}
