/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A process that is to be told of the next message in a POSIX queue is refused where messages wait, which would have to
 * be put back, and where a thread is to tell it.
 *
 * zdtm: refuse fd 100: process [0-9]+ is to be notified .* message queue /zdtm-notify \(mq_notify\), and messages wait
 * zdtm: refuse fd 101: process [0-9]+ is to be notified .* message queue /zdtm-thread \(mq_notify\), by a thread
 */
#include <mqueue.h>

#include "zdtm.h"

static volatile int told;

static void note_signal(int signo, siginfo_t *info, void *context)
{
	told = info->si_value.sival_int;
}

static void in_thread(union sigval v)
{
	told = v.sival_int;
}

int main(void)
{
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 77 };
	struct sigaction sa = { .sa_sigaction = note_signal, .sa_flags = SA_SIGINFO };
	struct sigevent by_thread = { .sigev_notify = SIGEV_THREAD,
		                      .sigev_notify_function = in_thread,
		                      .sigev_value.sival_int = 78 };
	mqd_t q = mq_open("/zdtm-notify", O_CREAT | O_RDWR, 0600, NULL),
	      other = mq_open("/zdtm-thread", O_CREAT | O_RDWR, 0600, NULL);
	char text[8192];

	zdtm_must(other >= 0 && dup2(other, 101) == 101 && !close(other) && !mq_notify(101, &by_thread));
	zdtm_must(q >= 0 && dup2(q, 100) == 100 && !close(q));
	zdtm_must(!sigaction(SIGUSR1, &sa, NULL) && !mq_send(100, "w", 1, 0) && !mq_notify(100, &ev));
	zdtm_ready();
	zdtm_wait();
	zdtm_check(mq_receive(100, text, sizeof(text), NULL) == 1 && !mq_send(100, "x", 1, 0) && told == 77,
	           "was told %d", told);
	zdtm_check(!mq_send(101, "x", 1, 0), "mq_send: %s", strerror(errno));
	for (int i = 0; i < 1000 && told != 78; i++)
		usleep(1000);
	zdtm_check(told == 78, "the thread was told %d", told);
	mq_unlink("/zdtm-notify");
	mq_unlink("/zdtm-thread");
	zdtm_pass();
	return 0;
}
