/* SPDX-License-Identifier: GPL-2.0-only */
/* Requests and their responses: a row each. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "cmd/cmd.h"
#include "lib/log.h"
#include "lib/version.h"
#include "options/work_dir.h"
#include "probe/probe.h"
#include "rpc/rpc.h"
#include "rpc/rpc_page_server.h"

#define ERRMSG_MAX 512 /* a client may have room for no more than 1024 bytes of response */

/* What a request type is. run() fills the response; what it returns is the exit status if this is the last request. */
struct request {
	CriuReqType type, response;
	bool may_stay; /* keep_open is possible */
	int (*run)(struct client *c, const CriuReq *req, CriuResp *resp);
};

/* ---- what all responses have ---- */

/* The length of the UTF-8 character that s begins with; 0: none does. (Names in a text may be any bytes.) */
static size_t character_length(const unsigned char *s)
{
	size_t n = *s < 0x80                 ? 1
	           : *s >= 0xc2 && *s < 0xe0 ? 2
	           : *s >= 0xe0 && *s < 0xf0 ? 3
	           : *s >= 0xf0 && *s < 0xf5 ? 4
	                                     : 0;

	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if ((*s == 0xe0 && s[1] < 0xa0) || (*s == 0xed && s[1] > 0x9f) || (*s == 0xf0 && s[1] < 0x90) ||
	    (*s == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

static void write_errmsg(char *buf, const char *text)
{
	size_t at = 0;

	for (size_t n; *text && at + 4 < ERRMSG_MAX; at += n, text += n) {
		n = character_length((const unsigned char *)text);
		memcpy(buf + at, n ? text : "?", n ?: 1);
		n = n ?: 1;
	}
	buf[at] = '\0';
}

/* Why it has failed: the first error, and its number where the failing step has none that clients know. */
static int respond_error(CriuResp *resp, int err, char *text)
{
	if (!err)
		return 0;
	write_errmsg(text, log_first_text());
	resp->cr_errmsg = text;
	resp->has_cr_errno = true;
	resp->cr_errno = err == -EBADRQC || err == -EOPNOTSUPP ? -err : -(log_first_errno() ?: err);
	return err;
}

static int send_response(struct client *c, CriuResp *resp, int err)
{
	char text[ERRMSG_MAX];

	resp->success = err == 0;
	respond_error(resp, err, text);
	return rpc_send(c->sock, resp);
}

/* ---- commands ---- */

/* A command with its own log, as criu itself would run it. */
struct run {
	struct options opts;
	struct stages stages;
	struct notifier notifier;
	bool begun; /* the request was understood, and the command runs */
};

/* Without a file: standard error, but that of the service is not for what clients do. */
static int open_request_log(const struct client *c, const struct options *o, bool has_file)
{
	_cleanup_close_ int fd = -1;
	struct log_tally before;
	int err;

	if (has_file && o->log_file)
		fd = work_dir_create(o, o->log_file);
	else if (c->service)
		fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (fd < 0 && has_file && o->log_file)
		return fd;
	log_tally_take(&before);
	err = log_init(fd, (enum log_level)MIN(o->verbosity, (int)LOG_DEBUG));
	log_tally_add(&before);
	return err;
}

/* 0: the command can be run. The caller frees r->opts (rpc_options_free()), in any case. */
static int prepare_run(struct client *c, struct run *r, enum command command, const CriuReq *req)
{
	static const CriuOpts none = CRIU_OPTS__INIT;
	const CriuOpts *m = req->opts ?: &none;
	int err = rpc_options_fill(&r->opts, c, command, m);
	int log_err = open_request_log(c, &r->opts, req->opts != NULL);

	stages_init(&r->stages, &r->opts);
	rpc_notify_begin(&r->notifier, c, &r->opts, m->has_notify_scripts && m->notify_scripts, &r->stages);
	err = err ?: log_err ? -EBADRQC : 0;
	r->begun = !err;
	return err;
}

/* What is not implemented is no failure of a command. */
static int exit_status_of(const struct run *r, int err)
{
	return !err ? 0 : !r->begun && err == -EOPNOTSUPP ? RPC_NOT_DONE : 1;
}

/* ---- one function a request ---- */

/* Its answer waits in the images: sock/unix/unix_client.c. */
static bool has_killed_client(const struct client *c, const struct options *o)
{
	return o->tree == c->peer.pid && !o->leave_running && !o->leave_stopped;
}

static int run_dump(struct client *c, const CriuReq *req, CriuResp *resp)
{
	CriuDumpResp dump = CRIU_DUMP_RESP__INIT;
	struct run r;
	int err = prepare_run(c, &r, CMD_DUMP, req), sent;

	if (!err && r.opts.tree == c->peer.pid && r.notifier.asked)
		err = rpc_bad("notify_scripts: a process that dumps itself stands still, and cannot answer");
	if (!err)
		err = cmd_dump(&r.opts, &r.stages);
	dump.has_restored = true;
	resp->dump = &dump;
	sent = !err && has_killed_client(c, &r.opts) ? 0 : send_response(c, resp, err);
	rpc_options_free(&r.opts, c);
	return exit_status_of(&r, err) ?: sent ? RPC_NOT_DONE : 0;
}

static int run_restore(struct client *c, const CriuReq *req, CriuResp *resp)
{
	CriuRestoreResp restore = CRIU_RESTORE_RESP__INIT;
	struct run r;
	int err = prepare_run(c, &r, CMD_RESTORE, req), sent, status;
	sigset_t mask;

	sigprocmask(SIG_SETMASK, NULL, &mask);
	if (!err)
		err = cmd_restore(&r.opts, &r.stages);
	restore.pid = err ? -1 : c->root;
	resp->restore = &restore;
	sent = send_response(c, resp, err);
	status = exit_status_of(&r, err) ?: sent ? RPC_NOT_DONE : 0;
	if (!status && r.opts.exec_argv) {
		sigprocmask(SIG_SETMASK, &mask, NULL);
		cmd_exec(&r.opts, &r.stages, c->root);
		status = 1;
	}
	rpc_options_free(&r.opts, c);
	return status;
}

static int run_simple(struct client *c, const CriuReq *req, CriuResp *resp, enum command command, bool check)
{
	struct run r;
	int err = prepare_run(c, &r, command, req), sent;

	r.opts.cpuinfo_check = check;
	if (!err)
		err = command == CMD_CHECK ? cmd_check(&r.opts, &r.stages) : cmd_cpuinfo(&r.opts, &r.stages);
	sent = send_response(c, resp, err);
	rpc_options_free(&r.opts, c);
	return exit_status_of(&r, err) ?: sent ? RPC_NOT_DONE : 0;
}

static int run_check(struct client *c, const CriuReq *req, CriuResp *resp)
{
	return run_simple(c, req, resp, CMD_CHECK, false);
}

static int run_cpuinfo_dump(struct client *c, const CriuReq *req, CriuResp *resp)
{
	return run_simple(c, req, resp, CMD_CPUINFO, false);
}

static int run_cpuinfo_check(struct client *c, const CriuReq *req, CriuResp *resp)
{
	return run_simple(c, req, resp, CMD_CPUINFO, true);
}

static int start_page_server(struct client *c, const CriuReq *req, CriuResp *resp, bool child)
{
	CriuPageServerInfo ps = CRIU_PAGE_SERVER_INFO__INIT;
	struct run r;
	int err = prepare_run(c, &r, CMD_PAGE_SERVER, req), sent;

	if (!err)
		err = rpc_page_server_start(c, &r.opts, child, &ps);
	resp->ps = err ? NULL : &ps;
	sent = send_response(c, resp, err);
	rpc_options_free(&r.opts, c);
	return exit_status_of(&r, err) ?: sent ? RPC_NOT_DONE : 0;
}

static int run_page_server(struct client *c, const CriuReq *req, CriuResp *resp)
{
	return start_page_server(c, req, resp, false);
}

static int run_page_server_child(struct client *c, const CriuReq *req, CriuResp *resp)
{
	return start_page_server(c, req, resp, true);
}

static int run_version(struct client *c, const CriuReq *req, CriuResp *resp)
{
	CriuVersion version = CRIU_VERSION__INIT;

	sscanf(CRIU_LEVEL, "%d.%d", &version.major_number, &version.minor_number);
	resp->version = &version;
	return send_response(c, resp, 0) ? RPC_NOT_DONE : 0;
}

/* What a client may ask for: processes of a pre-dump are known without the pidfds of its store. */
static int run_feature_check(struct client *c, const CriuReq *req, CriuResp *resp)
{
	CriuFeatures features = CRIU_FEATURES__INIT;
	int err = 0;

	if (!req->features)
		err = rpc_bad("FEATURE_CHECK without features");
	features.has_mem_track = features.has_lazy_pages = features.has_pidfd_store = true;
	features.mem_track = !probe_try(FEATURE_mem_dirty_track);
	features.lazy_pages = req->features && !probe_try(FEATURE_lazy_noncoop);
	resp->features = &features;
	return send_response(c, resp, err) || err ? RPC_NOT_DONE : 0;
}

/*
 * In a process of its own: requests of a chain may follow in the same connection, and each is a command of its own, as
 * from the command line.
 */
static int run_pre_dump(struct client *c, const CriuReq *req, CriuResp *resp)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		struct run r;
		int err = prepare_run(c, &r, CMD_PRE_DUMP, req), sent;

		if (!err)
			err = cmd_pre_dump(&r.opts, &r.stages);
		sent = send_response(c, resp, err);
		rpc_options_free(&r.opts, c);
		_exit(err || sent ? RPC_NOT_DONE : 0);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid > 0 && WIFEXITED(status))
		return WEXITSTATUS(status);
	send_response(
	    c, resp,
	    log_errno(pid < 0 ? -errno : -ECHILD, "fork or waitpid, of a process for a pre-dump (%d)", status));
	return RPC_NOT_DONE;
}

static int run_wait_pid(struct client *c, const CriuReq *req, CriuResp *resp)
{
	int status = 0, err = 0;
	pid_t pid = req->has_pid ? (pid_t)req->pid : 0;

	if (pid <= 0)
		err = rpc_bad("WAIT_PID without a pid");
	while (!err && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			err = log_errno(-errno, "waitpid of %d", pid);
	resp->has_status = !err;
	resp->status = status;
	return send_response(c, resp, err) || err ? RPC_NOT_DONE : 0;
}

static int run_unknown(struct client *c, const CriuReq *req, CriuResp *resp)
{
	send_response(c, resp, rpc_bad("%d is not the type of a request", (int)req->type));
	return RPC_NOT_DONE;
}

#define ROW(request, answer, stays, fn)                                                                                \
	{                                                                                                              \
		CRIU_REQ_TYPE__##request, CRIU_REQ_TYPE__##answer, stays, fn                                           \
	}

/* The last one answers all other types: EMPTY, NOTIFY out of place, and those that nobody knows. */
static const struct request requests[] = {
	ROW(DUMP, DUMP, false, run_dump),
	ROW(RESTORE, RESTORE, false, run_restore),
	ROW(CHECK, CHECK, false, run_check),
	ROW(PRE_DUMP, PRE_DUMP, false, run_pre_dump),
	ROW(SINGLE_PRE_DUMP, SINGLE_PRE_DUMP, false, run_pre_dump),
	ROW(PAGE_SERVER, PAGE_SERVER, true, run_page_server),
	ROW(PAGE_SERVER_CHLD, PAGE_SERVER, true, run_page_server_child),
	ROW(CPUINFO_DUMP, CPUINFO_DUMP, true, run_cpuinfo_dump),
	ROW(CPUINFO_CHECK, CPUINFO_CHECK, true, run_cpuinfo_check),
	ROW(FEATURE_CHECK, FEATURE_CHECK, true, run_feature_check),
	ROW(VERSION, VERSION, true, run_version),
	ROW(WAIT_PID, WAIT_PID, false, run_wait_pid),
	ROW(EMPTY, EMPTY, false, run_unknown),
};

static const struct request *find_request(CriuReqType type)
{
	const struct request *row = requests;

	while (row->type != type && row->run != run_unknown)
		row++;
	return row;
}

int rpc_refuse(struct client *c, int err)
{
	CriuResp resp = CRIU_RESP__INIT;
	CriuReq *req;

	if (!rpc_receive(c->sock, &req)) {
		resp.type = find_request(req->type)->response;
		send_response(c, &resp, err);
		criu_req__free_unpacked(req, NULL);
	}
	return RPC_NOT_DONE;
}

/* After a pre-dump another one may come, or the dump, in the same connection; the end of that is no error then. */
static bool may_come_next(CriuReqType before, CriuReqType type)
{
	return before != CRIU_REQ_TYPE__PRE_DUMP || type == CRIU_REQ_TYPE__PRE_DUMP || type == CRIU_REQ_TYPE__DUMP;
}

int rpc_serve(struct client *c)
{
	CriuReqType before = CRIU_REQ_TYPE__EMPTY;
	int status;
	bool stay;

	do {
		CriuResp resp = CRIU_RESP__INIT;
		const struct request *row;
		CriuReq *req;

		log_hold();
		if (before == CRIU_REQ_TYPE__PRE_DUMP && rpc_has_ended(c->sock))
			return 0;
		if (rpc_receive(c->sock, &req)) {
			if (!c->service) /* standard error is of the client's own */
				log_init(-1, LOG_WARN);
			return RPC_NOT_DONE;
		}
		row = find_request(req->type);
		stay = req->has_keep_open && req->keep_open;
		resp.type = row->response;
		if (!may_come_next(before, req->type))
			status = run_unknown(c, req, (resp.type = CRIU_REQ_TYPE__EMPTY, &resp));
		else if (stay && !row->may_stay)
			status = RPC_NOT_DONE;
		else
			status = row->run(c, req, &resp);
		before = req->type;
		stay |= before == CRIU_REQ_TYPE__PRE_DUMP;
		criu_req__free_unpacked(req, NULL);
	} while (stay && !status);
	rpc_end(c->sock);
	return status;
}
