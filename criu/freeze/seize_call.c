/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * SEIZE can wait for ever: it takes the mutex that execve() holds (cred_guard_mutex), and execve() waits until the
 * threads that it has killed are gone. Those that were seized are gone when their tracer has waited for them, which is
 * here, in SEIZE. And a file system that does not answer holds an execve() up, too. The call is begun again behind each
 * signal (ERESTARTNOINTR), so it is the handler of a timer that waits for the dead, and jumps out at the deadline.
 */
#include <string.h>
#include <sys/wait.h>

#include "freeze/freezer.h"
#include "freeze/ptrace.h"
#include "lib/log.h"
#include "uapi/sigevent_bits.h"

#define TICK_MS     5

/* Not SIGALRM: an alarm(2) set before criu was executed is to end criu. */
#define TICK_SIGNAL SIGRTMIN

/* A tracer is given stops, too, whatever it asks for; those are left for others (WNOWAIT). */
static bool is_dead(pid_t tid)
{
	siginfo_t info = { 0 };

	return waitid(P_PID, (id_t)tid, &info, WEXITED | WNOHANG | WNOWAIT | __WALL) == 0 && info.si_pid == tid &&
	       (info.si_code == CLD_EXITED || info.si_code == CLD_KILLED || info.si_code == CLD_DUMPED);
}

void seize_reap_dead(const struct proc *p)
{
	for (size_t i = 0; i < p->n_threads; i++) {
		const struct seized *s = p->threads[i];

		/* Nobody waits for the leader's end; its zombie is what execve() takes over from. */
		if (s->tid != p->pid && s->state != SEIZED_GONE && is_dead(s->tid))
			waitpid(s->tid, NULL, WNOHANG | __WALL);
	}
}

static void set_blocked(int how, sigset_t *old)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, TICK_SIGNAL);
	pthread_sigmask(how, &set, old);
}

/* A call that the timer meets for the first time is not known to wait. */
static void seize_tick(int sig, siginfo_t *info, void *context)
{
	struct freezer *f = info->si_code == SI_TIMER ? info->si_value.sival_ptr : NULL;
	int saved = errno;

	if (!f || !f->watch.seizing || f->watch.ticks++ == 0)
		return;
	seize_reap_dead(f->watch.seizing);
	if (clock_now_ms() >= f->deadline) {
		set_blocked(SIG_UNBLOCK, NULL); /* it is, in its handler, and a jump out leaves it so */
		siglongjmp(f->watch.jump, 1);
	}
	errno = saved;
}

int seize_call(struct freezer *f, const struct proc *p, pid_t tid)
{
	int err;

	if (sigsetjmp(f->watch.jump, 0)) {
		f->watch.seizing = NULL;
		return log_errno(-ETIMEDOUT,
		                 "pid %d (%s): it executes a program and does not come to an end with that within "
		                 "%u s (--timeout); does the file system of the program answer?",
		                 p->pid, p->comm, f->timeout);
	}
	f->watch.ticks = 0;
	f->watch.seizing = p;
	err = ptrace_seize(tid, 0);
	f->watch.seizing = NULL;
	return err;
}

void seize_watch(struct freezer *f)
{
	struct sigaction sa = { .sa_sigaction = seize_tick, .sa_flags = SA_SIGINFO | SA_RESTART };
	struct itimerspec every = { .it_interval.tv_nsec = TICK_MS * 1000000L, .it_value.tv_nsec = TICK_MS * 1000000L };
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID,
		               .sigev_signo = TICK_SIGNAL,
		               .sigev_value.sival_ptr = f };

	ev.sigev_notify_thread_id = f->self;
	/* RLIMIT_SIGPENDING counts timers; where no timer is allowed, criu goes on without one. */
	if (timer_create(CLOCK_MONOTONIC, &ev, &f->watch.timer)) {
		log_debug("no timer for seizing threads: %s", strerror(errno));
		return;
	}
	sigaction(TICK_SIGNAL, &sa, &f->watch.old_action);
	set_blocked(SIG_UNBLOCK, &f->watch.old_mask);
	f->watch.on = true;
	timer_settime(f->watch.timer, 0, &every, NULL);
}

/* A signal that is on its way comes when timer_delete() returns: it is this thread's, and not blocked. */
void seize_unwatch(struct freezer *f)
{
	if (!f->watch.on)
		return;
	timer_delete(f->watch.timer);
	pthread_sigmask(SIG_SETMASK, &f->watch.old_mask, NULL);
	sigaction(TICK_SIGNAL, &f->watch.old_action, NULL);
	f->watch.on = false;
}
