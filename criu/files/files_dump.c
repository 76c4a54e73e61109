/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Descriptors at dump. Each is duplicated with pidfd_getfd(2), looked at and closed again before the next: criu may not
 * be able to open as many as the tree has, and what criu keeps open when the tree runs on would not end with the tree's
 * descriptors.
 */
#include <fcntl.h>
#include <sched.h>
#include <limits.h>
#include <linux/kcmp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include "files/fd_info.h"
#include "files/files.h"
#include "files/files_ahead.h"
#include "files/foreign_files.h"
#include "files/fown.h"
#include "files/net_ns.h"
#include "proc/kcmp.h"
#include "helper/ns_roots.h"
#include "tree/ns_ids.h"
#include "lib/log.h"
#include "lib/message.h"
#include "lib/arena_hash.h"

/*
 * Descriptions of one object: only these can be equal. Not by position and flags, which a process outside of the tree
 * that shares the description may change at any time.
 */
struct same_object {
	struct {
		uint64_t dev, ino, mode;
	} key;
	struct kcmp_tree tree;
	UT_hash_handle hh;
};

/* A file by path that is no descriptor. */
struct path_file {
	char *key;
	uint32_t id;                /* 0: not dumped */
	const struct task *refused; /* the task for which a refusal was logged last */
	UT_hash_handle hh;
};

/* All descriptors of files with one inode. */
struct files_of_inode {
	struct {
		uint64_t dev, ino;
	} key;
	struct file_at *first;
	UT_hash_handle hh;
};

/* Sockets in flight in the queues of sockets in flight: no program nests them deeper than this. */
#define MAX_DEPTH    100

/* Mounts whose file system is known, by their id: as long as a task has a file there, the id is no other mount's. */
#define KNOWN_MOUNTS 8

struct dumped_files {
	struct {
		int mnt_id; /* 0: none */
		long fs_type;
	} known[KNOWN_MOUNTS];
	struct image *img;          /* files.img, from the first file to the end */
	struct file_locked *locked; /* newest first */
	uint32_t last_id;
	struct same_object *objects;
	struct path_file *paths;
	struct files_of_inode *by_inode;
	int *in_flight; /* descriptors of ours */
	size_t n_in_flight;
	unsigned depth;
	struct text_buf text, in_flight_text[MAX_DEPTH]; /* fdinfo of the descriptor that is being dumped */
};

extern const struct subsys files_dump_subsys;

static struct dumped_files *dumped_files_of(struct dump *d)
{
	return dump_state(d, &files_dump_subsys);
}

uint32_t files_new_id(struct dump *d)
{
	return ++dumped_files_of(d)->last_id;
}

int files_write_entry(struct dump *d, const struct fd_kind *kind, uint32_t id, void *msg)
{
	const ProtobufCFieldDescriptor *f =
	    protobuf_c_message_descriptor_get_field(&file_entry__descriptor, kind->field);
	struct dumped_files *table = dumped_files_of(d);
	FileEntry fe = FILE_ENTRY__INIT;
	int err = 0;

	if (!f || f->descriptor != kind->pb)
		return log_errno(-EINVAL, "fd kind %s: field %u of file_entry has another message type", kind->name,
		                 kind->field);
	if (!table->img)
		err = image_create(d->dir, IMG_FILES, 0, &table->img);
	if (err)
		return err;
	fe.type = kind->type;
	fe.id = id;
	*(void **)((char *)&fe + f->offset) = msg;
	return image_write(table->img, &fe);
}

/* By it several kinds are told from each other. */
static void ask_domain(struct fd_info *info)
{
	socklen_t len = sizeof(info->domain);

	if (!info->by_path && S_ISSOCK(info->st.st_mode) &&
	    getsockopt(info->fd, SOL_SOCKET, SO_DOMAIN, &info->domain, &len))
		info->domain = 0;
}

static const struct fd_kind *find_kind(struct fd_info *info)
{
	if (info->foreign && info->fd < 0) /* known by what the helper saw */
		return S_ISBLK(info->st.st_mode) ? NULL : kind_by_fd_type(FD_TYPES__REG);
	ask_domain(info);
	for (const struct fd_kind *const *k = fd_kinds; *k; k++)
		if ((*k)->match(info))
			return *k;
	return NULL;
}

static int dump_in_net_ns(struct dump *d, const struct fd_kind *kind, const struct fd_info *info, void *msg)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;
	uint32_t id;
	int err = net_ns_visit_file(d, info, &id, &v);

	if (err)
		return err;
	if (id)
		message_set_u32(msg, "ns_id", id);
	return kind->dump(d, info, msg);
}

/* Of a file in a mount namespace of the tree's own. */
static int find_root(struct dump *d, struct fd_info *info, const struct ns_root **root)
{
	int id = info->mnt_id;

	if (!ns_ids_any(d, CLONE_NEWNS) || info->foreign || info->fd < 0)
		return 0;
	id = id >= 0 ? id : mountinfo_mount_id(info->fd, "");
	info->mnt_id = id;
	return ns_roots_of_mount(d, id, root);
}

/* O_PATH of the root of a mount, which looks like "/". */
static bool is_detached_root(struct dump *d, const struct fd_info *info)
{
	return info->flags & O_PATH && info->number >= 0 && !info->foreign && !strcmp(info->link, "/") &&
	       info->mnt_id >= 0 && !ns_roots_has_mount(d, info->mnt_id);
}

/* Of a file with a path: pipes, sockets and the like are known by their link. */
static void find_fs_type(struct dump *d, struct fd_info *info)
{
	struct dumped_files *table = dumped_files_of(d);
	size_t at = (size_t)info->mnt_id % KNOWN_MOUNTS;
	struct statfs fs;

	if (info->link[0] != '/' || info->number < 0 || info->mnt_id <= 0 || info->foreign || info->fd < 0)
		return;
	if (table->known[at].mnt_id != info->mnt_id) {
		if (fstatfs(info->fd, &fs))
			return;
		table->known[at].mnt_id = info->mnt_id;
		table->known[at].fs_type = (long)fs.f_type;
	}
	info->fs_type = table->known[at].fs_type;
}

/*
 * Dumps a new description: its kind fills the message. The node gets id and kind before that, since the way through
 * socket queues may lead back to it; its kind is NULL after a refusal.
 */
static int dump_description(struct dump *d, struct fd_info *info, struct kcmp_node *node)
{
	_cleanup_lookup_ const struct lookup_root *before = lookup_now();
	const struct ns_root *root = NULL;
	const struct fd_kind *kind;
	void *msg;
	int err = find_root(d, info, &root);

	if (err)
		return err;
	find_fs_type(d, info);
	lookup_in(root ? &root->at : NULL);
	info->is_detached = is_detached_root(d, info);
	kind = find_kind(info);
	if (!kind) {
		log_refusal(-ENOTSUP, "%s: %s (%s): this kind of descriptor is not supported; %s", fd_name(info),
		            info->link, fd_what(info), fd_way_out(info));
		return 0;
	}
	node->id = info->id = files_new_id(d);
	node->data = kind;
	msg = arena_alloc(d->arena, kind->pb->sizeof_message);
	protobuf_c_message_init(kind->pb, msg);
	message_set_u32(msg, "id", info->id);
	message_set_u32(msg, "flags", info->flags);
	message_set_u64(msg, "pos", info->pos);
	message_set_message(msg, "fown", info->fown);
	if (root)
		message_set_number(msg, "mnt_id", info->mnt_id);
	err = kind->in_net_ns ? dump_in_net_ns(d, kind, info, msg) : kind->dump(d, info, msg);
	if (err == DUMP_REFUSED)
		node->data = NULL;
	if (err)
		return err < 0 ? err : 0;
	return files_write_entry(d, kind, info->id, msg);
}

static struct same_object *same_object_of(struct dump *d, const struct fd_info *info)
{
	struct dumped_files *table = dumped_files_of(d);
	struct same_object *o, key = { .key.dev = info->st.st_dev, .key.ino = info->st.st_ino };

	key.key.mode = info->flags & (O_ACCMODE | O_PATH);
	HASH_FIND(hh, table->objects, &key.key, sizeof(key.key), o);
	if (!o) {
		o = arena_new_of(d->arena, struct same_object);
		o->key = key.key;
		HASH_ADD_IN(d->arena, hh, table->objects, key, sizeof(o->key), o);
	}
	return o;
}

static void note_inode(struct dump *d, const struct fd_info *info, uint32_t id)
{
	struct dumped_files *table = dumped_files_of(d);
	struct files_of_inode *p, key = { .key.dev = info->st.st_dev, .key.ino = info->st.st_ino };
	struct file_at *at = arena_new_of(d->arena, struct file_at);

	HASH_FIND(hh, table->by_inode, &key.key, sizeof(key.key), p);
	if (!p) {
		p = arena_new_of(d->arena, struct files_of_inode);
		p->key = key.key;
		HASH_ADD_IN(d->arena, hh, table->by_inode, key, sizeof(p->key), p);
	}
	*at = (struct file_at) { .task = info->task, .number = info->number, .id = id, .next = p->first };
	p->first = at;
}

const struct file_at *files_at(struct dump *d, dev_t dev, uint64_t ino)
{
	struct files_of_inode *p, key = { .key.dev = dev, .key.ino = ino };

	HASH_FIND(hh, dumped_files_of(d)->by_inode, &key.key, sizeof(key.key), p);
	return p ? p->first : NULL;
}

int files_find_watched(struct dump *d, dev_t dev, uint64_t ino, pid_t pid, const struct kcmp_epoll_slot *slot,
                       uint32_t *id)
{
	struct same_object *o, key = { .key.dev = dev, .key.ino = ino };
	struct kcmp_node *node = NULL;
	int err = 0;

	for (key.key.mode = 0; !node && !err && key.key.mode <= O_ACCMODE; key.key.mode++) {
		HASH_FIND(hh, dumped_files_of(d)->objects, &key.key, sizeof(key.key), o);
		if (o)
			err = kcmp_find_watched(&o->tree, pid, slot, &node);
	}
	*id = node && node->data ? node->id : 0;
	return err;
}

static void note_file_locks(struct dump *d, const struct fd_info *info, uint32_t id)
{
	struct dumped_files *table = dumped_files_of(d);
	struct file_locked *l;

	if (!d->opts->file_locks) {
		log_refusal(-EOPNOTSUPP,
		            "%s: %s: a file lock is held on it (flock, fcntl or a lease); give --file-locks (-l)",
		            fd_name(info), info->link);
		return;
	}
	l = arena_new_of(d->arena, struct file_locked);
	*l = (struct file_locked) { .task = info->task, .number = info->number, .id = id, .next = table->locked };
	l->link = arena_strdup(d->arena, info->link);
	l->info = arena_strdup(d->arena, info->info);
	table->locked = l;
}

/* The description of a descriptor: known already, or dumped now. node->data is NULL after a refusal. */
static int find_description(struct dump *d, struct fd_info *info, int proc_fd, pid_t pid, int number,
                            struct kcmp_node **nodep)
{
	char link[PATH_MAX];
	int err = kcmp_find(&same_object_of(d, info)->tree, d->arena, KCMP_FILE, pid, number, nodep);

	if (err)
		return log_errno(err, "%s: kcmp with other descriptors", fd_name(info));
	if ((*nodep)->data) /* a refused one is refused again: each task that has it is named */
		return 0;
	err = fd_info_name(d, info, proc_fd, number, link, sizeof(link)) ?: fown_dump(d, info);
	if (!err)
		err = dump_description(d, info, *nodep);
	if (info->link == link)
		info->link = NULL; /* it ends here */
	return err;
}

static int duplicate_fd(struct fd_info *info)
{
	info->fd = (int)syscall(SYS_pidfd_getfd, info->task->dump->pidfd, info->number, 0);
	return info->fd < 0 ? log_errno(-errno, "%s: pidfd_getfd", fd_name(info)) : 0;
}

/* What asks its file system when it is closed, or does so in other calls. A FIFO is the kernel's. */
static bool is_of_file_system(const struct fd_info *info)
{
	mode_t type = info->st.st_mode & S_IFMT;

	return info->flags & O_PATH || !type || type == S_IFREG || type == S_IFDIR || type == S_IFLNK;
}

/* A duplicate, or a look without one where the file system may not answer. DUMP_REFUSED: it does not. */
static int look_at_fd(struct dump *d, struct fd_info *info, struct prefetched *pre, char *link, size_t size,
                      bool *cloexec)
{
	struct task *t = info->task;
	struct fdinfo fi;
	char path[48];
	int err = 0;

	info->mnt_id = fdinfo_parse(pre->text, &fi) ? -1 : fi.mnt_id;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", t->pid, info->number);
	if (pre->foreign != FOREIGN_NO) {
		ssize_t n = readlink(path, link, size - 1);

		link[MAX(n, 0)] = 0;
		err = foreign_files_find(d, info, path, link);
	}
	if (!err && !info->foreign && pre->fd >= 0)
		info->fd = move_fd(&pre->fd);
	else if (!err && !info->foreign)
		err = duplicate_fd(info);
	if (!err && !info->foreign && !pre->has_st)
		err = fd_info_stat(info);
	err = err ?: fd_info_read(d, info, t->dump->proc_fd, info->number, &dumped_files_of(d)->text, cloexec);
	if (!err && info->foreign)
		err = fd_info_name(d, info, t->dump->proc_fd, info->number, link, size) ?: foreign_files_look(d, info);
	if (!err && info->foreign && !is_of_file_system(info))
		err = duplicate_fd(info);
	return err;
}

static int dump_fd_seen(struct dump *d, struct fd_info *info, bool cloexec, FdinfoEntry **entryp)
{
	int err, proc_fd = info->task->dump->proc_fd;
	struct kcmp_node *node;
	char link[PATH_MAX];

	if (strstr(info->info, "\nlock:")) {
		err = fd_info_name(d, info, proc_fd, info->number, link, sizeof(link));
		if (err)
			return err;
		note_file_locks(d, info, 0);
	}
	err = find_description(d, info, proc_fd, info->task->pid, info->number, &node);
	if (err || !node->data)
		return err;
	note_inode(d, info, node->id);
	*entryp = arena_msg(d->arena, FdinfoEntry, fdinfo_entry);
	(*entryp)->id = node->id;
	(*entryp)->flags = cloexec ? FD_CLOEXEC : 0;
	(*entryp)->type = ((const struct fd_kind *)node->data)->type;
	(*entryp)->fd = info->number;
	return 0;
}

/* One descriptor; *entryp stays NULL after a refusal. */
static int dump_fd(struct dump *d, struct task *t, int number, struct prefetched *pre, FdinfoEntry **entryp)
{
	struct fd_info info = {
		.task = t,
		.number = number,
		.fd = -1,
		.info = pre->len ? pre->text : NULL,
		.link = pre->link[0] ? pre->link : NULL,
		.st = pre->st,
	};
	char link[PATH_MAX];
	bool cloexec = false;
	int err = look_at_fd(d, &info, pre, link, sizeof(link), &cloexec);

	if (!err)
		err = dump_fd_seen(d, &info, cloexec, entryp);
	foreign_files_close(&info);
	pre->fd = info.fd >= 0 ? info.fd : pre->fd;
	return err == DUMP_REFUSED ? 0 : err;
}

/* ---- in flight ---- */

int files_dump_in_flight(struct dump *d, struct task *t, int fd, const char *what, uint32_t *id)
{
	struct dumped_files *table = dumped_files_of(d);
	struct fd_info info = { .task = t, .number = -1, .what = what, .fd = fd };
	_cleanup_close_ int proc = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct kcmp_node *node;
	char link[PATH_MAX];
	bool cloexec;
	int err;

	arena_push(d->arena, &table->in_flight, &table->n_in_flight, fd);
	if (proc < 0)
		return log_errno(-errno, "open of /proc/self");
	if (table->depth >= MAX_DEPTH) {
		log_refusal(-ELOOP,
		            "%s: more than %d sockets lie in each other's queues; let the program receive them before "
		            "the dump",
		            fd_name(&info), MAX_DEPTH);
		return DUMP_REFUSED;
	}
	err = fd_info_stat(&info);
	if (err)
		return err;
	err = fd_info_read(d, &info, proc, fd, &table->in_flight_text[table->depth], &cloexec);
	if (!err)
		err = fd_info_name(d, &info, proc, fd, link, sizeof(link));
	if (err)
		return err;
	table->depth++;
	err = find_description(d, &info, proc, getpid(), fd, &node);
	table->depth--;
	if (err)
		return err;
	*id = node->id;
	if (strstr(info.info, "\nlock:"))
		note_file_locks(d, &info, node->id);
	/* Known already: others are compared with the descriptor that was dumped first, so this one can go. */
	if (node->data && (node->pid != getpid() || node->fd != fd) && table->in_flight[table->n_in_flight - 1] == fd)
		close(table->in_flight[--table->n_in_flight]);
	return node->data ? 0 : DUMP_REFUSED;
}

static void close_in_flight(struct dump *d)
{
	struct dumped_files *table = dumped_files_of(d);

	while (table->n_in_flight)
		close(table->in_flight[--table->n_in_flight]);
}

/* ---- tables and paths ---- */

static int dump_table(struct dump *d, struct task *t)
{
	_cleanup_image_ struct image *img = NULL;
	struct files_ahead *ahead;
	int *numbers = NULL, err;
	size_t n = 0;

	struct foreign *mounts = foreign_files_mounts(d);

	err = mounts ? proc_read_fd_numbers(t->dump->proc_fd, d->arena, &numbers, &n) : -EIO;
	if (err)
		return log_errno(err, "%s: reading /proc/PID/fd", task_name(t));
	ahead = files_ahead_start(mounts, t, numbers, n);
	for (size_t i = 0; !err && i < n; i++) {
		FdinfoEntry *e = NULL;

		err = dump_fd(d, t, numbers[i], files_ahead_next(ahead, i), &e);
		if (err || !e)
			continue;
		arena_push(d->arena, &t->fds, &t->n_fds, e);
		if (!img) /* without a descriptor there is no image */
			err = image_create(d->dir, IMG_FDINFO, t->ids->files_id, &img);
		err = err ?: image_write(img, e);
	}
	files_ahead_end(ahead);
	return err || !img ? err : image_close(move_ptr(img));
}

/* Equal device, inode, name and flags: they get one id, since they are opened by that name anyway. */
static struct path_file *path_file_of(struct dump *d, struct fd_info *info)
{
	struct dumped_files *table = dumped_files_of(d);
	char head[80], *key;
	struct path_file *p;
	size_t len;

	if (info->mnt_id < 0 && ns_ids_any(d, CLONE_NEWNS))
		info->mnt_id = mountinfo_mount_id(info->fd, "");
	snprintf(head, sizeof(head), "%lx:%lx:%x:%d:", (unsigned long)info->st.st_dev, (unsigned long)info->st.st_ino,
	         info->flags, info->mnt_id);
	key = arena_printf(d->arena, "%s%s", head, info->link);
	len = strlen(key);
	HASH_FIND(hh, table->paths, key, len, p);
	if (!p) {
		p = arena_new_of(d->arena, struct path_file);
		p->key = key;
		HASH_ADD_KEYPTR_IN(d->arena, hh, table->paths, p->key, len, p);
	}
	return p;
}

/* The id of a file by path that has been looked at. */
static int dump_path_seen(struct dump *d, struct fd_info *info, uint32_t *id)
{
	struct kcmp_node node = { .pid = info->task->pid };
	struct path_file *p = path_file_of(d, info);
	FownEntry fown = FOWN_ENTRY__INIT;
	int err;

	if (p->refused == info->task) /* one mapping of a deleted file stands for its others */
		return -ENOTSUP;
	if (!p->id) {
		info->fown = &fown;
		err = dump_description(d, info, &node);
		if (err)
			return err;
		if (!node.data) {
			p->refused = info->task;
			return -ENOTSUP;
		}
		p->id = info->id;
	}
	*id = p->id;
	return 0;
}

/* Local files are opened here, foreign ones have a handle. */
static int look_at_path_file(struct dump *d, struct fd_info *info, char *link, size_t size)
{
	ssize_t n = readlink(info->path, link, size - 1);
	int err;

	if (n < 0 && errno != ENAMETOOLONG)
		return log_errno(-errno, "%s: readlink of %s%s", fd_name(info), info->path, fd_info_way_out(errno));
	link[MAX(n, 0)] = 0;
	err = foreign_files_find(d, info, info->path, link);
	if (err)
		return err;
	info->link = link;
	if (!info->foreign) {
		info->fd = info->handle;
		info->handle = 0;
		if (!info->st.st_mode)
			err = fd_info_stat(info);
	}
	if (!err && n < 0)
		err = fd_info_read_link(d, info, AT_FDCWD, info->path, link, size);
	if (!err && info->foreign)
		err = foreign_files_look(d, info);
	return err;
}

int files_dump_path(struct dump *d, struct task *t, const char *path, uint32_t flags, const char *what, uint32_t *id)
{
	struct fd_info info = { .task = t,
		                .number = -1,
		                .what = what,
		                .fd = -1,
		                .by_path = true,
		                .path = path,
		                .info = "",
		                .flags = flags,
		                .mnt_id = -1 };
	char link[PATH_MAX];
	int err = look_at_path_file(d, &info, link, sizeof(link));

	if (!err)
		err = dump_path_seen(d, &info, id);
	foreign_files_close(&info);
	if (info.fd >= 0)
		close(info.fd);
	return err == DUMP_REFUSED ? -ENOTSUP : err;
}

static int collect_all_kinds(struct dump *d)
{
	int err = 0;

	for (const struct fd_kind *const *k = fd_kinds; *k && !err; k++)
		if ((*k)->all_collected)
			err = (*k)->all_collected(d);
	return err;
}

static int write_files_images(struct dump *d)
{
	struct dumped_files *table = dumped_files_of(d);
	int err = 0;

	for (const struct fd_kind *const *k = fd_kinds; *k && !err; k++)
		if ((*k)->write_images)
			err = (*k)->write_images(d);
	if (!err && !table->img) /* CRIU wants the image even if there is no file */
		err = image_create(d->dir, IMG_FILES, 0, &table->img);
	return err ?: image_close(move_ptr(table->img));
}

static int dump_table_of(struct dump *d, struct task *t)
{
	return tree_first_files(&d->tree, t) == t ? dump_table(d, t) : 0;
}

const struct file_locked *files_locked(struct dump *d)
{
	return dumped_files_of(d)->locked;
}

const struct subsys files_dump_subsys = {
	.name = "descriptors",
	.state = { .dump = sizeof(struct dumped_files) },
	.dump_task = dump_table_of,
	.collect = collect_all_kinds,
	.write_images = write_files_images,
	.after_commit = close_in_flight,
	.rollback = close_in_flight,
};
