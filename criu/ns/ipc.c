/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * IPC namespaces (ipc_namespaces(7)): their settings, in /proc/sys. Their objects are carried by ipc/ and mm/, which go
 * into the namespace by helper/ipc_ns.h.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "helper/helper.h"
#include "helper/ipc_ns.h"
#include "lib/io.h"
#include "lib/log.h"
#include "proc/proc.h"
#include "tree/ns_kind.h"
#include "tree/subsys.h"
#include "ipc-var.pb-c.h"

#define SEM_SETTING "kernel/sem"
#define SEM_ROOM    "65536 2147483647 500 32768"
#define NONE_NEXT   UINT32_MAX /* -1: the kernel chooses the next number */

extern const struct ns_kind ipc_ns_kind;
extern const struct subsys ipc_settings_subsys;

/*
 * A number in /proc/sys. Objects may be older than a limit that would forbid them: until they are made again the limits
 * are as high as they can be.
 */
struct setting {
	const char *file;
	size_t at, has; /* of the field, and of what says that it is there; 0: it is required */
	bool wide;      /* of 64 bits */
	const char *room;
};

#define FIELD(name)    offsetof(IpcVarEntry, name), 0, sizeof(((IpcVarEntry *)0)->name) == 8
#define OPTIONAL(name) offsetof(IpcVarEntry, name), offsetof(IpcVarEntry, has_##name), false

/* The last one may end segments that no task has attached; numbers are used up by what is made. */
static const struct setting settings[] = {
	{ "kernel/msgmax", FIELD(msg_ctlmax), "2147483647" },
	{ "kernel/msgmnb", FIELD(msg_ctlmnb), "2147483647" },
	{ "kernel/msgmni", FIELD(msg_ctlmni), "32768" },
	{ "kernel/auto_msgmni", FIELD(auto_msgmni), NULL },
	{ "kernel/shmmax", FIELD(shm_ctlmax), "18446744073709551615" },
	{ "kernel/shmall", FIELD(shm_ctlall), "18446744073709551615" },
	{ "kernel/shmmni", FIELD(shm_ctlmni), "32768" },
	{ "fs/mqueue/queues_max", FIELD(mq_queues_max), "2147483647" },
	{ "fs/mqueue/msg_max", FIELD(mq_msg_max), "65536" },
	{ "fs/mqueue/msgsize_max", FIELD(mq_msgsize_max), "16777216" },
	{ "fs/mqueue/msg_default", OPTIONAL(mq_msg_default), NULL },
	{ "fs/mqueue/msgsize_default", OPTIONAL(mq_msgsize_default), NULL },
	{ "kernel/msg_next_id", OPTIONAL(msg_next_id), NULL },
	{ "kernel/sem_next_id", OPTIONAL(sem_next_id), NULL },
	{ "kernel/shm_next_id", OPTIONAL(shm_next_id), NULL },
	{ "kernel/shm_rmid_forced", FIELD(shm_rmid_forced), NULL },
};

struct ipc_settings {
	IpcVarEntry entry;
	uint32_t sem[4];
};

/* Restore: of all namespaces, which get their settings when their objects are made. */
struct ipc_settings_list {
	uint32_t id;
	const struct ipc_settings *settings;
	struct ipc_settings_list *next;
};

struct ipc_settings_state {
	struct ipc_settings_list *first;
};

static void setting_path(char path[64], const char *file)
{
	snprintf(path, 64, "/proc/sys/%s", file);
}

static uint64_t get_setting(const IpcVarEntry *e, const struct setting *s)
{
	const char *at = (const char *)e + s->at;

	return s->wide ? *(const uint64_t *)at : *(const uint32_t *)at;
}

static void set_field(IpcVarEntry *e, const struct setting *s, uint64_t value)
{
	char *at = (char *)e + s->at;

	if (s->wide)
		*(uint64_t *)at = value;
	else
		*(uint32_t *)at = (uint32_t)value;
	if (s->has)
		*(protobuf_c_boolean *)((char *)e + s->has) = true;
}

static bool has_setting(const IpcVarEntry *e, const struct setting *s)
{
	return !s->has || *(const protobuf_c_boolean *)((const char *)e + s->has);
}

/* ---- dump ---- */

/* A kernel without message queues, or without checkpoint/restore, lacks some. */
static int look_at_setting(const struct setting *s, IpcVarEntry *e)
{
	_cleanup_free_ char *text = NULL;
	char path[64];
	int err;

	setting_path(path, s->file);
	err = proc_read(AT_FDCWD, path, &text, NULL);
	if (err == -ENOENT)
		return 0;
	if (err)
		return log_errno(err, "reading %s", path);
	set_field(e, s, strtoull(text, NULL, 10));
	return 0;
}

static int look_at_sem(uint32_t sem[4])
{
	_cleanup_free_ char *text = NULL;
	int err = proc_read(AT_FDCWD, "/proc/sys/" SEM_SETTING, &text, NULL);

	if (err)
		return log_errno(err, "reading /proc/sys/" SEM_SETTING);
	if (sscanf(text, "%u %u %u %u", &sem[0], &sem[1], &sem[2], &sem[3]) != 4)
		return log_errno(-EINVAL, "/proc/sys/" SEM_SETTING " is: %s", text);
	return 0;
}

static int look_at_settings(void *message)
{
	struct ipc_settings *s = message;
	int err;

	s->entry = (IpcVarEntry)IPC_VAR_ENTRY__INIT;
	err = look_at_sem(s->sem);
	for (size_t i = 0; !err && i < ARRAY_SIZE(settings); i++)
		err = look_at_setting(&settings[i], &s->entry);
	return err;
}

static int write_settings(struct dump *d, uint32_t id, const void *message)
{
	struct ipc_settings s = *(const struct ipc_settings *)message;

	s.entry.sem_ctls = s.sem;
	s.entry.n_sem_ctls = ARRAY_SIZE(s.sem);
	return image_write_one(d->dir, IMG_IPC_VAR, id, &s.entry);
}

/* ---- restore ---- */

static int read_settings(struct restore *r, uint32_t id, void *message)
{
	struct ipc_settings_state *all = restore_state(r, &ipc_settings_subsys);
	struct ipc_settings_list *listed = arena_new_of(r->arena, struct ipc_settings_list);
	struct ipc_settings *s = message;
	IpcVarEntry *m;
	int err = image_read_one(r->dir, IMG_IPC_VAR, id, r->arena, &m);

	if (err)
		return err;
	if (m->n_sem_ctls != ARRAY_SIZE(s->sem))
		return log_errno(-EINVAL, "ipcns-var-%u.img: %zu limits of semaphores", id, m->n_sem_ctls);
	s->entry = *m;
	memcpy(s->sem, m->sem_ctls, sizeof(s->sem));
	*listed = (struct ipc_settings_list) { id, s, all->first };
	all->first = listed;
	return 0;
}

struct setting_job {
	const char *path, *text;
	uid_t uid;
};

static int write_text(void *arg)
{
	const struct setting_job *job = arg;
	size_t len = strlen(job->text);
	int fd;
	ssize_t n;

	if (job->uid != geteuid() && syscall(SYS_setresuid, -1, job->uid, -1))
		return errno == EINVAL ? -EACCES : -errno; /* nobody in the user namespace is its root */
	fd = open(job->path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = write(fd, job->text, len);
	n = n < 0 ? -errno : (ssize_t)len - n;
	close(fd);
	return n > 0 ? -EIO : (int)n;
}

/*
 * Most may be written by root of the user namespace that owns it, not by root outside; msg_next_id and its kin by
 * whoever has CAP_CHECKPOINT_RESTORE there, as root outside has and that one's uid alone has not.
 */
static int try_setting(const char *path, const char *text, bool may_lack)
{
	const struct helper_spec spec = { 0 };
	struct setting_job job = { path, text, geteuid() };
	struct stat st;
	int err;

	if (stat(path, &st))
		return errno == ENOENT && may_lack ? 0 : -errno;
	err = write_text(&job);
	job.uid = st.st_uid;
	if (err == -EACCES && job.uid != geteuid())
		err = helper_run(&spec, write_text, &job);
	return err;
}

/* Numbers with spaces between them; the kernel has tabs. */
static bool has_value(const char *path, const char *text)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	char now[128];

	if (!f || !fgets(now, sizeof(now), f))
		return false;
	for (char *at = now; *at; at++)
		*at = *at == '\t' ? ' ' : *at;
	now[strcspn(now, "\n")] = 0;
	return !strcmp(now, text);
}

/* Where a user namespace has no root, its program could change nothing either. */
static int write_setting(const char *file, const char *text, bool may_lack)
{
	char path[64];
	int err;

	setting_path(path, file);
	err = try_setting(path, text, may_lack);
	if (!err || (err == -EACCES && has_value(path, text)))
		return 0;
	return log_errno(err, "write of %s to %s in a new ipc namespace", text, path);
}

/* ... and made its objects within the limits that it was born with. */
static int widen_setting(const char *file, const char *text, bool may_lack)
{
	char path[64];
	int err;

	setting_path(path, file);
	err = try_setting(path, text, may_lack);
	return err && err != -EACCES ? log_errno(err, "write of %s to %s in a new ipc namespace", text, path) : 0;
}

static int make_room(void *message)
{
	int err = widen_setting(SEM_SETTING, SEM_ROOM, false);

	for (size_t i = 0; !err && i < ARRAY_SIZE(settings); i++)
		if (settings[i].room)
			err = widen_setting(settings[i].file, settings[i].room, true);
	return err;
}

/* auto_msgmni does nothing any more (Linux 3.19). */
static bool is_wanted(const struct setting *s, const IpcVarEntry *e)
{
	if (s->at == offsetof(IpcVarEntry, auto_msgmni))
		return false;
	return has_setting(e, s) && (!s->has || get_setting(e, s) != NONE_NEXT);
}

static int put_settings(const struct ipc_settings *s)
{
	char text[64];
	int err;

	snprintf(text, sizeof(text), "%u %u %u %u", s->sem[0], s->sem[1], s->sem[2], s->sem[3]);
	err = write_setting(SEM_SETTING, text, false);
	for (size_t i = 0; !err && i < ARRAY_SIZE(settings); i++) {
		if (!is_wanted(&settings[i], &s->entry))
			continue;
		snprintf(text, sizeof(text), "%" PRIu64, get_setting(&s->entry, &settings[i]));
		err = write_setting(settings[i].file, text, true);
	}
	return err;
}

static int ipc_settings_all_standing(struct restore *r)
{
	const struct ipc_settings_state *all = restore_state(r, &ipc_settings_subsys);
	int err = 0;

	for (const struct ipc_settings_list *l = all->first; !err && l; l = l->next) {
		struct ipc_ns *ns = ipc_ns_restored(r);

		while (ns && ns->id != l->id)
			ns = ns->next;
		err = ns ? ipc_ns_enter(ns) : 0;
		if (ns && !err)
			err = ipc_ns_leave(ns, put_settings(l->settings));
	}
	return err;
}

const struct subsys ipc_settings_subsys = {
	.name = "settings of ipc namespaces",
	.state = { .restore = sizeof(struct ipc_settings_state) },
	.all_standing = ipc_settings_all_standing,
};

const struct ns_kind ipc_ns_kind = {
	.flag = CLONE_NEWIPC,
	.message = sizeof(struct ipc_settings),
	.look = look_at_settings,
	.write = write_settings,
	.read = read_settings,
	.fill = make_room,
};
