/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Namespaces in which no task is, held by a descriptor: uts with a name, ipc with objects, net with an address and a
 * listening socket of the tree; two descriptors of one; and of the host's, by a process that is in none of them.
 *
 * zdtm: needs-root
 * zdtm: iters 3
 * zdtm: no-userns enters namespaces of root
 * zdtm: allow fd [0-9]*link  any  a new namespace has another number
 */
#include <arpa/inet.h>
#include <mqueue.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/utsname.h>

#include "zdtm.h"

#define SIZE 10000

static int uts, again, ipc, net, host_uts, host_ipc, listener, segment, set;
static char host[65];

static int open_ns(const char *name, int flags)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/ns/%s", name);
	return open(path, flags | O_CLOEXEC);
}

static void make_uts(void)
{
	zdtm_must(!unshare(CLONE_NEWUTS) && !sethostname("held", 4) && !setdomainname("example", 7));
	uts = open_ns("uts", O_RDONLY);
	again = open_ns("uts", O_PATH);
	zdtm_must(uts >= 0 && again >= 0 && !setns(host_uts, CLONE_NEWUTS));
}

static void make_ipc(void)
{
	struct mq_attr attr = { .mq_maxmsg = 4, .mq_msgsize = 10 };
	mqd_t queue;
	char *at;

	zdtm_must(!unshare(CLONE_NEWIPC));
	segment = shmget(0x5a445421, SIZE, IPC_CREAT | IPC_EXCL | 0600);
	at = segment < 0 ? (char *)-1 : shmat(segment, NULL, 0);
	zdtm_must(at != (char *)-1);
	memset(at, 'x', SIZE);
	set = semget(0x5a445421, 2, IPC_CREAT | IPC_EXCL | 0600);
	queue = mq_open("/held", O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
	zdtm_must(!shmdt(at) && set >= 0 && !semctl(set, 1, SETVAL, 5) && queue >= 0 && !mq_send(queue, "yes", 3, 0));
	mq_close(queue);
	ipc = open_ns("ipc", O_RDONLY);
	zdtm_must(ipc >= 0 && !setns(host_ipc, CLONE_NEWIPC));
}

static void make_net(void)
{
	int before = open_ns("net", O_RDONLY), sock;
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(7777) };
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };

	zdtm_must(before >= 0 && !unshare(CLONE_NEWNET));
	sock = socket(AF_INET, SOCK_DGRAM, 0);
	zdtm_must(sock >= 0 && !ioctl(sock, SIOCSIFFLAGS, &lo));
	close(sock);
	listener = socket(AF_INET, SOCK_STREAM, 0);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	zdtm_must(listener >= 0 && !bind(listener, (struct sockaddr *)&at, sizeof(at)) && !listen(listener, 5));
	net = open_ns("net", O_RDONLY);
	zdtm_must(net >= 0 && !setns(before, CLONE_NEWNET));
	close(before);
}

static void check_uts(void)
{
	struct utsname u;
	struct stat a, b;

	zdtm_check(!fstat(uts, &a) && !fstat(again, &b) && a.st_ino == b.st_ino, "two descriptors of one");
	zdtm_check(fcntl(again, F_GETFL) & O_PATH, "O_PATH");
	zdtm_check(!setns(uts, CLONE_NEWUTS) && !uname(&u), "setns(uts): %s", strerror(errno));
	zdtm_check(!strcmp(u.nodename, "held") && !strcmp(u.domainname, "example"), "names are %s, %s", u.nodename,
	           u.domainname);
	zdtm_check(!setns(host_uts, CLONE_NEWUTS) && !uname(&u) && !strcmp(u.nodename, host), "the host's: %s",
	           u.nodename);
}

static void check_ipc(void)
{
	char text[10];
	mqd_t queue;
	char *at;

	zdtm_check(!setns(ipc, CLONE_NEWIPC), "setns(ipc): %s", strerror(errno));
	at = shmat(segment, NULL, SHM_RDONLY);
	zdtm_check(at != (char *)-1 && at[0] == 'x' && at[SIZE - 1] == 'x', "the segment");
	zdtm_check(shmget(0x5a445421, 0, 0) == segment && semget(0x5a445421, 0, 0) == set, "numbers");
	zdtm_check(semctl(set, 1, GETVAL) == 5, "a semaphore is %d", semctl(set, 1, GETVAL));
	queue = mq_open("/held", O_RDONLY | O_NONBLOCK);
	zdtm_check(queue >= 0 && mq_receive(queue, text, sizeof(text), NULL) == 3, "the queue: %s", strerror(errno));
	zdtm_check(!setns(host_ipc, CLONE_NEWIPC) && shmget(0x5a445421, 0, 0) < 0, "the host's");
}

static void check_net(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(7777) };
	int sock;

	zdtm_check(!setns(net, CLONE_NEWNET), "setns(net): %s", strerror(errno));
	sock = socket(AF_INET, SOCK_STREAM, 0);
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	zdtm_check(!connect(sock, (struct sockaddr *)&at, sizeof(at)), "connect: %s", strerror(errno));
	zdtm_check(accept(listener, NULL, NULL) >= 0, "accept: %s", strerror(errno));
}

int main(void)
{
	host_uts = open_ns("uts", O_RDONLY);
	host_ipc = open_ns("ipc", O_RDONLY);
	zdtm_must(host_uts >= 0 && host_ipc >= 0 && !gethostname(host, sizeof(host)));
	make_uts();
	make_ipc();
	make_net();
	/* The only task is in none of them, nor in the host's. */
	zdtm_must(!unshare(CLONE_NEWUTS | CLONE_NEWIPC));
	zdtm_ready();
	zdtm_wait();
	check_uts();
	check_ipc();
	check_net();
	zdtm_pass();
}
