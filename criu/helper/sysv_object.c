/* SPDX-License-Identifier: GPL-2.0-only */
#include "helper/sysv_object.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "helper/helper.h"
#include "lib/io.h"
#include "lib/log.h"
#include "proc/proc.h"

#define CREATE_TRIES 20 /* others may take the number that was asked for */
#define PERMISSIONS  0777

void sysv_object_note(const struct ipc_ns *ns, IpcDescEntry *desc, int id, const struct ipc_perm *p)
{
	desc->id = (uint32_t)id;
	desc->key = (uint32_t)p->__key;
	desc->mode = p->mode;
	if (!ipc_ns_id_outside(ns, USER_ID, p->uid, &desc->uid) ||
	    !ipc_ns_id_outside(ns, USER_ID, p->cuid, &desc->cuid) ||
	    !ipc_ns_id_outside(ns, GROUP_ID, p->gid, &desc->gid) ||
	    !ipc_ns_id_outside(ns, GROUP_ID, p->cgid, &desc->cgid))
		log_refusal(
		    -EPERM,
		    "System V object %d (key 0x%08x): its owner or creator (shown as %u, %u; groups %u, %u) has no "
		    "number in its user namespace: an ordinary user's criu cannot see who that is; run criu as "
		    "root",
		    id, p->__key, p->uid, p->cuid, p->gid, p->cgid);
}

int sysv_object_list(struct arena *a, const char *file, int **ids, size_t *n)
{
	char path[40];
	_cleanup_free_ char *text = NULL;
	char *line;
	int err, key, id;

	snprintf(path, sizeof(path), "/proc/sysvipc/%s", file);
	err = proc_read(AT_FDCWD, path, &text, NULL);
	if (err)
		return err == -ENOENT ? 0 : log_errno(err, "reading %s", path);
	/* The first line has the names of the columns. */
	for (line = strchr(text, '\n'); line && line[1]; line = strchr(line + 1, '\n'))
		if (sscanf(line + 1, "%d %d", &key, &id) == 2)
			arena_push(a, ids, n, id);
	return 0;
}

bool sysv_object_is_like(const struct ipc_perm *p, const IpcDescEntry *desc)
{
	return (uint32_t)p->__key == desc->key && p->uid == desc->uid && p->gid == desc->gid && p->cuid == desc->cuid &&
	       p->cgid == desc->cgid;
}

int sysv_object_refuse(const struct sysv_type *type, const IpcDescEntry *desc, const char *why)
{
	return log_refusal(-EEXIST, "%s %u (key 0x%08x) %s", type->name, desc->id, desc->key, why);
}

static char key_letter(const struct sysv_type *type)
{
	return (char)(type->remove_letter - 'a' + 'A');
}

int sysv_object_check_missing(const struct sysv_type *type, const IpcDescEntry *desc)
{
	int other = desc->key ? type->get((key_t)desc->key, 0, 0) : -1;
	char path[64];

	if (other >= 0 || (desc->key && errno == EACCES))
		return log_refusal(-EEXIST,
		                   "%s %u: its key 0x%08x belongs to another %s on this host: remove that one "
		                   "(ipcrm -%c 0x%08x)",
		                   type->name, desc->id, desc->key, type->noun, key_letter(type), desc->key);
	snprintf(path, sizeof(path), "/proc/sys/kernel/%s", type->next_id);
	if (faccessat(AT_FDCWD, path, W_OK, AT_EACCESS))
		return log_refusal(-errno,
		                   "%s %u: %s cannot be written (%s), so that a %s cannot be made with its number: "
		                   "restore as root of the ipc namespace",
		                   type->name, desc->id, path, strerror(errno), type->noun);
	return 0;
}

struct sysv_creation {
	const struct sysv_type *type;
	const IpcDescEntry *desc;
	uint32_t cuid, cgid; /* as they are here */
	uint64_t size;
	int flags; /* beside IPC_ and permissions */
	int id;
};

/* The creator is the process that makes the call, and cannot be changed afterwards. */
static int create_as_creator(void *arg)
{
	struct sysv_creation *c = arg;
	const IpcDescEntry *d = c->desc;

	if ((c->cgid != (uint32_t)syscall(SYS_getegid) && syscall(SYS_setresgid, -1, c->cgid, -1)) ||
	    (c->cuid != (uint32_t)syscall(SYS_geteuid) && syscall(SYS_setresuid, -1, c->cuid, -1)))
		return -errno;
	c->id = c->type->get((key_t)d->key, c->size, c->flags | IPC_CREAT | IPC_EXCL | (int)(d->mode & PERMISSIONS));
	return c->id < 0 ? -errno : 0;
}

/* What is left of a number that was asked for and not taken would go to the next object of any process. */
static int ask_for_number(const struct sysv_creation *c)
{
	char text[24], path[64];
	int len = snprintf(text, sizeof(text), "%u", c->desc->id);
	_cleanup_close_ int fd = -1;

	snprintf(path, sizeof(path), "/proc/sys/kernel/%s", c->type->next_id);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	return fd < 0 || write(fd, text, (size_t)len) != len ? -errno : 0;
}

static int create_with_number(struct sysv_creation *c)
{
	const struct helper_spec spec = { 0 };
	const char *name = c->type->name;
	int err = 0;

	for (int i = 0; i < CREATE_TRIES; i++) {
		err = ask_for_number(c);
		if (err)
			return log_errno(err, "%s %u: write of /proc/sys/kernel/%s", name, c->desc->id,
			                 c->type->next_id);
		err = helper_run(&spec, create_as_creator, c);
		if (err)
			return log_errno(err, "%s %u: %s of size %llu", name, c->desc->id, c->type->call,
			                 (unsigned long long)c->size);
		if ((uint32_t)c->id == c->desc->id)
			return 0;
		c->type->remove(c->id);
	}
	return log_errno(-EEXIST, "%s %u: %s gave %d others instead", name, c->desc->id, c->type->call, CREATE_TRIES);
}

static int refuse_ids(const struct sysv_type *type, const IpcDescEntry *d)
{
	return log_errno(-EPERM,
	                 "%s %u: users %u and %u, groups %u and %u: not all have a number in the user namespace of its "
	                 "ipc namespace: restore as root",
	                 type->name, d->id, d->uid, d->cuid, d->gid, d->cgid);
}

int sysv_object_create(const struct ipc_ns *ns, const struct sysv_type *type, const IpcDescEntry *desc, uint64_t size,
                       int flags)
{
	struct ipc_perm owner = { .mode = (unsigned short)(desc->mode & PERMISSIONS) };
	struct sysv_creation *c = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int err;

	if (c == MAP_FAILED)
		return log_errno(-errno, "%s %u: mmap", type->name, desc->id);
	*c = (struct sysv_creation) { .type = type, .desc = desc, .size = size, .flags = flags, .id = -1 };
	if (ipc_ns_id_inside(ns, USER_ID, desc->uid, &owner.uid) &&
	    ipc_ns_id_inside(ns, GROUP_ID, desc->gid, &owner.gid) &&
	    ipc_ns_id_inside(ns, USER_ID, desc->cuid, &c->cuid) && ipc_ns_id_inside(ns, GROUP_ID, desc->cgid, &c->cgid))
		err = create_with_number(c);
	else
		err = refuse_ids(type, desc);
	munmap(c, sizeof(*c));
	if (!err && type->set((int)desc->id, &owner))
		err = log_errno(-errno, "%s %u: shmctl, semctl or msgctl(IPC_SET) to user %u, group %u", type->name,
		                desc->id, desc->uid, desc->gid);
	return err;
}
