/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * System V message queues: with and without a key, of another user, with messages of every size, in order, and more
 * bytes than the kernel's default; one process sleeps in msgrcv(2), one in msgsnd(2) on a queue that is full. All are
 * as before, and both sleepers get what they wait for.
 *
 * zdtm: iters 3
 * zdtm: restores 2
 * zdtm: needs-root
 * zdtm: flavour no pidns
 */
#include <sys/ipc.h>
#include <sys/msg.h>

#include "zdtm.h"

#define KEY    0x5a445403
#define N_MSGS 20

enum { KEYED, OTHERS, EMPTY, FULL, N };

struct message {
	long type;
	char text[4096];
};

static int queue[N];
static pid_t receiver, sender;
static struct msqid_ds before[N];

static size_t size_of(int i)
{
	return (size_t)(i * 137) % 900;
}

static void send_one(int q, long type, size_t size, int with)
{
	struct message m = { .type = type };

	memset(m.text, with, size);
	zdtm_must(!msgsnd(queue[q], &m, size, 0));
}

static void make_queues(void)
{
	int status;
	pid_t pid;

	queue[KEYED] = msgget(KEY, IPC_CREAT | IPC_EXCL | 0620);
	pid = fork();
	zdtm_must(pid >= 0);
	if (!pid)
		_exit(setregid(77, 77) || setreuid(88, 88) || msgget(KEY + 1, IPC_CREAT | 0666) < 0);
	zdtm_must(waitpid(pid, &status, 0) == pid && !status);
	queue[OTHERS] = msgget(KEY + 1, 0);
	queue[EMPTY] = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
	queue[FULL] = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
	for (int i = 0; i < N; i++)
		zdtm_must(queue[i] >= 0);
	for (int i = 0; i < N_MSGS; i++)
		send_one(KEYED, i % 3 + 1, size_of(i), 'a' + i);
	send_one(OTHERS, LONG_MAX, 4000, 'x');
	for (int i = 0; i < 4; i++)
		send_one(FULL, 1, 4096, 'f');
}

static void run_receiver(void)
{
	struct message m = { 0 };

	_exit(msgrcv(queue[EMPTY], &m, sizeof(m.text), 5, 0) != 3 || memcmp(m.text, "yes", 3));
}

static void run_sender(void)
{
	struct message m = { .type = 9, .text = "late" };

	_exit(msgsnd(queue[FULL], &m, 4, 0) != 0);
}

static int is_asleep(pid_t pid, const char *in)
{
	char path[64], text[64] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/wchan", pid);
	fd = open(path, O_RDONLY);
	zdtm_must(fd >= 0 && read(fd, text, sizeof(text) - 1) >= 0);
	close(fd);
	return strstr(text, in) || !strcmp(text, "0");
}

static void set_up(void)
{
	make_queues();
	receiver = fork();
	zdtm_must(receiver >= 0);
	if (!receiver)
		run_receiver();
	sender = fork();
	zdtm_must(sender >= 0);
	if (!sender)
		run_sender();
	while (!is_asleep(receiver, "msgrcv") || !is_asleep(sender, "msgsnd"))
		zdtm_nap();
	for (int i = 0; i < N; i++)
		zdtm_must(!msgctl(queue[i], IPC_STAT, &before[i]));
}

static void check_queue(int i)
{
	struct msqid_ds ds = { 0 }, *was = &before[i];

	zdtm_check(!msgctl(queue[i], IPC_STAT, &ds), "queue %d: msgctl: %s", i, strerror(errno));
	zdtm_check(ds.msg_perm.__key == was->msg_perm.__key && ds.msg_qbytes == was->msg_qbytes &&
	               ds.msg_qnum == was->msg_qnum && ds.__msg_cbytes == was->__msg_cbytes,
	           "queue %d: %lu messages, %lu bytes of %lu", i, ds.msg_qnum, ds.__msg_cbytes, ds.msg_qbytes);
	zdtm_check(ds.msg_perm.uid == was->msg_perm.uid && ds.msg_perm.gid == was->msg_perm.gid &&
	               ds.msg_perm.cuid == was->msg_perm.cuid && ds.msg_perm.cgid == was->msg_perm.cgid &&
	               ds.msg_perm.mode == was->msg_perm.mode,
	           "queue %d: other owners", i);
	zdtm_check(!was->msg_lspid || ds.msg_lspid == was->msg_lspid, "queue %d: the last sender is %d", i,
	           ds.msg_lspid);
}

static void check_messages(void)
{
	struct message m;

	for (int i = 0; i < N_MSGS; i++) {
		ssize_t size = msgrcv(queue[KEYED], &m, sizeof(m.text), 0, IPC_NOWAIT);

		zdtm_check(size == (ssize_t)size_of(i) && m.type == i % 3 + 1 && (!size || m.text[size - 1] == 'a' + i),
		           "message %d: %zd bytes of type %ld", i, size, m.type);
	}
	zdtm_check(msgrcv(queue[OTHERS], &m, sizeof(m.text), LONG_MAX, IPC_NOWAIT) == 4000, "no message of 4000 bytes");
}

static void check_sleepers(void)
{
	struct message m = { .type = 5, .text = "yes" };
	int status = -1;

	zdtm_check(!msgsnd(queue[EMPTY], &m, 3, 0), "msgsnd: %s", strerror(errno));
	zdtm_check(waitpid(receiver, &status, 0) == receiver && !status, "the receiver ended with %x", status);
	zdtm_check(msgrcv(queue[FULL], &m, sizeof(m.text), 1, 0) == 4096, "msgrcv: %s", strerror(errno));
	zdtm_check(waitpid(sender, &status, 0) == sender && !status, "the sender ended with %x", status);
	zdtm_check(msgrcv(queue[FULL], &m, sizeof(m.text), 9, IPC_NOWAIT) == 4, "what it sent is not there");
}

int main(void)
{
	set_up();
	zdtm_ready();
	zdtm_wait();
	for (int i = 0; i < N; i++)
		check_queue(i);
	check_messages();
	check_sleepers();
	for (int i = 0; i < N; i++)
		msgctl(queue[i], IPC_RMID, NULL);
	zdtm_pass();
	return 0;
}
