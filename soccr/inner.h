/* SPDX-License-Identifier: LGPL-2.1-only */
/* Inside of soccr: calls with the name of their step kept, and constants that installed headers lack. */
#ifndef SOCCR_INNER_H
#define SOCCR_INNER_H

#include <errno.h>
#include <netinet/tcp.h>

#include "soccr.h"

/* linux/tcp.h: values of TCP_REPAIR */
#define REPAIR_ON        1
#define REPAIR_OFF       0
#define REPAIR_OFF_NO_WP (-1)

/* struct tcp_info of linux/tcp.h as of 4.6: the one of the C library ends before these fields. */
struct longer_info {
	struct tcp_info tcp;
	uint64_t pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
	uint32_t segs_out, segs_in, notsent_bytes, min_rtt;
};

static inline int soccr_get(int fd, int level, int name, const char *text, void *value, socklen_t len,
                            struct soccr_conn *c)
{
	socklen_t n = len;

	c->step = text;
	if (getsockopt(fd, level, name, value, &n))
		return -errno;
	return 0;
}

static inline int soccr_set(int fd, int level, int name, const char *text, const void *value, socklen_t len,
                            struct soccr_conn *c)
{
	c->step = text;
	return setsockopt(fd, level, name, value, len) ? -errno : 0;
}

static inline int soccr_set_int(int fd, int level, int name, const char *text, int value, struct soccr_conn *c)
{
	return soccr_set(fd, level, name, text, &value, sizeof(value), c);
}

#define GET(c, fd, level, name, var)       soccr_get(fd, level, name, #name, &(var), sizeof(var), c)
#define SET(c, fd, level, name, var)       soccr_set(fd, level, name, #name, &(var), sizeof(var), c)
#define SET_INT(c, fd, level, name, value) soccr_set_int(fd, level, name, #name, value, c)

#endif
