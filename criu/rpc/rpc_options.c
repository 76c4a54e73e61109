/* SPDX-License-Identifier: GPL-2.0-only */
/* The options of a command from a request: those of the table (rpc_fields.c), and what is no option of its own. */
#include <fcntl.h>
#include <linux/sched.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/log.h"
#include "options/options_request.h"
#include "rpc/rpc.h"
#include "rpc/rpc_fields.h"
#include "rpc/rpc_peer.h"

/* ---- descriptors of the peer, by their numbers there ---- */

static int open_of_peer(struct client *c, const char *field, int fd, int flags)
{
	char path[64];
	int ours;

	if (c->peer.pid <= 0)
		return rpc_bad("%s: the client's process is in another pid namespace: its descriptors "
		               "cannot be opened",
		               field);
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", c->peer.pid, fd);
	ours = open(path, flags | O_CLOEXEC);
	if (ours < 0) {
		log_errno(-errno, "%s: descriptor %d of the client (pid %d): open of %s", field, fd, c->peer.pid, path);
		return -EBADRQC;
	}
	c->opened[c->n_opened++] = ours;
	return ours;
}

/* A path by which criu finds the directory whatever the client does to its descriptor. */
static int take_dir(struct options *o, struct client *c, const char *field, int fd, const char **path)
{
	int ours = open_of_peer(c, field, fd, O_RDONLY | O_DIRECTORY);

	if (ours < 0)
		return ours;
	*path = arena_printf(o->arena, "/proc/self/fd/%d", ours);
	log_info("%s: descriptor %d of pid %d is %s", field, fd, c->peer.pid, *path);
	return 0;
}

static int take_dirs(struct options *o, struct client *c, const CriuOpts *m)
{
	int err = 0;

	if (m->images_dir_fd != -1)
		err = take_dir(o, c, "images_dir_fd", m->images_dir_fd, &o->images_dir);
	else if (m->images_dir && *m->images_dir)
		o->images_dir = arena_strdup(o->arena, m->images_dir);
	if (!err && m->has_work_dir_fd && m->work_dir_fd != -1)
		err = take_dir(o, c, "work_dir_fd", m->work_dir_fd, &o->work_dir);
	return err;
}

static int take_status_fd(struct options *o, struct client *c, const CriuOpts *m)
{
	if (!m->has_status_fd || m->status_fd < 0)
		return 0;
	o->status_fd = open_of_peer(c, "status_fd", m->status_fd, O_WRONLY | O_NOCTTY | O_NONBLOCK);
	return o->status_fd < 0 ? o->status_fd : 0;
}

/* ---- descriptors of criu's own, by their numbers here ---- */

/* What criu was started with has no FD_CLOEXEC; what criu has opened since has. */
static bool is_inherited(int fd)
{
	int flags = fcntl(fd, F_GETFD);

	return flags >= 0 && !(flags & FD_CLOEXEC);
}

static int take_inherited(struct options *o, const struct client *c, const CriuOpts *m)
{
	const struct option_row *row = option_by_name("inherit-fd", strlen("inherit-fd"));
	int err = 0;

	for (size_t i = 0; !err && i < m->n_inherit_fd; i++) {
		const InheritFd *in = m->inherit_fd[i];

		if (o->command == CMD_RESTORE && !is_inherited(in->fd))
			return rpc_bad("inherit_fd: %s: descriptor %d is not open in criu swrk", in->key, in->fd);
		err = option_apply(o, row, arena_printf(o->arena, "fd[%d]:%s", in->fd, in->key), false, "request: ");
	}
	return err;
}

static int take_page_server(struct options *o, const struct client *c, const CriuOpts *m)
{
	const CriuPageServerInfo *ps = m->ps;

	if (!ps || (o->command != CMD_DUMP && o->command != CMD_PRE_DUMP && o->command != CMD_PAGE_SERVER))
		return 0;
	o->page_server = o->command != CMD_PAGE_SERVER && !o->lazy_pages; /* which waits to be asked for its pages */
	if (ps->address)
		o->address = arena_strdup(o->arena, ps->address);
	if (ps->has_port && (ps->port < 0 || ps->port > UINT16_MAX))
		return rpc_bad("ps: %d is not the number of a port", ps->port);
	if (ps->has_port)
		o->port = (unsigned)ps->port;
	if (!ps->has_fd || ps->fd < 0)
		return 0;
	if (c->service)
		return rpc_bad("ps: fd: the service has no descriptors of its client's: use criu swrk");
	if (!is_inherited(ps->fd))
		return rpc_bad("ps: descriptor %d is not open in criu swrk", ps->fd);
	o->ps_socket = ps->fd;
	return 0;
}

/* ---- all else ---- */

/* A name in the work directory, as CRIU has it. */
static int take_log(struct options *o, const CriuOpts *m)
{
	const char *name = m->log_file;

	if (m->has_log_to_stderr && m->log_to_stderr) {
		o->log_file = NULL;
		return 0;
	}
	if (name && strchr(name, '/'))
		return rpc_bad("log_file: '%s' is not valid: it is a name in the work directory", name);
	o->log_file = name && *name ? arena_strdup(o->arena, name) : o->log_file ?: "criu.log";
	return 0;
}

static int take_empty_ns(struct options *o, const CriuOpts *m)
{
	if (!m->has_empty_ns || !m->empty_ns)
		return 0;
	if (m->empty_ns != CLONE_NEWNET)
		return rpc_bad("empty_ns: %#x is not valid (only %#x, network namespaces)", m->empty_ns, CLONE_NEWNET);
	o->empty_net_ns = true;
	return 0;
}

/* criu executes it when the client has been answered: rpc_serve.c */
static int take_exec(struct options *o, const CriuOpts *m)
{
	char **argv = arena_array(o->arena, char *, m->n_exec_cmd + 1);

	if (!m->n_exec_cmd)
		return 0;
	for (size_t i = 0; i < m->n_exec_cmd; i++)
		argv[i] = arena_strdup(o->arena, m->exec_cmd[i]);
	o->exec_argv = argv;
	return 0;
}

/* What a process of the service's has for itself, and what follows from where it was started. */
static int check_service(const struct options *o, const struct client *c, const char *libdir)
{
	if (!c->service)
		return 0;
	if (o->restore_sibling)
		return rpc_bad("rst_sibling: the service is no child of its client: use criu swrk");
	if (o->n_inherit_fd)
		return rpc_bad("inherit_fd: the service has no descriptors of its client's: use criu swrk");
	if (c->peer.uid && o->libdir != libdir)
		return rpc_bad("libdir: the service loads no plugins that a client names who is not root");
	return 0;
}

/* All is known, also what the configuration file of the request says. */
static int check_request(const struct options *o, const struct client *c, const CriuOpts *m)
{
	if (!o->images_dir && o->command != CMD_CHECK)
		return rpc_bad("the request names no image directory: images_dir_fd or images_dir");
	if (o->exec_cmd)
		return rpc_bad("exec-cmd in a configuration file: the command of a request is in exec_cmd");
	if (o->n_close_fds > c->caller->n_close_fds)
		return rpc_bad("close in the configuration file of a request: its descriptors are open already");
	if (m->has_pidfd_store_sk)
		log_info("pidfd_store_sk has no effect: processes of a pre-dump are known by their start times");
	return 0;
}

/* A client that asks for itself, and has ended since: its number may be another process's by now. */
static int take_itself(struct options *o, const struct client *c)
{
	if (o->command != CMD_DUMP || o->tree)
		return 0;
	o->tree = c->peer.pid;
	if (rpc_peer_has_ended(c->sock))
		return rpc_bad("the client that asks to be dumped, pid %d, has ended or closed its socket",
		               c->peer.pid);
	return 0;
}

/* A restore sends the master in a notification. */
static bool wants_orphans(enum command command, const CriuOpts *m)
{
	bool wants = m->has_orphan_pts_master && m->orphan_pts_master;

	return wants && (command != CMD_RESTORE || (m->has_notify_scripts && m->notify_scripts));
}

/* What the request says, before its configuration file, which wins. */
static int take_request(struct options *o, struct client *c, const CriuOpts *m)
{
	int (*const parts[])(struct options *, const CriuOpts *) = { take_log, take_empty_ns, take_exec };
	int err = take_dirs(o, c, m), part = rpc_fields_apply(o, m);

	err = err ?: part;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		part = parts[i](o, m);
		err = err ?: part;
	}
	part = take_inherited(o, c, m) ?: take_page_server(o, c, m) ?: take_status_fd(o, c, m);
	return err ?: part;
}

/* What no file decides. */
static void set_own(struct options *o, const struct client *c, const CriuOpts *m)
{
	o->orphan_pts_master = wants_orphans(o->command, m);
	o->restore_detached = o->command == CMD_RESTORE;
	o->client_socket = c->sock;
	o->lent_caps = c->lent_caps;
	if (!o->images_dir && !o->work_dir)
		o->log_file = NULL; /* the current directory is criu's, not the client's */
}

int rpc_options_fill(struct options *o, struct client *c, enum command command, const CriuOpts *m)
{
	const char *config = m->config_file && *m->config_file ? m->config_file : NULL, *libdir;
	int err = options_begin_request(o, command, c->caller), part;

	c->n_opened = 0;
	if (!o->arena)
		return err;
	libdir = o->libdir;
	part = take_request(o, c, m);
	err = err ?: part;
	part = options_configure_request(o, config ? arena_strdup(o->arena, config) : NULL);
	err = err ?: part;
	set_own(o, c, m);
	part = check_request(o, c, m) ?: check_service(o, c, libdir) ?: take_itself(o, c);
	err = err ?: part;
	part = options_end_request(o);
	err = err ?: part;
	return !err || err == -EOPNOTSUPP ? err : -EBADRQC;
}

void rpc_options_free(struct options *o, struct client *c)
{
	while (c->n_opened)
		close(c->opened[--c->n_opened]);
	options_free(o);
}

int rpc_options_add_external(struct options *o, const CriuOpts *m)
{
	const struct option_row *row = option_by_name("external", strlen("external"));
	int err = 0;

	for (size_t i = 0; !err && i < m->n_external; i++)
		err = option_apply(o, row, arena_strdup(o->arena, m->external[i]), false, "query-ext-files: ");
	return err;
}
