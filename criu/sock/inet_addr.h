/* SPDX-License-Identifier: GPL-2.0-only */
/* Addresses of IPv4 and IPv6 sockets, as the kernel has them, as images have them and as text. */
#ifndef CRIU_SOCK_INET_ADDR_H
#define CRIU_SOCK_INET_ADDR_H

#include <netinet/in.h>

#include "lib/arena.h"

union inet_addr {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

socklen_t inet_addr_len(const union inet_addr *n);
uint16_t inet_addr_port(const union inet_addr *n); /* host order */
void inet_addr_set_port(union inet_addr *n, uint16_t port);
bool inet_addr_is_any(const union inet_addr *n); /* no address */
bool inet_addr_equal(const union inet_addr *a, const union inet_addr *b);

/* "127.0.0.1:80", "[fe80::1%eth0]:80": from a ring of 4 buffers. */
const char *inet_addr_text(const union inet_addr *n);

/* For messages, in the arena: "127.0.0.1:80 connected to 127.0.0.1:4711", as far as it has both. */
const char *inet_addr_names(struct arena *a, int fd);

/* Between the words of a message and an address; -EINVAL where their number is not the family's. */
void inet_addr_to_words(struct arena *a, const union inet_addr *n, uint32_t **words, size_t *n_words);
int inet_addr_from_words(int family, const uint32_t *words, size_t n_words, uint32_t port, const char *ifname,
                         union inet_addr *out);

#endif
