/* SPDX-License-Identifier: LGPL-2.1-only */
/* Sets of options: their beginning and end, and who is to do the work. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "inner.h"

#define DEFAULT_ADDRESS "./criu_service.socket"
#define DEFAULT_BINARY  "criu"

static criu_opts *global; /* lint: global: criu_X() has no argument for it */

criu_opts *libcriu_global(void)
{
	return global;
}

int libcriu_set_string(char **field, const char *value)
{
	char *copy = value ? strdup(value) : NULL;

	if (value && !copy)
		return libcriu_fail(-ENOMEM);
	free(*field);
	*field = copy;
	return 0;
}

int criu_local_init_opts(criu_opts **opts)
{
	criu_opts *o;

	if (!opts)
		return libcriu_fail(-EINVAL);
	o = calloc(1, sizeof(*o));
	if (!o)
		return libcriu_fail(-ENOMEM);
	o->rpc = malloc(sizeof(*o->rpc));
	if (!o->rpc) {
		free(o);
		return libcriu_fail(-ENOMEM);
	}
	criu_opts__init(o->rpc);
	o->comm = CRIU_COMM_BIN;
	o->fd = o->pts_master = -1;
	*opts = o;
	return 0;
}

static void close_pts_master(criu_opts *opts)
{
	if (opts->pts_master >= 0)
		close(opts->pts_master);
	opts->pts_master = -1;
}

void criu_local_free_opts(criu_opts *opts)
{
	if (!opts)
		return;
	close_pts_master(opts);
	criu_opts__free_unpacked(opts->rpc, NULL);
	free(opts->address);
	free(opts->binary);
	free(opts);
}

int criu_init_opts(void)
{
	criu_opts *fresh = NULL;
	int err = criu_local_init_opts(&fresh);

	if (err)
		return err;
	criu_local_free_opts(global);
	global = fresh;
	return 0;
}

void criu_free_opts(void)
{
	criu_local_free_opts(global);
	global = NULL;
}

int criu_local_set_service_address(criu_opts *opts, const char *path)
{
	int err = opts ? libcriu_set_string(&opts->address, path ? path : DEFAULT_ADDRESS) : libcriu_fail(-EINVAL);

	if (!err)
		opts->comm = CRIU_COMM_SK;
	return err;
}

int criu_set_service_address(const char *path)
{
	return criu_local_set_service_address(global, path);
}

void criu_local_set_service_fd(criu_opts *opts, int fd)
{
	if (!opts)
		return;
	opts->fd = fd;
	opts->comm = CRIU_COMM_FD;
}

void criu_set_service_fd(int fd)
{
	criu_local_set_service_fd(global, fd);
}

int criu_local_set_service_binary(criu_opts *opts, const char *path)
{
	int err = opts ? libcriu_set_string(&opts->binary, path ? path : DEFAULT_BINARY) : libcriu_fail(-EINVAL);

	if (!err)
		opts->comm = CRIU_COMM_BIN;
	return err;
}

int criu_set_service_binary(const char *path)
{
	return criu_local_set_service_binary(global, path);
}

void criu_local_set_service_comm(criu_opts *opts, enum criu_service_comm comm)
{
	if (opts)
		opts->comm = comm;
}

void criu_set_service_comm(enum criu_service_comm comm)
{
	criu_local_set_service_comm(global, comm);
}

void criu_local_set_notify_cb(criu_opts *opts, criu_notify_cb cb)
{
	if (!opts)
		return;
	opts->notify = cb;
	opts->rpc->has_notify_scripts = true;
	opts->rpc->notify_scripts = cb != NULL;
}

void criu_set_notify_cb(criu_notify_cb cb)
{
	criu_local_set_notify_cb(global, cb);
}

int criu_notify_pid(criu_notify_arg_t na)
{
	return na ? na->pid : 0;
}

/* Who fetches the descriptor has it. */
int criu_local_get_orphan_pts_master_fd(criu_opts *opts)
{
	int fd = opts ? opts->pts_master : -1;

	if (opts)
		opts->pts_master = -1;
	return fd;
}

int criu_get_orphan_pts_master_fd(void)
{
	return criu_local_get_orphan_pts_master_fd(global);
}
