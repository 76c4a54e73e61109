/* SPDX-License-Identifier: GPL-2.0-only */
/* Inside of ipc/: System V message queues of a dump. */
#ifndef CRIU_IPC_MSG_QUEUE_H
#define CRIU_IPC_MSG_QUEUE_H

#include "helper/ipc_ns.h"
#include "ipc-msg.pb-c.h"
#include "tree/dump.h"

struct msg_queue {
	struct ipc_ns *ns;
	IpcMsgEntry entry;
	IpcDescEntry desc;
	size_t bytes; /* no message is longer */
	struct msg_queue *next;
};

struct msg_dump_state {
	struct msg_queue *queues;
};

/* The stages of a dump: see tree/subsys.h. */
int msg_dump_collect(struct dump *d);
int msg_dump_write(struct dump *d);

#endif
