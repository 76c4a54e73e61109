/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The service protocol (images/rpc.proto): one message is one packet of a unix socket of type SOCK_SEQPACKET, without a
 * length in front. A request becomes the options of a command, the command runs, and its result is the response.
 */
#ifndef CRIU_RPC_RPC_H
#define CRIU_RPC_RPC_H

#include <sys/socket.h>

#include "lib/log.h"
#include "options/options.h"
#include "options/stages.h"
#include "rpc.pb-c.h"

/* A client that is being answered. */
struct client {
	int sock;
	struct ucred peer;            /* SO_PEERCRED: the process that made the socket pair, or has connected */
	bool service;                 /* criu service: the process is no child of the client */
	const struct options *caller; /* of criu swrk or criu service */
	pid_t root;                   /* of a restore: the root task, once it exists */
	uint64_t lent_caps;           /* what this process has beyond the peer's user */
	int opened[3];                /* of the peer's descriptors, by rpc_options_fill() */
	size_t n_opened;
};

/* The exit status of a criu that could not answer, or has done nothing: not understood, not allowed, gone. */
#define RPC_NOT_DONE 255

/*
 * Answers the requests that come over c->sock: one, or more where a request says keep_open. Returns the exit status:
 * 0; 1: a command failed (logged); RPC_NOT_DONE.
 */
int rpc_serve(struct client *c);

/* Answers a request with an error that is logged already; returns RPC_NOT_DONE. */
int rpc_refuse(struct client *c, int err);

/* Logs what is wrong with a request; -EBADRQC, which says that to clients. */
#define rpc_bad(...) (log_errno(0, __VA_ARGS__), -EBADRQC)

/* ---- packets ---- */

/*
 * Receives a message, however long it is, into memory of its own, and unpacks it. 0 with *req (the caller frees it with
 * criu_req__free_unpacked(req, NULL)), or a negative errno (logged): -EPIPE: the peer is gone; -EBADMSG: this is not a
 * message.
 */
int rpc_receive(int sock, CriuReq **req);

/* Waits for the next message; true: the peer has closed the socket instead. */
bool rpc_has_ended(int sock);

/* Sends a response. 0 or a negative errno (logged). */
int rpc_send(int sock, const CriuResp *resp);

/*
 * Nothing more is read. What has come nevertheless is thrown away: a socket that is closed with something unread in it
 * takes the response from the client, which would see ECONNRESET first.
 */
void rpc_end(int sock);

/* ---- requests ---- */

/*
 * Fills *o from the configuration files and the request, for command. Descriptors of the peer are opened here. 0, or a
 * negative errno (logged): -EBADRQC for what is wrong with the request, -EOPNOTSUPP for what is not implemented.
 * rpc_options_free() in any case.
 */
int rpc_options_fill(struct options *o, struct client *c, enum command command, const CriuOpts *m);
void rpc_options_free(struct options *o, struct client *c);

/* Applies --external to a dump that runs: the answer to query-ext-files. 0 or a negative errno (logged). */
int rpc_options_add_external(struct options *o, const CriuOpts *m);

/* ---- notifications ---- */

struct notifier {
	struct hook hook;
	struct client *client;
	struct options *opts; /* of the command, for what the client adds */
	bool asked;           /* opts.notify_scripts */
};

/* Adds the hook that tells the client of each stage and waits for its answer; *n outlives *stages. */
void rpc_notify_begin(struct notifier *n, struct client *c, struct options *o, bool asked, struct stages *stages);

#endif
