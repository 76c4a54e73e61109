/* SPDX-License-Identifier: LGPL-2.1-only */
/* What the files of libcriu share. Functions return 0 or a negative error number, with errno set. */
#ifndef LIBCRIU_INNER_H
#define LIBCRIU_INNER_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "criu.h"
#include "rpc.pb-c.h"

struct criu_opts {
	CriuOpts *rpc;               /* all of it malloc()ed */
	enum criu_service_comm comm; /* which of the next three */
	char *address;
	int fd;
	char *binary;
	criu_notify_cb notify;
	int pts_master; /* that came with a notification and was not fetched; -1 */
};

struct criu_notify_arg {
	int pid; /* 0: not told */
};

/* The options of criu_X(). NULL: criu_init_opts() was not called. */
criu_opts *libcriu_global(void);

static inline int libcriu_fail(int err)
{
	errno = -err;
	return err;
}

/* Another copy in the place of *field; NULL takes it away. */
int libcriu_set_string(char **field, const char *value);

/* ---- connect.c ---- */

struct libcriu_peer {
	int fd;
	pid_t child; /* criu that was started, to be waited for; 0: none */
	bool apart;  /* criu was started but is no child of the caller, whom it dumps */
};

/* What the child that should have become criu sends, in the place of an answer. */
struct libcriu_no_exec {
	char words[12];
	int err;
};
#define LIBCRIU_NO_EXEC "exec failed"

/* self: criu will dump the caller. -ECONNREFUSED */
int libcriu_connect(criu_opts *opts, bool self, struct libcriu_peer *peer);
/* Closes the connection, and returns when the criu that was started has ended. Keeps errno. */
void libcriu_disconnect(struct libcriu_peer *peer);

/* ---- exchange.c ---- */

/*
 * Sends a request, answers notifications, and gives what comes then, to be freed by criu_resp__free_unpacked(): an
 * answer to this request, by which criu may say that it could not (libcriu_verdict()). -ECOMM, -EBADMSG, -EINVAL,
 * -ENOMEM; -ECONNREFUSED: no criu could be executed
 */
int libcriu_ask(criu_opts *opts, int fd, CriuReq *req, CriuResp **resp);
/* 0, or -EBADE with criu's errno. */
int libcriu_verdict(const CriuResp *resp);

#endif
