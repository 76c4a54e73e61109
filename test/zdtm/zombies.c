/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Zombies: by exit code, by signal, one with a core bit where the system would dump one; of a child as well.
 *
 * zdtm: mode snapshot
 * zdtm: flavour ns
 * zdtm: restores 2
 * zdtm: flavour no pidns
 */
#include <sys/resource.h>

#include "zdtm.h"
#include "zdtm_until.h"

#define N 6

int main(void)
{
	static const int codes[N] = { 0, 1, 255, -SIGKILL, -SIGTERM, -SIGSEGV };
	pid_t kids[N], child;
	int status;

	for (int i = 0; i < N; i++) {
		zdtm_must((kids[i] = fork()) >= 0);
		if (kids[i])
			continue;
		setrlimit(RLIMIT_CORE, &(struct rlimit) { 0, 0 });
		if (codes[i] >= 0)
			_exit(codes[i]);
		signal(-codes[i], SIG_DFL);
		kill(getpid(), -codes[i]);
		pause();
	}
	zdtm_must((child = fork()) >= 0);
	if (!child) {
		pid_t z = fork();

		if (!z)
			_exit(33);
		zdtm_until(z, ") Z ");
		zdtm_up();
		for (int i = 0; i < N; i++)
			kids[i] = 0;
		zdtm_wait();
		zdtm_check(waitpid(z, &status, 0) == z && status == 33 << 8, "the child's zombie: %x", status);
		_exit(0);
	}
	for (int i = 0; i < N; i++)
		zdtm_until(kids[i], ") Z ");
	zdtm_until_up(1);
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < N; i++) {
		siginfo_t si;
		int want = codes[i] >= 0 ? codes[i] << 8 : -codes[i];

		zdtm_check(!waitid(P_PID, kids[i], &si, WEXITED | WNOWAIT) && si.si_pid == kids[i], "waitid of %d", i);
		zdtm_check(waitpid(kids[i], &status, 0) == kids[i] && status == want, "zombie %d: %x, not %x", i,
		           status, want);
	}
	zdtm_check(waitpid(child, &status, 0) == child && !status, "child: %x", status);
	zdtm_check(waitpid(-1, NULL, WNOHANG) == -1 && errno == ECHILD, "there are more children");
	zdtm_pass();
}
