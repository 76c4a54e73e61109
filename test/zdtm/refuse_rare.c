/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Rare things, each refused by its name: a timer of a thread's CPU time, a part of a ring of asynchronous I/O and of a
 * packet socket's, a terminal that was hung up, /dev/tty that leads nowhere any more, a watch on a deleted file that a
 * process outside of the tree has open.
 *
 * zdtm: needs-root
 * zdtm: sole
 * zdtm: refuse its timer [0-9]+ runs by CPU time of one of its threads
 * zdtm: refuse mapping .*aio.*: a part of a ring of asynchronous I/O
 * zdtm: refuse mapping .*socket:.*: a part of the ring of a packet socket
 * zdtm: refuse fd 101: .*: this terminal was hung up, and could only be opened as a working one
 * zdtm: refuse fd 102: .*: leads to terminal 136:[0-9]+, which is no task's controlling terminal any more
 * zdtm: refuse fd 103: .* is on a deleted file .* that no task of the tree has open
 * zdtm: flavour no pidns
 */
#include <arpa/inet.h>
#include <linux/aio_abi.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <pthread.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <termios.h>

#include "zdtm.h"
#include "zdtm_until.h"

#define PAGE 4096UL

static void at(int number, int fd)
{
	zdtm_must(fd >= 0 && dup2(fd, number) == number && !close(fd));
}

static void *sleeper(void *arg)
{
	for (;;)
		pause();
	return NULL;
}

static void thread_timer(void)
{
	pthread_t thread;
	struct sigevent ev = { .sigev_notify = SIGEV_NONE };
	timer_t id;

	zdtm_must(!timer_create(CLOCK_THREAD_CPUTIME_ID, &ev, &id) && !pthread_create(&thread, NULL, sleeper, NULL));
}

static void parts_of_rings(void)
{
	struct tpacket_req req = {
		.tp_block_size = 2 * PAGE, .tp_block_nr = 1, .tp_frame_size = PAGE, .tp_frame_nr = 2
	};
	aio_context_t ctx = 0;
	int fd = socket(AF_PACKET, SOCK_RAW, htons(0x88b6));
	char *p;

	zdtm_must(!syscall(SYS_io_setup, 500, &ctx) && !munmap((void *)ctx, PAGE));
	zdtm_must(fd >= 0 && !setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)));
	p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	zdtm_must(p != MAP_FAILED && !munmap(p, PAGE));
}

static int terminal(int *slave)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY);

	zdtm_must(master >= 0 && !grantpt(master) && !unlockpt(master));
	*slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	zdtm_must(*slave >= 0);
	return master;
}

static void terminals(void)
{
	int slave, fd = open("/dev/tty61", O_RDWR | O_NOCTTY);

	if (fd < 0)
		zdtm_skip("/dev/tty61: %s", strerror(errno));
	at(101, fd);
	fd = open("/dev/tty61", O_RDWR | O_NOCTTY);
	zdtm_must(!ioctl(fd, 0x5437 /* TIOCVHANGUP */) && !close(fd));
	terminal(&slave);
	if (!fork()) {
		signal(SIGHUP, SIG_IGN); /* what TIOCNOTTY sends */
		zdtm_must(setsid() > 0 && !ioctl(slave, TIOCSCTTY, 0));
		at(102, open("/dev/tty", O_RDWR));
		zdtm_must(!ioctl(102, TIOCNOTTY));
		zdtm_up();
		zdtm_wait();
		_exit(0);
	}
}

/* The child of a child that ends is the runner's. */
static void watch(void)
{
	int p[2], fd = open("gone", O_RDWR | O_CREAT, 0600);
	pid_t test = getpid(), pid;
	char byte;

	at(103, inotify_init());
	zdtm_must(fd >= 0 && !pipe(p) && inotify_add_watch(103, "gone", IN_OPEN) > 0);
	pid = fork();
	zdtm_must(pid >= 0);
	if (!pid) {
		if (!fork()) {
			for (int i = 0; i < 200; i++)
				if (i != fd && i != p[1] && i > 2)
					close(i);
			zdtm_must(setsid() > 0 && write(p[1], "x", 1) == 1);
			close(p[1]);
			while (access(zdtm_path("verify"), F_OK) && !kill(test, 0))
				zdtm_nap();
		}
		_exit(0);
	}
	zdtm_must(waitpid(pid, NULL, 0) == pid && read(p[0], &byte, 1) == 1 && !unlink("gone") && !close(fd));
	close(p[0]);
	close(p[1]);
}

int main(void)
{
	watch();
	terminals();
	parts_of_rings();
	thread_timer();
	zdtm_until_up(1);
	zdtm_ready();
	zdtm_wait();
	for (int i = 101; i < 104; i++)
		zdtm_check(i == 102 || fcntl(i, F_GETFD) >= 0, "descriptor %d is gone", i);
	wait(NULL);
	zdtm_pass();
}
