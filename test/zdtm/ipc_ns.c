/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * IPC namespaces of the tree's own: two, and one task that stayed in the host's. Settings, of which some would forbid
 * what is there; segments that are attached, that are not, and one that was removed; a semaphore set with undo;
 * a message queue whose users are gone; POSIX queues that are open, that are not, and one without a name. The second
 * namespace has objects with the same numbers and keys as the first.
 *
 * zdtm: needs-root
 * zdtm: iters 3
 * zdtm: flavour no pidns
 * zdtm: restores 2
 * zdtm: allow fd [0-9]*mnt_id  any  the file system of queues is a new one with its namespace
 */
#include <mqueue.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>

#include "zdtm.h"

#define KEY   0x5a445411
#define SIZE  (3 * 4096 + 100)
#define LARGE (64 << 20)

/* Each test of the same objects, in one of two namespaces. */
struct space {
	const char *name;
	int number, attached, loose, removed, large, set, queue;
	char *at, *removed_at;
	mqd_t open, gone;
	struct shmid_ds segments[4];
	struct semid_ds sem;
	struct msqid_ds msg;
};

static struct shared {
	int ready, looked, done;
} * sh;

static const struct {
	const char *file, *text;
} settings[] = {
	{ "kernel/msgmax", "7000" },
	{ "kernel/msgmnb", "5000" },
	{ "kernel/msgmni", "77" },
	{ "kernel/shmmax", "1000000" },
	{ "kernel/shmall", "300000" },
	{ "kernel/shmmni", "99" },
	{ "kernel/sem", "100\t1000\t50\t20" },
	{ "kernel/shm_rmid_forced", "0" },
	{ "kernel/shm_next_id", "-1" },
	{ "kernel/msg_next_id", "4242" },
	{ "fs/mqueue/msg_max", "20" },
	{ "fs/mqueue/msgsize_max", "9000" },
	{ "fs/mqueue/queues_max", "30" },
	{ "fs/mqueue/msg_default", "7" },
	{ "fs/mqueue/msgsize_default", "5000" },
};

struct message {
	long type;
	char text[6000];
};

static void put_setting(const char *file, const char *text)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/%s", file);
	fd = open(path, O_WRONLY);
	zdtm_must(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static void check_setting(const char *who, const char *file, const char *want)
{
	char path[64], text[64] = "";
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/%s", file);
	fd = open(path, O_RDONLY);
	zdtm_check(fd >= 0 && read(fd, text, sizeof(text) - 1) > 0, "%s: %s", who, path);
	text[strcspn(text, "\n")] = '\0';
	zdtm_check(!strcmp(text, want), "%s: %s is %s, not %s", who, file, text, want);
	close(fd);
}

/* ---- objects ---- */

static void make_segments(struct space *s)
{
	struct shmid_ds ds = { .shm_perm = { .uid = 1234, .gid = 2345, .mode = 0640 } };
	char *at;

	s->attached = shmget(KEY, SIZE, IPC_CREAT | IPC_EXCL | 0600);
	s->loose = shmget(KEY + 1, SIZE, IPC_CREAT | IPC_EXCL | 0604);
	s->removed = shmget(IPC_PRIVATE, SIZE, IPC_CREAT | 0600);
	s->large = shmget(IPC_PRIVATE, LARGE, IPC_CREAT | 0600);
	zdtm_must(s->attached >= 0 && s->loose >= 0 && s->removed >= 0 && s->large >= 0);
	s->at = shmat(s->attached, NULL, 0);
	s->removed_at = shmat(s->removed, NULL, 0);
	at = shmat(s->loose, NULL, 0);
	zdtm_must(s->at != (char *)-1 && s->removed_at != (char *)-1 && at != (char *)-1);
	for (int i = 0; i < SIZE; i++) {
		s->at[i] = (char)(i * 7 + s->number);
		at[i] = (char)(i * 11 + s->number);
		s->removed_at[i] = (char)(i * 13 + s->number);
	}
	zdtm_must(!shmdt(at) && !shmctl(s->loose, IPC_SET, &ds) && !shmctl(s->removed, IPC_RMID, NULL));
}

static void make_others(struct space *s)
{
	struct msqid_ds ds;
	pid_t pid;
	int status;

	s->set = semget(KEY, 3, IPC_CREAT | IPC_EXCL | 0600);
	s->queue = msgget(KEY, IPC_CREAT | IPC_EXCL | 0600);
	zdtm_must(s->set >= 0 && s->queue >= 0);
	zdtm_must(!semctl(s->set, 0, SETVAL, 10 + s->number) && !semctl(s->set, 1, SETVAL, 20));
	zdtm_must(!semop(s->set, &(struct sembuf) { 0, -2, SEM_UNDO }, 1));
	zdtm_must(!msgctl(s->queue, IPC_STAT, &ds));
	ds.msg_perm.uid = 55;
	ds.msg_qbytes = 12000;
	zdtm_must(!msgctl(s->queue, IPC_SET, &ds));
	pid = fork();
	zdtm_must(pid >= 0);
	if (!pid) {
		struct message m;

		for (int i = 0; i < 2; i++) {
			memset(m.text, 'a' + i + s->number, sizeof(m.text));
			m.type = 3 - i;
			zdtm_must(!msgsnd(s->queue, &m, i ? 1 : sizeof(m.text), IPC_NOWAIT));
		}
		_exit(0);
	}
	zdtm_must(waitpid(pid, &status, 0) == pid && !status);
}

static void make_queues(struct space *s)
{
	struct mq_attr attr = { .mq_maxmsg = 10, .mq_msgsize = 100 };
	mqd_t unopened = mq_open("/unopened", O_RDWR | O_CREAT | O_EXCL, 0604, &attr);

	s->open = mq_open("/open", O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
	s->gone = mq_open("/gone", O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
	zdtm_must(s->open >= 0 && s->gone >= 0 && unopened >= 0 && !mq_unlink("/gone"));
	zdtm_must(!fchown(unopened, 12, 13) && !fchmod(unopened, 0604));
	for (int i = 0; i < 3; i++) {
		char text[3] = { 'x', (char)('0' + i), (char)('0' + s->number) };

		zdtm_must(!mq_send(s->open, text, 3, 1) && !mq_send(s->gone, text, 3, (unsigned)i) &&
		          !mq_send(unopened, text, 3, 9));
	}
	close(unopened);
}

static void check_messages(const struct space *s, const char *name, mqd_t q, bool last_first)
{
	char text[100];
	unsigned prio;

	for (int i = 0; i < 3; i++)
		zdtm_check(mq_receive(q, text, sizeof(text), &prio) == 3 && text[1] == '0' + (last_first ? 2 - i : i) &&
		               text[2] == '0' + s->number,
		           "%s: %s: message %d", s->name, name, i);
	zdtm_check(mq_receive(q, text, sizeof(text), &prio) < 0 && errno == EAGAIN, "%s: %s: one more", s->name, name);
}

static void check_queues(const struct space *s)
{
	const int flags = O_RDWR | O_NONBLOCK;
	mqd_t unopened = mq_open("/unopened", flags), open = mq_open("/open", flags);
	struct stat a, b;

	zdtm_check(unopened >= 0 && open >= 0, "%s: mq_open: %s", s->name, strerror(errno));
	zdtm_check(!fstat(open, &a) && !fstat(s->open, &b) && a.st_ino == b.st_ino && a.st_dev == b.st_dev,
	           "%s: another queue", s->name);
	zdtm_check(!fstat(unopened, &a) && a.st_uid == 12 && a.st_gid == 13 && (a.st_mode & 07777) == 0604,
	           "%s: owner or mode", s->name);
	zdtm_check(mq_open("/gone", flags) < 0 && errno == ENOENT, "%s: /gone", s->name);
	zdtm_must(!fcntl(s->gone, F_SETFL, flags));
	check_messages(s, "open", open, false);
	check_messages(s, "unopened", unopened, false);
	check_messages(s, "gone", s->gone, true);
}

static void note_objects(struct space *s)
{
	const int ids[] = { s->attached, s->loose, s->removed, s->large };

	for (int i = 0; i < 4; i++)
		zdtm_must(!shmctl(ids[i], IPC_STAT, &s->segments[i]));
	zdtm_must(!semctl(s->set, 0, IPC_STAT, &s->sem) && !msgctl(s->queue, IPC_STAT, &s->msg));
}

static void make_space(struct space *s)
{
	zdtm_must(!unshare(CLONE_NEWIPC));
	make_segments(s);
	make_others(s);
	make_queues(s);
	note_objects(s);
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		if (strcmp(settings[i].text, "-1"))
			put_setting(settings[i].file, settings[i].text);
}

static void check_perm(const struct space *s, const char *what, const struct ipc_perm *was, const struct ipc_perm *is)
{
	zdtm_check(was->__key == is->__key && was->uid == is->uid && was->gid == is->gid && was->cuid == is->cuid &&
	               was->cgid == is->cgid && was->mode == is->mode,
	           "%s: %s: key %x, owner %u %u, creator %u %u, mode %o", s->name, what, is->__key, is->uid, is->gid,
	           is->cuid, is->cgid, is->mode);
}

static void check_segments(const struct space *s)
{
	const int ids[] = { s->attached, s->loose, s->removed, s->large };
	char *at = shmat(s->loose, NULL, SHM_RDONLY);
	struct shmid_ds ds;

	for (int i = 0; i < 4; i++) {
		zdtm_check(!shmctl(ids[i], IPC_STAT, &ds), "%s: segment %d: %s", s->name, i, strerror(errno));
		check_perm(s, "segment", &s->segments[i].shm_perm, &ds.shm_perm);
		zdtm_check(ds.shm_segsz == s->segments[i].shm_segsz, "%s: segment %d has %zu bytes", s->name, i,
		           ds.shm_segsz);
		zdtm_check(ds.shm_nattch == s->segments[i].shm_nattch + (i == 1),
		           "%s: segment %d is attached %lu times", s->name, i, ds.shm_nattch);
	}
	zdtm_check(at != (char *)-1, "%s: shmat: %s", s->name, strerror(errno));
	for (int i = 0; i < SIZE; i++) {
		if (!zdtm_check(s->at[i] == (char)(i * 7 + s->number) && at[i] == (char)(i * 11 + s->number) &&
		                    s->removed_at[i] == (char)(i * 13 + s->number),
		                "%s: byte %d of a segment", s->name, i))
			break;
	}
	shmdt(at);
}

static void check_others(const struct space *s)
{
	struct message m;
	struct semid_ds sem;
	struct msqid_ds msg;

	zdtm_check(!semctl(s->set, 0, IPC_STAT, &sem) && sem.sem_nsems == 3, "%s: set", s->name);
	check_perm(s, "set", &s->sem.sem_perm, &sem.sem_perm);
	zdtm_check(semctl(s->set, 0, GETVAL) == 8 + s->number && semctl(s->set, 1, GETVAL) == 20 &&
	               !semctl(s->set, 2, GETVAL),
	           "%s: values %d %d", s->name, semctl(s->set, 0, GETVAL), semctl(s->set, 1, GETVAL));
	zdtm_check(!msgctl(s->queue, IPC_STAT, &msg) && msg.msg_qbytes == 12000 && msg.msg_qnum == 2, "%s: queue",
	           s->name);
	check_perm(s, "queue", &s->msg.msg_perm, &msg.msg_perm);
	zdtm_check(msgrcv(s->queue, &m, sizeof(m.text), 0, IPC_NOWAIT) == sizeof(m.text) && m.type == 3 &&
	               m.text[5999] == 'a' + s->number,
	           "%s: first message", s->name);
	zdtm_check(msgrcv(s->queue, &m, sizeof(m.text), 0, IPC_NOWAIT) == 1 && m.type == 2 &&
	               m.text[0] == 'b' + s->number,
	           "%s: second message", s->name);
}

static int count_lines(const char *path)
{
	FILE *f = fopen(path, "r");
	int n = 0, c;

	while (f && (c = getc(f)) != EOF)
		n += c == '\n';
	if (f)
		fclose(f);
	return n;
}

static void check_space(const struct space *s)
{
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		check_setting(s->name, settings[i].file, settings[i].text);
	zdtm_check(count_lines("/proc/sysvipc/shm") == 5 && count_lines("/proc/sysvipc/sem") == 2 &&
	               count_lines("/proc/sysvipc/msg") == 2,
	           "%s: other objects", s->name);
	check_segments(s);
	check_others(s);
	check_queues(s);
}

/* ---- processes ---- */

/* Holds one of each, too. */
static void run_child(struct space *s)
{
	zdtm_must(!semop(s->set, &(struct sembuf) { 1, 5, SEM_UNDO }, 1));
	zdtm_must(!semop(s->set, &(struct sembuf) { 1, -5, 0 }, 1));
	__atomic_add_fetch(&sh->ready, 1, __ATOMIC_SEQ_CST);
	zdtm_wait();
	while (__atomic_load_n(&sh->looked, __ATOMIC_SEQ_CST) < 3)
		zdtm_nap();
	s->at[0]++;
	_exit(0);
}

static void run_space(struct space *s, const char *name, int number)
{
	pid_t pid;

	s->name = name;
	s->number = number;
	make_space(s);
	pid = fork();
	zdtm_must(pid >= 0);
	if (!pid)
		run_child(s);
	s->segments[0].shm_nattch++;
	s->segments[2].shm_nattch++;
	__atomic_add_fetch(&sh->ready, 1, __ATOMIC_SEQ_CST);
	zdtm_wait();
	check_space(s);
	__atomic_add_fetch(&sh->looked, 1, __ATOMIC_SEQ_CST);
	waitpid(pid, NULL, 0);
	zdtm_check(s->at[0] == (char)(s->number + 1), "%s: the segment is not the child's", s->name);
	zdtm_check(semctl(s->set, 1, GETVAL) == 15, "%s: when the child has ended: %d", s->name,
	           semctl(s->set, 1, GETVAL));
}

static void start_process(int number)
{
	struct stat ours, parents;
	struct space s = { 0 };
	char path[40];
	pid_t pid = fork();

	zdtm_must(pid >= 0);
	if (pid)
		return;
	if (number) {
		run_space(&s, "second", number);
		_exit(0);
	}
	__atomic_add_fetch(&sh->ready, 1, __ATOMIC_SEQ_CST);
	zdtm_wait();
	snprintf(path, sizeof(path), "/proc/%d/ns/ipc", getppid());
	zdtm_check(!stat("/proc/self/ns/ipc", &ours) && !stat(path, &parents) && ours.st_ino != parents.st_ino,
	           "the one that stayed in the host's");
	__atomic_add_fetch(&sh->looked, 1, __ATOMIC_SEQ_CST);
	_exit(0);
}

int main(void)
{
	struct space s = { 0 };
	int status;

	sh = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	zdtm_must(sh != MAP_FAILED);
	start_process(0);
	start_process(1);
	while (__atomic_load_n(&sh->ready, __ATOMIC_SEQ_CST) < 3)
		zdtm_nap();
	__atomic_sub_fetch(&sh->ready, 3, __ATOMIC_SEQ_CST);
	if (!fork()) {
		while (__atomic_load_n(&sh->ready, __ATOMIC_SEQ_CST) < 2)
			zdtm_nap();
		zdtm_ready();
		_exit(0);
	}
	run_space(&s, "first", 0);
	while (wait(&status) > 0)
		zdtm_check(!status, "a process ended with %x", status);
	zdtm_pass();
}
