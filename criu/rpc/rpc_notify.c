/* SPDX-License-Identifier: GPL-2.0-only */
/* Stages told to a client that asked for that (opts.notify_scripts). criu waits until the client has answered. */
#include <unistd.h>

#include "lib/log.h"
#include "proc/proc.h"
#include "rpc/rpc.h"

static int send_stage(const struct client *c, const struct stage_row *row, pid_t root)
{
	CriuNotify notify = CRIU_NOTIFY__INIT;
	CriuResp resp = CRIU_RESP__INIT;

	notify.script = (char *)row->name;
	notify.has_pid = row->tells_pid;
	notify.pid = root;
	resp.type = CRIU_REQ_TYPE__NOTIFY;
	resp.success = true;
	resp.notify = &notify;
	return rpc_send(c->sock, &resp);
}

static int take_answer(struct notifier *n, enum stage stage, const CriuReq *req)
{
	if (req->type != CRIU_REQ_TYPE__NOTIFY || !req->has_notify_success)
		return log_errno(-EPROTO, "%s: the client's answer (type %d) is no answer to a notification",
		                 stages_name(stage), (int)req->type);
	if (!req->notify_success)
		return log_errno(-EPERM, "%s: the client has refused it", stages_name(stage));
	if (stage == STAGE_QUERY_EXT_FILES && req->opts)
		return rpc_options_add_external(n->opts, req->opts);
	return 0;
}

/* A client that is a task of the tree, which criu has stopped, cannot answer. */
static bool stands_still(const struct client *c)
{
	_cleanup_close_ int proc = c->peer.pid > 0 ? proc_open(c->peer.pid) : -1;
	struct proc_status st;

	return proc >= 0 && !proc_read_status(proc, 0, NULL, &st) && st.tracer == getpid();
}

static int notify_client(struct notifier *n, enum stage stage, pid_t root)
{
	CriuReq *req = NULL;
	int err = 0;

	if (stands_still(n->client))
		return rpc_bad("%s: the client, pid %d, is in the tree that is dumped and stands still: it cannot be "
		               "asked; send the request without notify_scripts, or from outside",
		               stages_name(stage), n->client->peer.pid);
	log_debug("asking the client for %s", stages_name(stage));
	if (stage != STAGE_ORPHAN_PTS_MASTER) /* which the restored task has sent: tty/orphan_pts.c */
		err = send_stage(n->client, &stages_rows[stage], root);
	if (!err)
		err = rpc_receive(n->client->sock, &req);
	if (!err)
		err = take_answer(n, stage, req);
	if (req)
		criu_req__free_unpacked(req, NULL);
	/* A client that is gone is no answer: what it began is taken back as long as that is possible. */
	return stages_rows[stage].hears && err == -EPERM ? 0 : err;
}

static int tell_stage(void *arg, enum stage stage, pid_t root)
{
	struct notifier *n = arg;

	if (n->opts->command == CMD_RESTORE && root > 0)
		n->client->root = root;
	return n->asked ? notify_client(n, stage, root) : 0;
}

void rpc_notify_begin(struct notifier *n, struct client *c, struct options *o, bool asked, struct stages *stages)
{
	*n = (struct notifier) { .hook = { .run = tell_stage, .arg = n }, .client = c, .opts = o, .asked = asked };
	stages_add(stages, &n->hook);
}
