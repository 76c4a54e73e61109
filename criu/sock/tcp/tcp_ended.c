/* SPDX-License-Identifier: GPL-2.0-only */
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>

#include "lib/log.h"
#include "sock/inet_addr.h"
#include "sock/tcp/tcp_ended.h"
#include "soccr.h"
#include "uapi/tcp_info_bits.h"

/* ---- dump ---- */

/* It had answered to a SYN, or had an answer to its own; one that was refused has met a single segment. */
static bool was_established(int fd)
{
	struct tcp_info_counts info = { 0 };
	socklen_t len = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len))
		return false;
	return info.bytes_acked || info.bytes_received || info.base.tcpi_options || info.segs_in > 1;
}

int tcp_ended_look(struct dump *d, int fd, enum tcp_bound bound, InetSkEntry *m, const char *who)
{
	struct pollfd p = { .fd = fd };
	bool established = was_established(fd), error;
	int unread = 0;

	if (ioctl(fd, SIOCINQ, &unread))
		return log_errno(-errno, "%s: how much is to be read", who);
	error = poll(&p, 1, 0) > 0 && p.revents & POLLERR;
	m->state = TCP_CLOSE;
	m->has_shutdown = true;
	m->shutdown = SK_SHUTDOWN__BOTH;
	m->ended = NULL;
	if (!unread && !error && !(established && bound == TCP_BOUND_YES)) {
		if (bound == TCP_BOUND_NO) {
			m->src_port = 0;
			memset(m->src_addr, 0, m->n_src_addr * sizeof(*m->src_addr));
			m->ifname = NULL;
		}
		return 0;
	}
	m->ended = arena_msg(d->arena, InetEndedEntry, inet_ended_entry);
	m->ended->unread = (uint32_t)unread;
	m->ended->bound = bound == TCP_BOUND_YES;
	if (error) {
		m->ended->error = established ? ECONNRESET : ECONNREFUSED;
		log_info("%s: an error waits, which cannot be read without taking it away; it will be: %s", who,
		         strerror((int)m->ended->error));
	}
	return 0;
}

InetEndedEntry *tcp_ended_instead(struct arena *a, uint32_t state)
{
	InetEndedEntry *e = arena_msg(a, InetEndedEntry, inet_ended_entry);

	/* What the kernel says in these states when an RST comes. */
	if (state == TCP_SYN_SENT)
		e->error = ECONNREFUSED;
	else
		e->error = soccr_fin_received((uint8_t)state) ? EPIPE : ECONNRESET;
	return e;
}
