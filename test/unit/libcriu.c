/* SPDX-License-Identifier: GPL-2.0-only */
/* libcriu, without criu: every field of its requests, and what it makes of each answer. */
#include "libcriu_peer.h"

static void notify(int fd, const char *script, int pid, int passed)
{
	CriuResp resp = CRIU_RESP__INIT;
	CriuNotify n = CRIU_NOTIFY__INIT;

	n.script = (char *)script;
	n.has_pid = pid != 0;
	n.pid = pid;
	resp.type = CRIU_REQ_TYPE__NOTIFY;
	resp.success = true;
	resp.notify = &n;
	send_response(fd, &resp, passed);
}

/* ---- fields ---- */

/* The options as criu would get them; the caller frees the request. */
static CriuReq *sent_opts(criu_opts *o)
{
	int fd = peer_begin(o);
	CriuReq *req;

	answer(fd, CRIU_REQ_TYPE__DUMP, true, 0);
	assert_int_equal(criu_local_dump(o), 0);
	req = only_request(fd, CRIU_REQ_TYPE__DUMP);
	assert_non_null(req->opts);
	return req;
}

/* Fields that are set, by the descriptor of the message. */
static size_t fields_set(const CriuOpts *opts, const char *wanted)
{
	const ProtobufCMessageDescriptor *d = &criu_opts__descriptor;
	size_t n = 0;

	for (unsigned int i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		const char *at = (const char *)opts + f->quantifier_offset, *value = (const char *)opts + f->offset;
		bool pointer = f->type == PROTOBUF_C_TYPE_STRING || f->type == PROTOBUF_C_TYPE_MESSAGE;
		bool set = f->label == PROTOBUF_C_LABEL_REPEATED   ? *(const size_t *)at != 0
		           : f->label == PROTOBUF_C_LABEL_REQUIRED ? false
		           : pointer                               ? *(void *const *)value != NULL
		                                                   : *(const protobuf_c_boolean *)at;

		if (set && wanted && strcmp(f->name, wanted))
			fail_msg("%s is sent, where only %s was set", f->name, wanted);
		n += set;
	}
	return n;
}

static void nothing_is_sent(void **state)
{
	criu_opts *o = new_opts();
	CriuReq *req = sent_opts(o);

	assert_int_equal(fields_set(req->opts, NULL), 0);
	assert_int_equal(req->opts->images_dir_fd, -1);
	assert_false(req->has_keep_open || req->has_pid || req->has_notify_success || req->features);
	criu_req__free_unpacked(req, NULL);
	criu_local_free_opts(o);
}

/* One option alone, by its local and by its global function, which must make the same request. */
#define SENDS(field, local_call, global_call, condition)                                                               \
	do {                                                                                                           \
		criu_opts *o = new_opts();                                                                             \
		CriuReq *req;                                                                                          \
		const CriuOpts *f;                                                                                     \
		local_call;                                                                                            \
		req = sent_opts(o);                                                                                    \
		f = req->opts;                                                                                         \
		assert_int_equal(fields_set(f, #field), 1);                                                            \
		assert_true(condition);                                                                                \
		criu_req__free_unpacked(req, NULL);                                                                    \
		criu_local_free_opts(o);                                                                               \
		assert_int_equal(criu_init_opts(), 0);                                                                 \
		global_call;                                                                                           \
		f = (req = sent_global())->opts;                                                                       \
		assert_int_equal(fields_set(f, #field), 1);                                                            \
		assert_true(condition);                                                                                \
		criu_req__free_unpacked(req, NULL);                                                                    \
		criu_free_opts();                                                                                      \
	} while (0)

#define VALUE(name, field, value)                                                                                      \
	SENDS(field, criu_local_set_##name(o, value), criu_set_##name(value), f->field == (int64_t)(value))
#define BOTH_WAYS(name)                                                                                                \
	do {                                                                                                           \
		VALUE(name, name, true);                                                                               \
		VALUE(name, name, false);                                                                              \
	} while (0)
#define TEXT(call, field)                                                                                              \
	SENDS(field, assert_int_equal(criu_local_##call(o, "a/" #field), 0),                                           \
	      assert_int_equal(criu_##call("a/" #field), 0), !strcmp(f->field, "a/" #field))
#define IS(text, value) (!strcmp(text, value))
#define TWO(call, field, args, more, condition)                                                                        \
	SENDS(field, assert_int_equal(criu_local_##call(o, UNPACK args) | criu_local_##call(o, UNPACK more), 0),       \
	      assert_int_equal(criu_##call(UNPACK args) | criu_##call(UNPACK more), 0),                                \
	      f->n_##field == 2 && (condition))
#define UNPACK(...) __VA_ARGS__

static CriuReq *sent_global(void)
{
	int sk[2];
	CriuReq *req;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sk), 0);
	criu_set_service_fd(sk[0]);
	answer(sk[1], CRIU_REQ_TYPE__DUMP, true, 0);
	assert_int_equal(criu_dump(), 0);
	req = only_request(sk[1], CRIU_REQ_TYPE__DUMP);
	return req;
}

static void numbers(void **state)
{
	VALUE(pid, pid, 4711);
	VALUE(work_dir_fd, work_dir_fd, 17);
	VALUE(log_level, log_level, CRIU_LOG_DEBUG);
	VALUE(log_level, log_level, CRIU_LOG_UNSET);
	VALUE(cpu_cap, cpu_cap, 0xfffffff5);
	VALUE(timeout, timeout, 90);
	VALUE(ghost_limit, ghost_limit, 0xf0000000);
	VALUE(pidfd_store_sk, pidfd_store_sk, 9);
	VALUE(empty_ns, empty_ns, 0x40000000);
	VALUE(manage_cgroups_mode, manage_cgroups_mode, CRIU_CG_MODE_STRICT);
	VALUE(manage_cgroups_mode, manage_cgroups_mode, CRIU_CG_MODE_DEFAULT);
	VALUE(pre_dump_mode, pre_dump_mode, CRIU_PRE_DUMP_READ);
	VALUE(network_lock, network_lock, CRIU_NETWORK_LOCK_SKIP);
	assert_int_equal(CRIU_CG_MODE_SOFT, CRIU_CG_MODE__SOFT);
	assert_int_equal(CRIU_CG_MODE_DEFAULT, CRIU_CG_MODE__DEFAULT);
	assert_int_equal(CRIU_NETWORK_LOCK_NFTABLES, CRIU_NETWORK_LOCK_METHOD__NFTABLES);
	assert_int_equal(CRIU_PRE_DUMP_READ, CRIU_PRE_DUMP_MODE__VM_READ);
}

static void flags(void **state)
{
	BOTH_WAYS(leave_running);
	BOTH_WAYS(ext_unix_sk);
	BOTH_WAYS(tcp_established);
	BOTH_WAYS(tcp_skip_in_flight);
	BOTH_WAYS(tcp_close);
	BOTH_WAYS(weak_sysctls);
	BOTH_WAYS(evasive_devices);
	BOTH_WAYS(shell_job);
	BOTH_WAYS(skip_file_rwx_check);
	BOTH_WAYS(unprivileged);
	BOTH_WAYS(orphan_pts_master);
	BOTH_WAYS(file_locks);
	BOTH_WAYS(track_mem);
	BOTH_WAYS(auto_dedup);
	BOTH_WAYS(force_irmap);
	BOTH_WAYS(link_remap);
	BOTH_WAYS(manage_cgroups);
	BOTH_WAYS(auto_ext_mnt);
	BOTH_WAYS(ext_sharing);
	BOTH_WAYS(ext_masters);
	BOTH_WAYS(mntns_compat_mode);
}

static void texts(void **state)
{
	TEXT(set_parent_images, parent_img);
	TEXT(set_log_file, log_file);
	TEXT(set_root, root);
	TEXT(set_freeze_cgroup, freeze_cgroup);
	TEXT(set_lsm_profile, lsm_profile);
	TEXT(set_lsm_mount_context, lsm_mount_context);
	TEXT(set_config_file, config_file);
	TEXT(add_cg_props, cgroup_props);
	TEXT(add_cg_props_file, cgroup_props_file);
	TEXT(add_cg_yard, cgroup_yard);
}

#define TWO_TEXTS(call, field) TWO(call, field, ("one"), ("two"), IS(f->field[0], "one") && IS(f->field[1], "two"))

static void lists(void **state)
{
	TWO_TEXTS(add_enable_fs, enable_fs);
	TWO_TEXTS(add_skip_mnt, skip_mnt);
	TWO_TEXTS(add_irmap_path, irmap_scan_paths);
	TWO_TEXTS(add_external, external);
	TWO_TEXTS(add_cg_dump_controller, cgroup_dump_controller);
	TWO(add_ext_mount, ext_mnt, ("k", "v"), ("console", ""),
	    IS(f->ext_mnt[0]->key, "k") && IS(f->ext_mnt[0]->val, "v") && IS(f->ext_mnt[1]->val, ""));
	TWO(add_veth_pair, veths, ("eth0", "v0"), ("eth1", "v1@br"),
	    IS(f->veths[0]->if_in, "eth0") && IS(f->veths[1]->if_out, "v1@br"));
	TWO(add_cg_root, cg_root, (NULL, "/all"), ("memory", "/m"),
	    !f->cg_root[0]->ctrl && IS(f->cg_root[0]->path, "/all") && IS(f->cg_root[1]->ctrl, "memory"));
	TWO(add_inherit_fd, inherit_fd, (1, "pipe:[7]"), (2, "pipe:[7]"),
	    f->inherit_fd[0]->fd == 1 && f->inherit_fd[1]->fd == 2 && IS(f->inherit_fd[1]->key, "pipe:[7]"));
	TWO(join_ns_add, join_ns, ("uts", "/proc/1/ns/uts", NULL), ("user", "f", "0,0"),
	    IS(f->join_ns[0]->ns, "uts") && !f->join_ns[0]->extra_opt && IS(f->join_ns[1]->ns_file, "f") &&
	        IS(f->join_ns[1]->extra_opt, "0,0"));
}

static void sockets_by_inode(void **state)
{
	criu_opts *o = new_opts();
	CriuReq *req;

	assert_int_equal(criu_local_add_unix_sk(o, 12) | criu_local_add_unix_sk(o, 0xffffffff), 0);
	req = sent_opts(o);
	assert_int_equal(fields_set(req->opts, NULL), 2);
	assert_true(req->opts->has_ext_unix_sk && req->opts->ext_unix_sk);
	assert_int_equal(req->opts->n_unix_sk_ino, 2);
	assert_int_equal(req->opts->unix_sk_ino[1]->inode, 0xffffffff);
	criu_req__free_unpacked(req, NULL);
	criu_local_set_ext_unix_sk(o, false);
	assert_int_equal(criu_local_add_unix_sk(o, 13), -EINVAL);
	criu_local_free_opts(o);
}

static void parts(void **state)
{
	char *argv[] = { (char *)"sh", (char *)"-c", (char *)"true" };
	criu_opts *o = new_opts();
	CriuReq *req;

	assert_int_equal(criu_local_set_exec_cmd(o, 1, argv), 0);
	assert_int_equal(criu_local_set_exec_cmd(o, 3, argv), 0);
	assert_int_equal(criu_local_set_page_server_address_port(o, "gone", 1), 0);
	assert_int_equal(criu_local_set_page_server_address_port(o, "::1", 27), 0);
	criu_local_set_images_dir_fd(o, 42);
	req = sent_opts(o);
	assert_int_equal(fields_set(req->opts, NULL), 2);
	assert_int_equal(req->opts->images_dir_fd, 42);
	assert_int_equal(req->opts->n_exec_cmd, 3);
	assert_string_equal(req->opts->exec_cmd[2], "true");
	assert_string_equal(req->opts->ps->address, "::1");
	assert_true(req->opts->ps->has_port && req->opts->ps->port == 27);
	criu_req__free_unpacked(req, NULL);
	criu_local_free_opts(o);
}

static void taken_back(void **state)
{
	criu_opts *o = new_opts();
	CriuReq *req;

	assert_int_equal(criu_local_set_root(o, "/one") | criu_local_set_root(o, "/two") | criu_local_set_root(o, NULL),
	                 0);
	assert_int_equal(criu_local_set_exec_cmd(o, 0, NULL), 0);
	req = sent_opts(o);
	assert_int_equal(fields_set(req->opts, NULL), 0);
	criu_req__free_unpacked(req, NULL);
	criu_local_free_opts(o);
}

static void wrong_arguments(void **state)
{
	char *hole[] = { (char *)"sh", NULL };
	criu_opts *o = new_opts();
	struct criu_feature_check f = { 0 };

	assert_int_equal(criu_local_init_opts(NULL), -EINVAL);
	assert_int_equal(criu_local_add_external(o, NULL), -EINVAL);
	assert_int_equal(criu_local_add_ext_mount(o, "k", NULL), -EINVAL);
	assert_int_equal(criu_local_add_cg_root(o, "memory", NULL), -EINVAL);
	assert_int_equal(criu_local_join_ns_add(o, NULL, "f", NULL), -EINVAL);
	assert_int_equal(criu_local_set_exec_cmd(o, 2, hole), -EINVAL);
	assert_int_equal(criu_local_set_network_lock(o, 0), -EINVAL);
	assert_int_equal(criu_local_set_pre_dump_mode(o, 3), -EINVAL);
	assert_int_equal(criu_local_feature_check(o, NULL, sizeof(f)), -EINVAL);
	assert_int_equal(criu_local_feature_check(o, &f, sizeof(f) + 1), -EINVAL);
	assert_int_equal(criu_local_dump_iters(o, NULL), -EINVAL);
	criu_local_free_opts(o);
	/* Without criu_init_opts(). */
	criu_set_pid(1);
	criu_set_notify_cb(NULL);
	assert_int_equal(criu_set_root("/"), -EINVAL);
	assert_int_equal(criu_dump(), -EINVAL);
	assert_int_equal(criu_restore_child(), -EINVAL);
	assert_int_equal(criu_get_version(), -EINVAL);
	assert_int_equal(criu_get_orphan_pts_master_fd(), -1);
	assert_int_equal(errno, EINVAL);
}

/* ---- answers ---- */

static void verdicts(void **state)
{
	static const struct {
		CriuReqType type;
		bool success;
		int cr_errno, ret, err;
	} cases[] = {
		{ CRIU_REQ_TYPE__CHECK, true, 0, 0, 0 },
		{ CRIU_REQ_TYPE__CHECK, true, EPERM, 0, 0 },
		{ CRIU_REQ_TYPE__CHECK, false, 0, -EBADE, EBADE },
		{ CRIU_REQ_TYPE__CHECK, false, ESRCH, -EBADE, ESRCH },
		{ CRIU_REQ_TYPE__EMPTY, false, 0, -EINVAL, EINVAL },
		{ CRIU_REQ_TYPE__EMPTY, true, 0, -EBADMSG, EBADMSG },
		{ CRIU_REQ_TYPE__DUMP, true, 0, -EBADMSG, EBADMSG },
	};
	criu_opts *o = new_opts();

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int fd = peer_begin(o);
		CriuReq *req;

		answer(fd, cases[i].type, cases[i].success, cases[i].cr_errno);
		errno = 0;
		assert_int_equal(criu_local_check(o), cases[i].ret);
		assert_int_equal(errno, cases[i].err);
		req = only_request(fd, CRIU_REQ_TYPE__CHECK);
		assert_null(req->opts);
		criu_req__free_unpacked(req, NULL);
	}
	/* The descriptor was good for one request. */
	assert_int_equal(criu_local_check(o), -ECONNREFUSED);
	assert_int_equal(errno, EBADF);
	criu_local_free_opts(o);
}

static void no_answer(void **state)
{
	criu_opts *o = new_opts();
	int fd = peer_begin(o);

	close(fd);
	assert_int_equal(criu_local_dump(o), -ECOMM);
	fd = peer_begin(o);
	shutdown(fd, SHUT_WR);
	assert_int_equal(criu_local_dump(o), -ECOMM);
	close(fd);
	fd = peer_begin(o);
	assert_int_equal(send(fd, "\xff\xff\xff garbage", 11, 0), 11);
	assert_int_equal(criu_local_dump(o), -EBADMSG);
	close(fd);
	/* Success, but without what makes it one. */
	fd = peer_begin(o);
	answer(fd, CRIU_REQ_TYPE__RESTORE, true, 0);
	assert_int_equal(criu_local_restore(o), -EBADMSG);
	close(fd);
	fd = peer_begin(o);
	answer(fd, CRIU_REQ_TYPE__VERSION, true, 0);
	assert_int_equal(criu_local_get_version(o), -EBADMSG);
	close(fd);
	criu_local_free_opts(o);
}

static void pids(void **state)
{
	criu_opts *o = new_opts();
	CriuResp resp = CRIU_RESP__INIT;
	CriuRestoreResp r = CRIU_RESTORE_RESP__INIT;
	CriuDumpResp d = CRIU_DUMP_RESP__INIT;
	CriuReq *req;
	int fd = peer_begin(o);

	resp.type = CRIU_REQ_TYPE__RESTORE;
	resp.success = true;
	resp.restore = &r;
	r.pid = 1234;
	send_response(fd, &resp, -1);
	assert_int_equal(criu_local_restore(o), 1234);
	req = only_request(fd, CRIU_REQ_TYPE__RESTORE);
	assert_false(req->opts->has_rst_sibling);
	criu_req__free_unpacked(req, NULL);

	resp = (CriuResp)CRIU_RESP__INIT;
	resp.type = CRIU_REQ_TYPE__DUMP;
	resp.success = true;
	resp.dump = &d;
	d.has_restored = d.restored = true;
	fd = peer_begin(o);
	send_response(fd, &resp, -1);
	assert_int_equal(criu_local_dump(o), 1);
	close(fd);

	fd = peer_begin(o);
	answer(fd, CRIU_REQ_TYPE__SINGLE_PRE_DUMP, true, 0);
	assert_int_equal(criu_local_pre_dump(o), 0);
	criu_req__free_unpacked(only_request(fd, CRIU_REQ_TYPE__SINGLE_PRE_DUMP), NULL);
	criu_local_free_opts(o);
}

static int version_of(int major, int minor, int sublevel, const char *gitid, int minimum)
{
	criu_opts *o = new_opts();
	CriuResp resp = CRIU_RESP__INIT;
	CriuVersion v = CRIU_VERSION__INIT;
	int fd = peer_begin(o), ret;

	v.major_number = major;
	v.minor_number = minor;
	v.has_sublevel = sublevel >= 0;
	v.sublevel = sublevel;
	v.gitid = (char *)gitid;
	resp.type = CRIU_REQ_TYPE__VERSION;
	resp.success = true;
	resp.version = &v;
	send_response(fd, &resp, -1);
	ret = minimum ? criu_local_check_version(o, minimum) : criu_local_get_version(o);
	close(fd);
	criu_local_free_opts(o);
	return ret;
}

static void versions(void **state)
{
	assert_int_equal(version_of(4, 2, -1, NULL, 0), 40200);
	assert_int_equal(version_of(3, 16, 1, NULL, 0), 31601);
	assert_int_equal(version_of(3, 16, 1, "", 0), 31601);
	assert_int_equal(version_of(4, 2, 3, "v4.2-22-g2cf8f13ca", 0), 40300);
	assert_int_equal(version_of(4, 2, -1, NULL, 40200), 1);
	assert_int_equal(version_of(4, 2, -1, NULL, 40201), 0);
}

static void features(void **state)
{
	struct criu_feature_check f = { .mem_track = true, .pidfd_store = true };
	criu_opts *o = new_opts();
	CriuResp resp = CRIU_RESP__INIT;
	CriuFeatures has = CRIU_FEATURES__INIT;
	CriuReq *req;
	int fd = peer_begin(o);

	has.has_mem_track = has.has_lazy_pages = has.has_pidfd_store = true;
	has.lazy_pages = has.pidfd_store = true;
	resp.type = CRIU_REQ_TYPE__FEATURE_CHECK;
	resp.success = true;
	resp.features = &has;
	send_response(fd, &resp, -1);
	assert_int_equal(criu_local_feature_check(o, &f, sizeof(f)), 0);
	assert_true(!f.mem_track && !f.lazy_pages && f.pidfd_store);
	req = only_request(fd, CRIU_REQ_TYPE__FEATURE_CHECK);
	assert_true(req->features->mem_track && !req->features->lazy_pages && req->features->pidfd_store);
	criu_req__free_unpacked(req, NULL);

	/* A caller that knows of one feature. */
	f = (struct criu_feature_check) { .lazy_pages = true };
	fd = peer_begin(o);
	send_response(fd, &resp, -1);
	assert_int_equal(criu_local_feature_check(o, &f, 1), 0);
	assert_true(f.lazy_pages);
	req = only_request(fd, CRIU_REQ_TYPE__FEATURE_CHECK);
	assert_false(req->features->lazy_pages);
	criu_req__free_unpacked(req, NULL);
	criu_local_free_opts(o);
}

/* ---- notifications ---- */

static char told[256];
static int told_no_at, told_fd;
static criu_opts *told_opts;

static int tell(char *action, criu_notify_arg_t na)
{
	size_t n = strlen(told);

	snprintf(told + n, sizeof(told) - n, "%s:%d ", action, criu_notify_pid(na));
	if (!strcmp(action, "orphan-pts-master"))
		told_fd = criu_local_get_orphan_pts_master_fd(told_opts);
	return told_no_at && !--told_no_at ? -1 : 0;
}

static int open_descriptors(void)
{
	int n = 0;

	for (int i = 0; i < 200; i++)
		n += fcntl(i, F_GETFD) >= 0;
	return n;
}

static void notifications(void **state)
{
	criu_opts *o = told_opts = new_opts();
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), n = 0, before, fd;
	CriuReq *req;

	before = open_descriptors() + 1; /* with the peer's end */
	fd = peer_begin(o);
	criu_local_set_notify_cb(o, tell);
	told_no_at = 3;
	notify(fd, "pre-restore", 0, -1);
	notify(fd, "orphan-pts-master", 1, null);
	notify(fd, "post-restore", 99, null); /* a descriptor that nobody asked for */
	answer(fd, CRIU_REQ_TYPE__RESTORE, false, 0);
	assert_int_equal(criu_local_restore(o), -EBADE);
	assert_string_equal(told, "pre-restore:0 orphan-pts-master:1 post-restore:99 ");
	assert_true(told_fd > null);
	assert_int_equal(fcntl(told_fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(criu_local_get_orphan_pts_master_fd(o), -1);
	assert_int_equal(open_descriptors(), before + 1);
	req = next_request(fd);
	assert_true(req->type == CRIU_REQ_TYPE__RESTORE && req->opts->has_notify_scripts && req->opts->notify_scripts);
	criu_req__free_unpacked(req, NULL);
	while ((req = next_request(fd))) {
		assert_true(req->type == CRIU_REQ_TYPE__NOTIFY && req->has_notify_success);
		assert_int_equal(req->notify_success, ++n < 3);
		criu_req__free_unpacked(req, NULL);
	}
	assert_int_equal(n, 3);
	close(fd);
	close(told_fd);
	close(null);
	criu_local_free_opts(o);
}

static int more_left;

static int more(criu_predump_info pi)
{
	return more_left--;
}

/* Pre-dumps and the dump in one connection; the callback ends it. */
static void iterations(void **state)
{
	criu_opts *o = new_opts();
	int fd = peer_begin(o);
	static const CriuReqType types[] = { CRIU_REQ_TYPE__PRE_DUMP, CRIU_REQ_TYPE__PRE_DUMP, CRIU_REQ_TYPE__DUMP };

	assert_int_equal(criu_local_dump_iters(o, more), -EINVAL); /* of itself */
	criu_local_set_pid(o, 4711);
	more_left = 1;
	for (size_t i = 0; i < 3; i++)
		answer(fd, types[i], true, 0);
	assert_int_equal(criu_local_dump_iters(o, more), 0);
	for (size_t i = 0; i < 3; i++) {
		CriuReq *req = next_request(fd);

		assert_int_equal(req->type, types[i]);
		assert_int_equal(req->opts->pid, 4711);
		criu_req__free_unpacked(req, NULL);
	}
	close(fd);
	fd = peer_begin(o);
	more_left = -7;
	answer(fd, CRIU_REQ_TYPE__PRE_DUMP, true, 0);
	assert_int_equal(criu_local_dump_iters(o, more), -7);
	criu_req__free_unpacked(only_request(fd, CRIU_REQ_TYPE__PRE_DUMP), NULL);
	fd = peer_begin(o);
	answer(fd, CRIU_REQ_TYPE__PRE_DUMP, false, ENOTSUP);
	assert_int_equal(criu_local_dump_iters(o, more), -EBADE);
	assert_int_equal(errno, ENOTSUP);
	close(fd);
	criu_local_free_opts(o);
}

/* More than a socket takes by default. */
static void huge_request(void **state)
{
	criu_opts *o = new_opts();
	int fd = peer_begin(o), n = 20000;
	uint8_t *data = malloc(4 << 20);
	char key[64];
	ssize_t size;
	CriuReq *req;

	for (int i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "/some/where/in/a/container/%d", i);
		assert_int_equal(criu_local_add_ext_mount(o, key, key), 0);
	}
	answer(fd, CRIU_REQ_TYPE__DUMP, true, 0);
	assert_int_equal(criu_local_dump(o), 0);
	size = recv(fd, data, 4 << 20, 0);
	assert_true(size > 1000000);
	req = criu_req__unpack(NULL, (size_t)size, data);
	assert_int_equal(req->opts->n_ext_mnt, n);
	assert_string_equal(req->opts->ext_mnt[n - 1]->val, key);
	criu_req__free_unpacked(req, NULL);
	free(data);
	close(fd);
	criu_local_free_opts(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_sent), cmocka_unit_test(numbers),      cmocka_unit_test(flags),
		cmocka_unit_test(texts),           cmocka_unit_test(lists),        cmocka_unit_test(sockets_by_inode),
		cmocka_unit_test(parts),           cmocka_unit_test(taken_back),   cmocka_unit_test(wrong_arguments),
		cmocka_unit_test(verdicts),        cmocka_unit_test(no_answer),    cmocka_unit_test(pids),
		cmocka_unit_test(versions),        cmocka_unit_test(features),     cmocka_unit_test(notifications),
		cmocka_unit_test(iterations),      cmocka_unit_test(huge_request),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
