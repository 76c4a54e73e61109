/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * F_NOTIFY (dnotify): directories that signal for changes, once and again, with two descriptors of one directory, a
 * queued signal with the descriptor's number, a registration of a child alone, and an owner without a registration.
 *
 * zdtm: iters 3
 */
#include <signal.h>
#include <sys/stat.h>

#include "zdtm.h"

static volatile sig_atomic_t got, from;

static void on_signal(int sig, siginfo_t *si, void *uc)
{
	got++;
	from = si->si_fd;
}

static void change(const char *dir)
{
	char name[100];

	snprintf(name, sizeof(name), "%s/file", dir);
	close(open(name, O_CREAT | O_WRONLY, 0600));
	unlink(name);
}

static void expect(const char *what, const char *dir, int signals, int fd)
{
	got = 0;
	from = -1;
	change(dir);
	zdtm_check(got == signals && (!signals || from == fd), "%s: %d signals, of fd %d", what, got, from);
}

static int opened(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY);

	zdtm_must(fd >= 0);
	return fd;
}

int main(void)
{
	struct sigaction sa = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	int again, once, second, owned, shared, status;
	pid_t kid;

	if (access("/sys/kernel/btf/vmlinux", R_OK))
		zdtm_skip("the kernel has no BTF: nothing shows what F_NOTIFY has registered");
	zdtm_must(!mkdir("again", 0700) && !mkdir("once", 0700) && !mkdir("owned", 0700) && !mkdir("shared", 0700));
	sigaction(SIGRTMIN + 3, &sa, NULL);
	sigaction(SIGIO, &sa, NULL);
	again = opened("again");
	zdtm_must(!fcntl(again, F_SETSIG, SIGRTMIN + 3) && !fcntl(again, F_NOTIFY, DN_CREATE | DN_MULTISHOT));
	once = opened("once");
	zdtm_must(!fcntl(once, F_SETSIG, SIGRTMIN + 3) && !fcntl(once, F_NOTIFY, DN_DELETE | DN_RENAME));
	second = opened("once");
	zdtm_must(!fcntl(second, F_SETSIG, SIGRTMIN + 3) && !fcntl(second, F_NOTIFY, DN_ATTRIB | DN_MULTISHOT));
	owned = opened("owned");
	zdtm_must(!fcntl(owned, F_SETOWN, getpid()));
	shared = opened("shared");
	zdtm_must(!fcntl(shared, F_SETSIG, SIGRTMIN + 3));
	zdtm_must((kid = fork()) >= 0);
	if (!kid) {
		/* The owner is the child, and the registration goes with its table. */
		zdtm_must(!fcntl(shared, F_NOTIFY, DN_CREATE | DN_MULTISHOT));
		zdtm_touch("registered");
		zdtm_wait();
		expect("the child's", "shared", 1, shared);
		close(shared);
		expect("the child's, closed", "shared", 0, -1);
		_exit(0);
	}
	while (access("registered", F_OK))
		zdtm_nap();
	zdtm_ready();
	zdtm_wait();

	zdtm_check(!got, "a signal came: fd %d", from);
	expect("again", "again", 1, again);
	expect("again, the second time", "again", 1, again);
	expect("once", "once", 1, once);
	expect("once, the second time", "once", 0, -1);
	close(open("once/x", O_CREAT | O_WRONLY, 0600));
	got = 0;
	chmod("once/x", 0644);
	zdtm_check(got == 1 && from == second, "attributes: %d of %d", got, from);
	expect("owned", "owned", 0, -1);
	got = 0;
	zdtm_check(waitpid(kid, &status, 0) == kid && !status, "child: %x", status);
	zdtm_check(!got, "the child's came here");
	zdtm_pass();
}
