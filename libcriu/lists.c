/* SPDX-License-Identifier: LGPL-2.1-only */
/* Options that can be given several times, and those that have parts. */
#include <stdlib.h>
#include <string.h>

#include "inner.h"

/* One more at the end of list[*n], which is moved: the room for it, NULL without memory. */
static void **list_room(void ***list, size_t n)
{
	void **longer = realloc(*list, (n + 1) * sizeof(**list));

	if (!longer)
		return NULL;
	*list = longer;
	return &longer[n];
}

/* Takes the item, a message all of whose parts may still be missing; -ENOMEM where one of them has no memory. */
static int list_add(void ***list, size_t *n, void *item, bool complete)
{
	void **room = item && complete ? list_room(list, *n) : NULL;

	if (room) {
		*room = item;
		++*n;
		return 0;
	}
	if (item)
		protobuf_c_message_free_unpacked(item, NULL);
	return libcriu_fail(-ENOMEM);
}

static int list_add_string(char ***list, size_t *n, const char *text)
{
	char *copy = strdup(text);
	void **room = copy ? list_room((void ***)list, *n) : NULL;

	if (!room) {
		free(copy);
		return libcriu_fail(-ENOMEM);
	}
	*room = copy;
	++*n;
	return 0;
}

/* *to is a copy of text where there is one; a required string that was not given has no place. */
static bool copy_string(char **to, const char *text)
{
	if (text)
		*to = strdup(text);
	return !text || *to;
}

static void *new_message(const ProtobufCMessageDescriptor *type)
{
	ProtobufCMessage *m = malloc(type->sizeof_message);

	if (m)
		protobuf_c_message_init(type, m);
	return m;
}

#define ADD(opts, list, item, complete) list_add((void ***)&(opts)->rpc->list, &(opts)->rpc->n_##list, item, complete)

#define STRINGS(name, list)                                                                                            \
	int criu_local_add_##name(criu_opts *opts, const char *text)                                                   \
	{                                                                                                              \
		return opts && text ? list_add_string(&opts->rpc->list, &opts->rpc->n_##list, text)                    \
		                    : libcriu_fail(-EINVAL);                                                           \
	}                                                                                                              \
	int criu_add_##name(const char *text)                                                                          \
	{                                                                                                              \
		return criu_local_add_##name(libcriu_global(), text);                                                  \
	}

STRINGS(enable_fs, enable_fs)
STRINGS(skip_mnt, skip_mnt)
STRINGS(irmap_path, irmap_scan_paths)
STRINGS(external, external)
STRINGS(cg_dump_controller, cgroup_dump_controller)

/* A socket that is named makes sense with --ext-unix-sk alone: who has switched that off contradicts himself. */
int criu_local_add_unix_sk(criu_opts *opts, unsigned int inode)
{
	UnixSk *sk;
	int err;

	if (!opts || (opts->rpc->has_ext_unix_sk && !opts->rpc->ext_unix_sk))
		return libcriu_fail(-EINVAL);
	sk = new_message(&unix_sk__descriptor);
	if (sk)
		sk->inode = inode;
	err = ADD(opts, unix_sk_ino, sk, true);
	if (!err)
		criu_local_set_ext_unix_sk(opts, true);
	return err;
}

int criu_add_unix_sk(unsigned int inode)
{
	return criu_local_add_unix_sk(libcriu_global(), inode);
}

int criu_local_add_ext_mount(criu_opts *opts, const char *key, const char *val)
{
	ExtMountMap *m;

	if (!opts || !key || !val)
		return libcriu_fail(-EINVAL);
	m = new_message(&ext_mount_map__descriptor);
	return ADD(opts, ext_mnt, m, m && copy_string(&m->key, key) && copy_string(&m->val, val));
}

int criu_add_ext_mount(const char *key, const char *val)
{
	return criu_local_add_ext_mount(libcriu_global(), key, val);
}

int criu_local_add_veth_pair(criu_opts *opts, const char *in, const char *out)
{
	CriuVethPair *m;

	if (!opts || !in || !out)
		return libcriu_fail(-EINVAL);
	m = new_message(&criu_veth_pair__descriptor);
	return ADD(opts, veths, m, m && copy_string(&m->if_in, in) && copy_string(&m->if_out, out));
}

int criu_add_veth_pair(const char *in, const char *out)
{
	return criu_local_add_veth_pair(libcriu_global(), in, out);
}

/* Without ctrl it holds for all hierarchies. */
int criu_local_add_cg_root(criu_opts *opts, const char *ctrl, const char *path)
{
	CgroupRoot *m;

	if (!opts || !path)
		return libcriu_fail(-EINVAL);
	m = new_message(&cgroup_root__descriptor);
	return ADD(opts, cg_root, m, m && copy_string(&m->ctrl, ctrl) && copy_string(&m->path, path));
}

int criu_add_cg_root(const char *ctrl, const char *path)
{
	return criu_local_add_cg_root(libcriu_global(), ctrl, path);
}

int criu_local_add_inherit_fd(criu_opts *opts, int fd, const char *key)
{
	InheritFd *m;

	if (!opts || !key)
		return libcriu_fail(-EINVAL);
	m = new_message(&inherit_fd__descriptor);
	if (m)
		m->fd = fd;
	return ADD(opts, inherit_fd, m, m && copy_string(&m->key, key));
}

int criu_add_inherit_fd(int fd, const char *key)
{
	return criu_local_add_inherit_fd(libcriu_global(), fd, key);
}

int criu_local_join_ns_add(criu_opts *opts, const char *ns, const char *ns_file, const char *extra_opt)
{
	JoinNamespace *m;

	if (!opts || !ns || !ns_file)
		return libcriu_fail(-EINVAL);
	m = new_message(&join_namespace__descriptor);
	return ADD(opts, join_ns, m,
	           m && copy_string(&m->ns, ns) && copy_string(&m->ns_file, ns_file) &&
	               copy_string(&m->extra_opt, extra_opt));
}

int criu_join_ns_add(const char *ns, const char *ns_file, const char *extra_opt)
{
	return criu_local_join_ns_add(libcriu_global(), ns, ns_file, extra_opt);
}

static void free_strings(char **list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(list[i]);
	free(list);
}

/* The whole command, in the place of one that was set before. */
int criu_local_set_exec_cmd(criu_opts *opts, int argc, char *argv[])
{
	char **list = NULL;
	size_t n = 0;

	if (!opts || argc < 0 || (argc && !argv))
		return libcriu_fail(-EINVAL);
	while (n < (size_t)argc) {
		int err = argv[n] ? list_add_string(&list, &n, argv[n]) : libcriu_fail(-EINVAL);

		if (err) {
			free_strings(list, n);
			return libcriu_fail(err);
		}
	}
	free_strings(opts->rpc->exec_cmd, opts->rpc->n_exec_cmd);
	opts->rpc->exec_cmd = list;
	opts->rpc->n_exec_cmd = n;
	return 0;
}

int criu_set_exec_cmd(int argc, char *argv[])
{
	return criu_local_set_exec_cmd(libcriu_global(), argc, argv);
}

int criu_local_set_page_server_address_port(criu_opts *opts, const char *address, int port)
{
	CriuPageServerInfo *ps;

	if (!opts)
		return libcriu_fail(-EINVAL);
	ps = new_message(&criu_page_server_info__descriptor);
	if (!ps || !copy_string(&ps->address, address)) {
		free(ps);
		return libcriu_fail(-ENOMEM);
	}
	ps->has_port = true;
	ps->port = port;
	if (opts->rpc->ps)
		criu_page_server_info__free_unpacked(opts->rpc->ps, NULL);
	opts->rpc->ps = ps;
	return 0;
}

int criu_set_page_server_address_port(const char *address, int port)
{
	return criu_local_set_page_server_address_port(libcriu_global(), address, port);
}
