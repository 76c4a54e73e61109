/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * SOL_SOCKET. Not saved: SO_ERROR, since to read it clears the pending error (it is lost at the restore);
 * SO_INCOMING_CPU, which reads as the CPU of the last packet whether it was set or not; the programs of SO_REUSEPORT
 * groups (sock/inet/inet_reuseport.c).
 */
#include <linux/bpf_common.h>
#include <linux/filter.h>
#include <linux/net_tstamp.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "files/files.h"
#include "lib/log.h"
#include "sock/opts.h"
#include "uapi/sock_bits.h"

#define ROW(option, of_field) .level = SOL_SOCKET, .name = (option), .text = #option, .field = (of_field)
#define ALWAYS                .absent = SOCK_OPT_ALWAYS
#define IS(option, of_field)                                                                                           \
	{                                                                                                              \
		ROW(option, of_field), ALWAYS                                                                          \
	} /* fields of the format: always written */
#define LATER(option, of_field)                                                                                        \
	{                                                                                                              \
		ROW(option, of_field), ALWAYS, .late = true                                                            \
	}
#define OWN(option, of_field)                                                                                          \
	{                                                                                                              \
		ROW(option, of_field), .late = true                                                                    \
	}

static const struct sock_opt socket_opts[] = {
	IS(SO_REUSEADDR, "reuseaddr"),
	IS(SO_REUSEPORT, "so_reuseport"),
	IS(SO_MARK, "so_mark"),
	IS(SO_DONTROUTE, "so_dontroute"),
	IS(SO_BROADCAST, "so_broadcast"),
	IS(SO_NO_CHECK, "so_no_check"),
	/* After IP_TOS, which sets it as well. */
	{ ROW(SO_PRIORITY, "so_priority"), ALWAYS, .late = true, .moving = true },
	LATER(SO_PASSCRED, "so_passcred"),
	LATER(SO_PASSSEC, "so_passsec"),
	LATER(SO_KEEPALIVE, "so_keepalive"),
	LATER(SO_OOBINLINE, "so_oobinline"),
	OWN(SO_DEBUG, "so_debug"),
	OWN(SO_PASSPIDFD, "so_passpidfd"),
	{ ROW(SO_PASSRIGHTS, "so_passrights"), .late = true, .absent = 1 },
	/* Timestamps share flags in the kernel: at most one of the first four is on, and old and new do not mix. */
	OWN(SO_TIMESTAMPING_OLD, "so_timestamping"),
	OWN(SO_TIMESTAMPING_NEW, "so_timestamping_new"),
	OWN(SO_TIMESTAMP_OLD, "so_timestamp"),
	OWN(SO_TIMESTAMPNS_OLD, "so_timestampns"),
	OWN(SO_TIMESTAMP_NEW, "so_timestamp_new"),
	OWN(SO_TIMESTAMPNS_NEW, "so_timestampns_new"),
	OWN(SO_RXQ_OVFL, "so_rxq_ovfl"),
	OWN(SO_WIFI_STATUS, "so_wifi_status"),
	OWN(SO_NOFCS, "so_nofcs"),
	OWN(SO_SELECT_ERR_QUEUE, "so_select_err_queue"),
	{ ROW(SO_BUSY_POLL, "so_busy_poll"), .late = true, .hint = true },
	{ ROW(SO_PREFER_BUSY_POLL, "so_prefer_busy_poll"), .late = true, .hint = true },
	{ ROW(SO_MAX_PACING_RATE, "so_max_pacing_rate"), .late = true, .bytes = 8, .hint = true, .absent = -1 },
	{ ROW(SO_RESERVE_MEM, "so_reserve_mem"), .late = true, .hint = true },
	{ ROW(SO_TXREHASH, "so_txrehash"), .late = true, .hint = true, .absent = 1 },
	OWN(SO_RCVMARK, "so_rcvmark"),
	OWN(SO_RCVPRIORITY, "so_rcvpriority"),
	OWN(SO_ZEROCOPY, "so_zerocopy"),
	{ ROW(SO_PEEK_OFF, "so_peek_off"), .late = true, .absent = -1 },
	{ 0 },
};

/* Set in this order, after the sizes of the buffers, which lock them. */
static const struct sock_opt buffer_opts[] = {
	IS(SO_RCVLOWAT, "so_rcvlowat"),
	{ ROW(SO_BUF_LOCK, "so_buf_lock"), ALWAYS, .moving = true },
	{ 0 },
};

/* The last: no filter can be attached after it. */
static const struct sock_opt last_opts[] = {
	OWN(SO_LOCK_FILTER, "so_lock_filter"),
	{ 0 },
};

/* ---- dump ---- */

static int get_value(const struct fd_info *info, int name, void *value, socklen_t len, const char *text)
{
	if (getsockopt(info->fd, SOL_SOCKET, name, value, &len))
		return log_errno(-errno, "%s: getsockopt(%s)", fd_name(info), text);
	return 0;
}

/* An instruction as the format has it, whatever the order of bytes. */
static uint64_t pack_instruction(const struct sock_filter *f)
{
	return (uint64_t)f->code << 48 | (uint64_t)f->jt << 40 | (uint64_t)f->jf << 32 | f->k;
}

static struct sock_filter unpack_instruction(uint64_t v)
{
	return (struct sock_filter) {
		.code = (uint16_t)(v >> 48), .jt = (uint8_t)(v >> 40), .jf = (uint8_t)(v >> 32), .k = (uint32_t)v
	};
}

static int refuse_ebpf(const struct fd_info *info)
{
	log_refusal(-ENOTSUP,
	            "%s: %s with an eBPF program attached (SO_ATTACH_BPF), which the kernel does not show; let the "
	            "program take it off (SO_DETACH_FILTER), or use a classic filter",
	            fd_name(info), fd_what(info));
	return DUMP_REFUSED;
}

/* The length counts instructions. EACCES: the kernel has no classic form of the program. */
static int dump_socket_filter(struct arena *a, const struct fd_info *info, SkOptsEntry *o)
{
	socklen_t n = 0;
	struct sock_filter *f;

	if (getsockopt(info->fd, SOL_SOCKET, SO_GET_FILTER, NULL, &n)) {
		if (errno == EACCES)
			return refuse_ebpf(info);
		return log_errno(-errno, "%s: getsockopt(SO_GET_FILTER) for the size", fd_name(info));
	}
	if (!n)
		return 0;
	f = arena_array(a, struct sock_filter, n);
	if (getsockopt(info->fd, SOL_SOCKET, SO_GET_FILTER, f, &n))
		return log_errno(-errno, "%s: getsockopt(SO_GET_FILTER)", fd_name(info));
	o->so_filter = arena_array(a, uint64_t, n);
	o->n_so_filter = n;
	for (size_t i = 0; i < n; i++)
		o->so_filter[i] = pack_instruction(&f[i]);
	return 0;
}

static int dump_times(const struct fd_info *info, SkOptsEntry *o)
{
	struct timeval send = { 0 }, receive = { 0 };
	int err = get_value(info, SO_SNDTIMEO, &send, sizeof(send), "SO_SNDTIMEO");

	err = err ?: get_value(info, SO_RCVTIMEO, &receive, sizeof(receive), "SO_RCVTIMEO");
	o->so_snd_tmo_sec = (uint64_t)send.tv_sec;
	o->so_snd_tmo_usec = (uint64_t)send.tv_usec;
	o->so_rcv_tmo_sec = (uint64_t)receive.tv_sec;
	o->so_rcv_tmo_usec = (uint64_t)receive.tv_usec;
	return err;
}

static void dump_txtime(const struct fd_info *info, SkOptsEntry *o)
{
	struct sock_txtime t = { 0 };
	socklen_t len = sizeof(t);

	/* Set with CLOCK_REALTIME and without flags, it looks the same as not set. */
	if (getsockopt(info->fd, SOL_SOCKET, SO_TXTIME, &t, &len) || (!t.clockid && !t.flags))
		return;
	o->has_so_txtime_clock = o->has_so_txtime_flags = true;
	o->so_txtime_clock = (uint32_t)t.clockid;
	o->so_txtime_flags = t.flags;
}

static void dump_bound_device(struct arena *a, const struct fd_info *info, SkOptsEntry *o)
{
	char name[IFNAMSIZ + 1] = "";
	socklen_t len = IFNAMSIZ;

	if (!getsockopt(info->fd, SOL_SOCKET, SO_BINDTODEVICE, name, &len) && *name)
		o->so_bound_dev = arena_strdup(a, name);
}

/* Counters of the kernel's that nothing shows. */
void sock_opts_warn(const struct fd_info *info, const SkOptsEntry *o)
{
	if (o->so_zerocopy)
		log_warn(
		    "%s: what was sent without copying (SO_ZEROCOPY) and is not known to have been is not told of any "
		    "more, and the numbers of what is sent so begin at 0 again",
		    fd_name(info));
	if ((o->so_timestamping | o->so_timestamping_new) & SOF_TIMESTAMPING_OPT_ID)
		log_warn("%s: the numbers of what is sent (SOF_TIMESTAMPING_OPT_ID) begin at 0 again", fd_name(info));
}

/* The kernel enlarges those of a connection as packets come and go. */
static int dump_sizes(const struct fd_info *info, SkOptsEntry *o)
{
	int err = get_value(info, SO_SNDBUF, &o->so_sndbuf, sizeof(o->so_sndbuf), "SO_SNDBUF");

	return err ?: get_value(info, SO_RCVBUF, &o->so_rcvbuf, sizeof(o->so_rcvbuf), "SO_RCVBUF");
}

int sock_opts_dump_moving(struct arena *a, const struct fd_info *info, SkOptsEntry **optsp)
{
	*optsp = arena_memdup(a, *optsp, sizeof(**optsp));
	sock_opts_warn(info, *optsp);
	return dump_sizes(info, *optsp);
}

int sock_opts_dump(struct arena *a, const struct fd_info *info, SkOptsEntry **optsp)
{
	SkOptsEntry *o = arena_msg(a, SkOptsEntry, sk_opts_entry);
	struct linger linger;
	int err;

	*optsp = o;
	err = dump_sizes(info, o);
	err = err ?: get_value(info, SO_LINGER, &linger, sizeof(linger), "SO_LINGER");
	err = err ?: dump_times(info, o);
	err = err ?: sock_opt_table_dump(info, socket_opts, o);
	err = err ?: sock_opt_table_dump(info, buffer_opts, o);
	err = err ?: sock_opt_table_dump(info, last_opts, o);
	if (err)
		return err;
	o->has_so_linger = linger.l_onoff;
	o->so_linger = linger.l_onoff ? (uint32_t)linger.l_linger : 0;
	dump_bound_device(a, info, o);
	dump_txtime(info, o);
	sock_opts_warn(info, o);
	return dump_socket_filter(a, info, o);
}

/* ---- restore ---- */

/* Set as they have to be: half of it, and in two ways. */
static const struct sock_opt size_opts[] = {
	IS(SO_SNDBUF, NULL),
	IS(SO_RCVBUF, NULL),
	{ 0 },
};

/* The kernel doubles the size that it gets, and reads back the double. */
static int set_buffer(struct sock_new *new, int fd, const struct sock_opt *o, int force, uint32_t want, const char *who)
{
	int half = (int)(want / 2);
	int64_t now;

	if (sock_opt_now(new, size_opts, o, fd, &now) == 1 && now == want)
		return 0;
	if (!setsockopt(fd, SOL_SOCKET, force, &half, sizeof(half)))
		return 0;
	if (setsockopt(fd, SOL_SOCKET, o->name, &half, sizeof(half)))
		return log_errno(-errno, "%s: setsockopt(%s) to %u", who, o->text, want);
	if (sock_opt_now(NULL, size_opts, o, fd, &now) == 1 && now < want)
		log_warn("%s: %s is %lld, it was %u: more needs CAP_NET_ADMIN, or a higher net.core.%cmem_max", who,
		         o->text, (long long)now, want, o->name == SO_SNDBUF ? 'w' : 'r');
	return 0;
}

static int set_buffers(struct sock_new *new, int fd, const SkOptsEntry *o, const char *who)
{
	int err = set_buffer(new, fd, &size_opts[0], SO_SNDBUFFORCE, o->so_sndbuf, who);

	return err ?: set_buffer(new, fd, &size_opts[1], SO_RCVBUFFORCE, o->so_rcvbuf, who);
}

int sock_opts_buffers(int fd, const SkOptsEntry *o, struct sock_new *new, const char *who)
{
	return set_buffers(NULL, fd, o, who) ?: sock_opt_table_restore(new, fd, buffer_opts, o, false, who);
}

int sock_opts_before_bind(struct restore *r, int fd, const SkOptsEntry *o, struct sock_new *new, const char *who)
{
	int err = sock_opt_table_restore(new, fd, socket_opts, o, false, who);

	err = err ?: set_buffers(new, fd, o, who);
	err = err ?: sock_opt_table_restore(new, fd, buffer_opts, o, false, who);
	if (err || !o->so_bound_dev)
		return err;
	if (setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, o->so_bound_dev, (socklen_t)strlen(o->so_bound_dev)))
		return log_errno(-errno, "%s: setsockopt(SO_BINDTODEVICE) to %s", who, o->so_bound_dev);
	return 0;
}

static int set_time(int fd, int name, uint64_t sec, uint64_t usec, const char *text, const char *who)
{
	struct timeval t = { .tv_sec = (time_t)sec, .tv_usec = (suseconds_t)usec };

	/* A new socket has no timeout. */
	if ((sec || usec) && setsockopt(fd, SOL_SOCKET, name, &t, sizeof(t)))
		return log_errno(-errno, "%s: setsockopt(%s) to %llu.%06llu", who, text, (unsigned long long)sec,
		                 (unsigned long long)usec);
	return 0;
}

static int attach_filter(struct restore *r, int fd, const SkOptsEntry *o, const char *who)
{
	struct sock_fprog program = { .len = (unsigned short)o->n_so_filter };

	if (!o->n_so_filter)
		return 0;
	if (o->n_so_filter > BPF_MAXINSNS)
		return log_errno(-EINVAL, "%s: a filter of %zu instructions (at most %d are possible)", who,
		                 o->n_so_filter, BPF_MAXINSNS);
	program.filter = arena_array(r->arena, struct sock_filter, o->n_so_filter);
	for (size_t i = 0; i < o->n_so_filter; i++)
		program.filter[i] = unpack_instruction(o->so_filter[i]);
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)))
		return log_errno(-errno, "%s: setsockopt(SO_ATTACH_FILTER) of %zu instructions%s", who, o->n_so_filter,
		                 errno == ENOMEM ? " (is net.core.optmem_max too low?)" : "");
	return 0;
}

int sock_opts_restore(struct restore *r, int fd, const SkOptsEntry *o, struct sock_new *new, const char *who)
{
	struct linger linger = { .l_onoff = o->has_so_linger, .l_linger = (int)o->so_linger };
	struct sock_txtime t = { .clockid = (int)o->so_txtime_clock, .flags = o->so_txtime_flags };
	int err = sock_opt_table_restore(new, fd, socket_opts, o, true, who);

	err = err ?: set_time(fd, SO_SNDTIMEO, o->so_snd_tmo_sec, o->so_snd_tmo_usec, "SO_SNDTIMEO", who);
	err = err ?: set_time(fd, SO_RCVTIMEO, o->so_rcv_tmo_sec, o->so_rcv_tmo_usec, "SO_RCVTIMEO", who);
	if (!err && o->has_so_linger && setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)))
		return log_errno(-errno, "%s: setsockopt(SO_LINGER) to %u", who, o->so_linger);
	if (!err && o->has_so_txtime_clock && setsockopt(fd, SOL_SOCKET, SO_TXTIME, &t, sizeof(t)))
		return log_errno(-errno, "%s: setsockopt(SO_TXTIME) to clock %d", who, t.clockid);
	err = err ?: attach_filter(r, fd, o, who);
	return err ?: sock_opt_table_restore(new, fd, last_opts, o, true, who);
}

/* ---- what a new socket has ---- */

struct sock_fresh {
	int domain, type;
	uint8_t *packed; /* its message; NULL: it cannot be told */
	size_t len;
	struct sock_fresh *next;
};

static void ask_fresh(struct arena *a, struct sock_fresh *f)
{
	struct fd_info info = { .number = -1,
		                .what = "a new socket",
		                .fd = socket(f->domain, f->type | SOCK_CLOEXEC, 0) };
	SkOptsEntry *o;

	if (info.fd < 0)
		return;
	if (!sock_opts_dump(a, &info, &o)) {
		f->packed = arena_alloc(a, sk_opts_entry__get_packed_size(o) + 1);
		f->len = sk_opts_entry__pack(o, f->packed);
	}
	close(info.fd);
}

bool sock_fresh_has(struct restore *r, struct sock_fresh **all, int domain, int type, const SkOptsEntry *o)
{
	uint8_t packed[1024];
	struct sock_fresh *f = *all;

	while (f && (f->domain != domain || f->type != type))
		f = f->next;
	if (!f) {
		f = arena_new_of(r->arena, struct sock_fresh);
		*f = (struct sock_fresh) { .domain = domain, .type = type, .next = *all };
		ask_fresh(r->arena, f);
		*all = f;
	}
	if (!f->packed || sk_opts_entry__get_packed_size(o) != f->len || f->len > sizeof(packed))
		return false;
	return sk_opts_entry__pack(o, packed) == f->len && !memcmp(packed, f->packed, f->len);
}
