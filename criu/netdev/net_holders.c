/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What outside of the tree keeps a network namespace: a process that lives there, a name (ip-netns(8)) in whatever
 * mount namespace, a descriptor of the namespace, of a socket or of a tun device that is in there. Processes are asked
 * one after the other, so that this takes some milliseconds for some hundred of them. A TCP socket that is neither
 * connected nor listens is in no list, and not seen.
 */
#include <dirent.h>
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <sys/stat.h>

#include "files/net_ns.h"
#include "lib/arena_hash.h"
#include "lib/log.h"
#include "netdev/netdev.h"
#include "proc/ns_type.h"
#include "proc/proc.h"

struct seen_ino {
	uint64_t ino;
	UT_hash_handle hh;
};

struct holder_search {
	struct dump *d;
	const struct ns *ns;
	struct seen_ino *mounts, *sockets;
	const char **devices;
	size_t n_devices;
	char link[32];
	const char *found;
};

/* Whether it was there before. */
static bool note_ino(struct holder_search *s, struct seen_ino **all, uint64_t ino)
{
	struct seen_ino *e = NULL;

	HASH_FIND(hh, *all, &ino, sizeof(ino), e);
	if (e)
		return true;
	e = arena_new_of(s->d->arena, struct seen_ino);
	e->ino = ino;
	HASH_ADD_IN(s->d->arena, hh, *all, ino, sizeof(ino), e);
	return false;
}

/* A child that is a copy of criu: criu may have others, of a program that has become criu by execve(2). */
static bool is_copy(pid_t pid)
{
	struct stat own, its;
	char path[32];

	if (proc_ppid(pid) != getpid())
		return false;
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	return !stat("/proc/self/exe", &own) && !stat(path, &its) && own.st_ino == its.st_ino &&
	       own.st_dev == its.st_dev;
}

/* criu, its guardian, executors and helpers, and the tree. */
static bool is_ours(const struct dump *d, pid_t pid)
{
	if (pid == getpid() || is_copy(pid))
		return true;
	for (size_t i = 0; i < d->tree.n_tasks; i++)
		if (task_id(d->tree.tasks[i]) == pid)
			return true;
	return false;
}

static void found_at(struct holder_search *s, const char *what, pid_t pid)
{
	char name[32] = "";
	_cleanup_close_ int fd = -1;
	char path[48];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, name, sizeof(name) - 1);
	name[n > 0 ? n - 1 : 0] = 0;
	s->found = arena_printf(s->d->arena, "%s pid %d (%s)", what, pid, name);
}

/* ---- who lives there ---- */

static void look_at_threads(struct holder_search *s, int proc_fd, pid_t pid)
{
	uint64_t ino;
	struct stat st;
	const struct dirent *e;
	DIR *dir;
	int fd;

	if (!ns_type_inode(proc_fd, "net", &ino) && ino == s->ns->ino)
		return found_at(s, "the process", pid);
	if (fstatat(proc_fd, "task", &st, 0) || st.st_nlink <= 3)
		return;
	fd = openat(proc_fd, "task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	while (dir && !s->found && (e = readdir(dir))) {
		char path[300];

		snprintf(path, sizeof(path), "%s/ns/net", e->d_name);
		if (e->d_name[0] != '.' && !fstatat(dirfd(dir), path, &st, 0) && st.st_ino == s->ns->ino)
			found_at(s, "a thread of the process", pid);
	}
	if (dir)
		closedir(dir);
}

/* ---- names ---- */

static bool names_it(FILE *mountinfo, const char *root)
{
	_cleanup_free_ char *line = NULL;
	size_t room = 0;
	bool found = false;

	while (mountinfo && !found && getline(&line, &room, mountinfo) > 0)
		found = strstr(line, root);
	return found;
}

bool net_has_name(const struct ns *ns, const char *proc)
{
	_cleanup_fclose_ FILE *f = NULL;
	char root[40], path[64];

	snprintf(path, sizeof(path), "/proc/%s/mountinfo", proc);
	snprintf(root, sizeof(root), " net:[%llu] ", (unsigned long long)ns->ino);
	f = fopen(path, "re");
	return names_it(f, root);
}

static void look_at_mounts(struct holder_search *s, int proc_fd, pid_t pid)
{
	uint64_t ino;
	char proc[16];

	snprintf(proc, sizeof(proc), "%d", pid);
	if (ns_type_inode(proc_fd, "mnt", &ino) || note_ino(s, &s->mounts, ino) || !net_has_name(s->ns, proc))
		return;
	found_at(s, "a mount in the mount namespace of", pid);
}

/* ---- descriptors ---- */

/* The files of /proc/net that list sockets, and which word of a line is the inode. */
static const struct {
	const char *file;
	int word;
} socket_lists[] = { { "tcp", 10 },      { "tcp6", 10 }, { "udp", 10 },  { "udp6", 10 },    { "udplite", 10 },
	             { "udplite6", 10 }, { "raw", 10 },  { "raw6", 10 }, { "netlink", 10 }, { "unix", 7 },
	             { "packet", 9 },    { "icmp", 10 }, { "icmp6", 10 } };

static void note_sockets_of(struct holder_search *s, const char *file, int word)
{
	_cleanup_free_ char *line = NULL;
	_cleanup_fclose_ FILE *f = NULL;
	size_t room = 0;
	char path[64];

	snprintf(path, sizeof(path), "/proc/thread-self/net/%s", file);
	f = fopen(path, "re");
	while (f && getline(&line, &room, f) > 0) {
		char *rest = line, *at = NULL;
		uint64_t ino;

		for (int i = 0; i < word; i++)
			at = strtok_r(rest, " ", &rest);
		ino = at ? strtoull(at, NULL, 10) : 0;
		if (ino)
			note_ino(s, &s->sockets, ino);
	}
}

static void note_devices(struct holder_search *s)
{
	struct if_nameindex *all = if_nameindex();

	for (const struct if_nameindex *i = all; i && i->if_index; i++)
		arena_push(s->d->arena, &s->devices, &s->n_devices, arena_strdup(s->d->arena, i->if_name));
	if (all)
		if_freenameindex(all);
}

static void note_content(struct holder_search *s)
{
	_cleanup_net_visit_ struct net_visit v = NET_VISIT_NONE;

	if (net_ns_visit_dumped(s->d, s->ns->id, &v))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(socket_lists); i++)
		note_sockets_of(s, socket_lists[i].file, socket_lists[i].word);
	note_devices(s);
}

static bool is_device_there(const struct holder_search *s, const char *name)
{
	for (size_t i = 0; i < s->n_devices; i++)
		if (!strcmp(name, s->devices[i]))
			return true;
	return false;
}

/* Of a tun descriptor only the name of its device is shown, not in which namespace that is. */
static bool is_of_our_tun(const struct holder_search *s, int proc_fd, const char *number)
{
	_cleanup_free_ char *line = NULL;
	_cleanup_fclose_ FILE *f = NULL;
	size_t room = 0;
	bool found = false;
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "fdinfo/%s", number);
	fd = openat(proc_fd, path, O_RDONLY | O_CLOEXEC);
	f = fd < 0 ? NULL : fdopen(fd, "r");
	while (f && !found && getline(&line, &room, f) > 0) {
		char name[32];

		found = sscanf(line, "iff: %31s", name) == 1 && is_device_there(s, name);
	}
	return found;
}

static bool is_socket_there(const struct holder_search *s, const char *link)
{
	struct seen_ino *e = NULL;
	uint64_t ino = strtoull(link + strlen("socket:["), NULL, 10);

	HASH_FIND(hh, s->sockets, &ino, sizeof(ino), e);
	return e;
}

static void look_at_descriptor(struct holder_search *s, int proc_fd, int dir, const char *number, pid_t pid)
{
	char link[64];
	ssize_t n = readlinkat(dir, number, link, sizeof(link) - 1);

	if (n <= 0)
		return;
	link[n] = 0;
	if (!strcmp(link, s->link))
		found_at(s, "a descriptor of the process", pid);
	else if (!strncmp(link, "socket:[", 8) && is_socket_there(s, link))
		found_at(s, "a socket of the process", pid);
	else if (!strcmp(link, "/dev/net/tun") && is_of_our_tun(s, proc_fd, number))
		found_at(s, "a tun descriptor of the process", pid);
}

static void look_at_descriptors(struct holder_search *s, int proc_fd, pid_t pid)
{
	int fd = openat(proc_fd, "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	while (dir && !s->found && (e = readdir(dir)))
		if (e->d_name[0] != '.')
			look_at_descriptor(s, proc_fd, dirfd(dir), e->d_name, pid);
	if (dir)
		closedir(dir);
}

/* ---- all processes ---- */

static void look_at_all(struct holder_search *s, void (*look)(struct holder_search *s, int proc_fd, pid_t pid))
{
	DIR *proc = opendir("/proc");
	const struct dirent *e;

	while (proc && !s->found && (e = readdir(proc))) {
		pid_t pid = e->d_name[0] >= '1' && e->d_name[0] <= '9' ? (pid_t)strtol(e->d_name, NULL, 10) : 0;
		_cleanup_close_ int fd = -1;

		if (!pid || is_ours(s->d, pid))
			continue;
		fd = openat(dirfd(proc), e->d_name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0)
			look(s, fd, pid);
	}
	if (proc)
		closedir(proc);
}

const char *net_holder(struct dump *d, const struct ns *ns, bool by_name)
{
	struct holder_search s = { .d = d, .ns = ns };

	snprintf(s.link, sizeof(s.link), "net:[%llu]", (unsigned long long)ns->ino);
	look_at_all(&s, look_at_threads);
	if (!s.found && by_name && net_has_name(ns, "self"))
		s.found = "its name (ip netns)";
	if (!s.found && by_name)
		look_at_all(&s, look_at_mounts);
	if (s.found)
		return s.found;
	note_content(&s);
	look_at_all(&s, look_at_descriptors);
	return s.found;
}
