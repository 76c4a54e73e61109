/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Descriptors of /dev/tty: of a session leader and its child, two descriptions, one of them also in a task of another
 * session, which could not open it. All lead to the session's terminal.
 *
 * zdtm: iters 2
 * zdtm: exclusive
 * zdtm: flavour ns
 * zdtm: flavour pidns
 */
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "pty_high.h"

static int master;

static void is_dev_tty(int fd, const char *who)
{
	struct stat st;
	unsigned dev = 0;

	zdtm_check(!fstat(fd, &st) && st.st_rdev == makedev(5, 0), "%s: no /dev/tty: %lx", who, (long)st.st_rdev);
	zdtm_check(!ioctl(fd, TIOCGDEV, &dev) && major(dev) == 136, "%s: it leads to %x", who, dev);
	zdtm_check(write(fd, who, strlen(who)) == (ssize_t)strlen(who), "%s: cannot write: %m", who);
}

static void child(int tty, int nonblock)
{
	zdtm_wait();
	is_dev_tty(tty, "child;");
	zdtm_check(fcntl(nonblock, F_GETFL) & O_NONBLOCK, "flags of the second");
	fcntl(nonblock, F_SETFL, 0);
	zdtm_touch("changed");
	_exit(0);
}

static void stranger(int tty)
{
	zdtm_must(setsid() > 0);
	zdtm_touch("stranger");
	zdtm_wait();
	is_dev_tty(tty, "stranger;");
	zdtm_check(open("/dev/tty", O_RDWR) == -1, "the stranger has a terminal");
	_exit(0);
}

static void leader(const char *name)
{
	int tty, nonblock, status;
	pid_t kid[2];

	zdtm_must(setsid() > 0 && open(name, O_RDWR) >= 0);
	zdtm_must((tty = open("/dev/tty", O_RDWR)) >= 0 && (nonblock = open("/dev/tty", O_RDONLY | O_NONBLOCK)) >= 0);
	close(master);
	zdtm_must((kid[0] = fork()) >= 0);
	if (!kid[0])
		child(tty, nonblock);
	zdtm_must((kid[1] = fork()) >= 0);
	if (!kid[1])
		stranger(tty);
	while (access(zdtm_path("stranger"), F_OK))
		zdtm_nap();
	zdtm_ready();
	zdtm_wait();
	is_dev_tty(tty, "leader;");
	while (access(zdtm_path("changed"), F_OK) && !waitpid(kid[0], &status, WNOHANG))
		zdtm_nap();
	zdtm_check(!(fcntl(nonblock, F_GETFL) & O_NONBLOCK), "the second is not shared with the child any more");
	waitpid(kid[0], &status, 0);
	waitpid(kid[1], &status, 0);
	_exit(0);
}

int main(void)
{
	char name[64], said[256] = "";
	int status, unlock = 0;
	pid_t kid;

	zdtm_hold_low();
	zdtm_must((master = open("/dev/ptmx", O_RDWR | O_NOCTTY)) >= 0 && !ioctl(master, TIOCSPTLCK, &unlock));
	zdtm_free_low();
	zdtm_must(!ptsname_r(master, name, sizeof(name)) && (kid = fork()) >= 0);
	if (!kid)
		leader(name);
	zdtm_wait();
	waitpid(kid, &status, 0);
	zdtm_check(!status, "the leader ended with %x", status);
	for (size_t n = 0; n < sizeof(said) - 1;) {
		ssize_t more = read(master, said + n, sizeof(said) - 1 - n);

		if (more <= 0)
			break;
		n += (size_t)more;
	}
	zdtm_check(strstr(said, "child;") && strstr(said, "stranger;") && strstr(said, "leader;"), "they said %s",
	           said);
	zdtm_pass();
}
