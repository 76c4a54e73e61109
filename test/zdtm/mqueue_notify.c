/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * mq_notify(3): a child is to be told by a signal with a value, through a descriptor that the parent has too; another
 * queue has a registration without a signal, which keeps others from registering. One that waits in a queue is told
 * once.
 *
 * zdtm: needs-root
 */
#include <mqueue.h>

#include "zdtm.h"

static volatile int told, times;

static void note_signal(int signo, siginfo_t *info, void *context)
{
	told = info->si_code == SI_MESGQ ? info->si_value.sival_int : -1;
	times++;
}

static void child(mqd_t q, mqd_t silent)
{
	struct sigaction sa = { .sa_sigaction = note_signal, .sa_flags = SA_SIGINFO };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 3, .sigev_value.sival_int = 77 };

	zdtm_must(!sigaction(SIGRTMIN + 3, &sa, NULL) && !mq_notify(q, &ev));
	zdtm_must(!mq_notify(silent, &(struct sigevent) { .sigev_notify = SIGEV_NONE }));
	zdtm_touch("registered");
	zdtm_wait();
	for (int i = 0; i < 1000 && !times; i++)
		usleep(1000);
	usleep(20000);
	zdtm_check(told == 77 && times == 1, "was told %d, %d times", told, times);
	zdtm_check(!mq_notify(q, &ev), "to register again: %s", strerror(errno));
	_exit(0);
}

int main(void)
{
	struct sigevent ev = { .sigev_notify = SIGEV_NONE };
	char name[64], silent_name[64], text[8192];
	mqd_t q, silent;
	pid_t pid;
	int status;

	snprintf(name, sizeof(name), "/zdtm-notify-%d", getpid());
	snprintf(silent_name, sizeof(silent_name), "/zdtm-silent-%d", getpid());
	q = mq_open(name, O_CREAT | O_RDWR, 0600, NULL);
	silent = mq_open(silent_name, O_CREAT | O_RDWR, 0600, NULL);
	zdtm_must(q >= 0 && silent >= 0 && (pid = fork()) >= 0);
	if (!pid)
		child(q, silent);
	while (access("registered", F_OK))
		zdtm_nap();
	zdtm_ready();
	zdtm_wait();
	zdtm_check(mq_notify(silent, &ev) && errno == EBUSY, "the silent registration is gone: %s", strerror(errno));
	zdtm_check(mq_notify(q, &ev) && errno == EBUSY, "the registration is gone: %s", strerror(errno));
	zdtm_check(!mq_send(q, "x", 1, 0) && !mq_send(q, "y", 1, 0), "mq_send: %s", strerror(errno));
	zdtm_check(waitpid(pid, &status, 0) == pid && !status, "the child: %x", status);
	zdtm_check(mq_receive(q, text, sizeof(text), NULL) == 1 && text[0] == 'x', "the message: %s", strerror(errno));
	mq_unlink(name);
	mq_unlink(silent_name);
	zdtm_pass();
}
