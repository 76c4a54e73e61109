/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A process that is to be told of the next message in a POSIX queue is refused: what it wants to be told is not shown.
 *
 * zdtm: refuse fd 100: process [0-9]+ is to be notified .* message queue /zdtm-notify \(mq_notify\)
 */
#include <mqueue.h>

#include "zdtm.h"

static volatile int told;

static void note_signal(int signo, siginfo_t *info, void *context)
{
	told = info->si_value.sival_int;
}

int main(void)
{
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 77 };
	struct sigaction sa = { .sa_sigaction = note_signal, .sa_flags = SA_SIGINFO };
	mqd_t q = mq_open("/zdtm-notify", O_CREAT | O_RDWR, 0600, NULL);

	zdtm_must(q >= 0 && dup2(q, 100) == 100 && !close(q));
	zdtm_must(!sigaction(SIGUSR1, &sa, NULL) && !mq_notify(100, &ev));
	zdtm_ready();
	zdtm_wait();
	zdtm_check(!mq_send(100, "x", 1, 0) && told == 77, "was told %d", told);
	mq_unlink("/zdtm-notify");
	zdtm_pass();
	return 0;
}
