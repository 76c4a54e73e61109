/* SPDX-License-Identifier: GPL-2.0-only */
/* Fuzzing what a client of the service may send: packets, and the options that a request asks for. */
#include <fcntl.h>

#include "lib/log.h"
#include "rpc/rpc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Which number the next descriptor has tells whether one was left open. */
static int next_number(void)
{
	int fd = open("/dev/null", O_RDONLY);

	close(fd);
	return fd;
}

static void try_request(struct client *c, const CriuReq *req)
{
	static const enum command commands[] = { CMD_DUMP, CMD_RESTORE, CMD_CHECK, CMD_CPUINFO };

	int before = next_number();

	for (size_t i = 0; req->opts && i < ARRAY_SIZE(commands); i++) {
		struct options o;
		int err = rpc_options_fill(&o, c, commands[i], req->opts);

		if (!err && !o.images_dir)
			abort();
		if (!err)
			rpc_options_add_external(&o, req->opts);
		rpc_options_free(&o, c);
		if (next_number() != before)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct options caller = { .command = CMD_SWRK, .no_default_config = true };
	struct client c = { .peer = { .pid = getpid() }, .service = size & 1, .caller = &caller };
	CriuReq *req = NULL;
	int pair[2], null = open("/dev/null", O_WRONLY);

	log_init(null, LOG_MSG);
	close(null);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair))
		abort();
	c.sock = pair[1];
	if (send(pair[0], data, size, 0) == (ssize_t)size) {
		close(pair[0]);
		if (!rpc_receive(pair[1], &req)) {
			try_request(&c, req);
			criu_req__free_unpacked(req, NULL);
		}
	} else {
		close(pair[0]);
	}
	close(pair[1]);
	return 0;
}
