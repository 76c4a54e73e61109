/* SPDX-License-Identifier: GPL-2.0-only */
/* One transaction with nf_tables: messages are gathered and sent at once. */
#ifndef CRIU_NETLOCK_NFT_H
#define CRIU_NETLOCK_NFT_H

#include "common.h"

struct nlmsghdr;

struct nft_batch {
	struct mnl_socket *nl;
	char *buf;
	size_t used, size;
	uint32_t seq;
};

/* A socket and room for a batch. 0 or a negative errno (logged). */
int nft_open(struct nft_batch *b);
void nft_close(struct nft_batch *b);

/* After a table was removed: the close takes 10 to 20 ms in the kernel, which is left to a kernel thread. */
void nft_close_unwaited(struct nft_batch *b);

/*
 * A message of type NFT_MSG_*, at the end of the batch; the caller adds attributes and calls nft_end(). NULL: out of
 * memory.
 */
struct nlmsghdr *nft_begin(struct nft_batch *b, uint16_t type, uint16_t flags);
void nft_end(struct nft_batch *b, const struct nlmsghdr *nlh);

/* Room that a message may take. */
#define MESSAGE_ROOM (128UL << 10)

/* Sends it all and waits for the answer: 0 or the kernel's first negative errno (not logged). Empties the batch. */
int nft_commit(struct nft_batch *b);

/* One request without a transaction (NFT_MSG_GETTABLE): 0 or a negative errno (not logged). */
int nft_ask(struct nft_batch *b);

#endif
