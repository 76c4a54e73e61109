/* SPDX-License-Identifier: GPL-2.0-only */
#include "sock/opts.h"
#include "sock/tcp/tcp_entry.h"
#include "sock/tcp/tcp_view.h"

/* To look into the kernel takes as long as to ask for the options of 100 connections. */
#define VIEW_FROM 150

/*
 * Members that hold no option of a connection: its addresses, its route, its queues, what packets have made of it.
 * sk_rcvbuf, sk_sndbuf and window_clamp do, and are asked of each (tcp_dump_options.moving). Names of all kernels from
 * 5.15 on: each has some of them. A name may be added when no option that is dumped of a connection is kept there.
 */
static const char *const of_sock[] = {
	"__sk_common.skc_addrpair",
	"__sk_common.skc_portpair",
	"__sk_common.skc_v6_daddr",
	"__sk_common.skc_v6_rcv_saddr",
	"__sk_common.skc_tx_queue_mapping",
	"__sk_common.skc_rx_queue_mapping",
	"__sk_common.skc_rxhash",
	"sk_bind2_node",
	"sk_drops",
	"sk_rx_dst",
	"sk_rx_dst_ifindex",
	"sk_rx_dst_cookie",
	"sk_napi_id",
	"sk_rcvbuf",
	"sk_sndbuf",
	"sk_err",
	"sk_err_soft",
	"sk_tsq_flags",
	"sk_send_head",
	"sk_dst_cache",
	"sk_dst_pending_confirm",
	"sk_pacing_status",
	"sk_pacing_rate",
	"sk_pacing_shift",
	"sk_zckey",
	"sk_tskey",
	"sk_route_caps",
	"sk_route_nocaps",
	"sk_gso_type",
	"sk_gso_max_size",
	"sk_gso_max_segs",
	"sk_txhash",
	NULL,
};

static const char *const of_inet_sock[] = {
	"pinet6", "inet_saddr", "inet_sport", "inet_id", "rx_dst_ifindex", "rx_dst_cookie", "rcv_tos", "cork", NULL,
};

/* TCP_QUICKACK, in icsk_ack, changes with every few packets. */
static const char *const of_connection_sock[] = {
	"icsk_bind_hash",
	"icsk_bind2_hash",
	"icsk_timeout",
	"icsk_retransmit_timer",
	"icsk_delack_timer",
	"icsk_keepalive_timer",
	"icsk_rto",
	"icsk_pmtu_cookie",
	"icsk_retransmits",
	"icsk_pending",
	"icsk_backoff",
	"icsk_probes_out",
	"icsk_ack",
	"icsk_mtup",
	"icsk_probes_tstamp",
	"icsk_ca_priv",
	NULL,
};

/* rx_opt: what was agreed, and TCP_MAXSEG, which is read in repair. */
static const char *const of_tcp_sock[] = {
	"accecn_opt_tstamp",
	"advmss",
	"app_limited",
	"bytes_acked",
	"bytes_received",
	"bytes_retrans",
	"bytes_sent",
	"chrono_start",
	"chrono_stat",
	"chrono_type",
	"compressed_ack",
	"compressed_ack_rcv_nxt",
	"compressed_ack_timer",
	"copied_seq",
	"cwnd_usage_seq",
	"data_segs_in",
	"data_segs_out",
	"delivered",
	"delivered_ce",
	"delivered_ecn_bytes",
	"delivered_mstamp",
	"dsack_dups",
	"duplicate_sack",
	"ecn_flags",
	"first_tx_mstamp",
	"gso_segs",
	"high_seq",
	"highest_sack",
	"last_oow_ack_time",
	"lost",
	"lost_cnt_hint",
	"lost_out",
	"lost_skb_hint",
	"lsndtime",
	"max_packets_out",
	"max_packets_seq",
	"max_window",
	"mdev_max_us",
	"mdev_us",
	"mss_cache",
	"mtu_info",
	"mtu_probe",
	"ooo_last_skb",
	"out_of_order_queue",
	"pacing_timer",
	"packets_out",
	"plb_rehash",
	"pred_flags",
	"prior_cwnd",
	"prior_ssthresh",
	"prr_delivered",
	"prr_out",
	"pushed_seq",
	"rack",
	"rate_delivered",
	"rate_interval_us",
	"rcv_nxt",
	"rcv_ooopack",
	"rcv_rtt_est",
	"rcv_rtt_last_tsecr",
	"rcv_ssthresh",
	"rcv_tstamp",
	"rcv_wnd",
	"rcv_wup",
	"rcvq_space",
	"received_ce",
	"received_ecn_bytes",
	"recv_sack_cache",
	"reord_seen",
	"reordering",
	"repair_queue",
	"retrans_out",
	"retrans_stamp",
	"retransmit_skb_hint",
	"rto_stamp",
	"rtt_min",
	"rtt_seq",
	"rttvar_us",
	"rx_opt",
	"sacked_out",
	"scaling_ratio",
	"segs_in",
	"segs_out",
	"selective_acks",
	"snd_cwnd",
	"snd_cwnd_clamp",
	"snd_cwnd_cnt",
	"snd_cwnd_stamp",
	"snd_cwnd_used",
	"snd_nxt",
	"snd_sml",
	"snd_ssthresh",
	"snd_una",
	"snd_up",
	"snd_wl1",
	"snd_wnd",
	"srtt_us",
	"tcp_clock_cache",
	"tcp_header_len",
	"tcp_mstamp",
	"tcp_wstamp_ns",
	"timeout_rehash",
	"tlp_high_seq",
	"total_retrans",
	"total_rto",
	"total_rto_recoveries",
	"total_rto_time",
	"tsoffset",
	"tsorted_sent_queue",
	"tsq_node",
	"undo_marker",
	"undo_retrans",
	"urg_data",
	"urg_seq",
	"window_clamp",
	"write_seq",
	NULL,
};

static const char *const of_ipv6[] = {
	"saddr",        "dst_cookie", "rx_dst_cookie", "saddr_cache", "daddr_cache",
	"rcv_flowinfo", "pktoptions", "rxpmtu",        "cork",        NULL,
};

static const struct opts_members members[] = {
	{ .type = "sock", .names = opts_view_not_options },
	{ .type = "sock", .names = of_sock },
	{ .type = "inet_sock", .names = of_inet_sock },
	{ .type = "inet_connection_sock", .names = of_connection_sock },
	{ .type = "tcp_sock", .names = of_tcp_sock },
	{ .type = "ipv6_pinfo", .within = "tcp6_sock", .at = "inet6", .names = of_ipv6 },
	{ 0 },
};

static const struct opts_layout layout = { .type = "tcp_sock", .type_v6 = "tcp6_sock", .members = members };

struct opts_view *tcp_view_open(size_t n)
{
	return n < VIEW_FROM ? NULL : opts_view_open(&layout);
}

static int take_known(struct arena *a, const struct fd_info *info, InetSkEntry *m, const InetSkEntry *known,
                      const struct tcp_dump_options *options)
{
	m->opts = known->opts;
	m->ip_opts = known->ip_opts;
	m->tcp_opts = known->tcp_opts;
	m->has_v6only = known->has_v6only;
	m->v6only = known->v6only;
	return sock_opts_dump_moving(a, info, &m->opts) ?: options->moving(a, info, m);
}

static void keep_options(struct opts_view *view, const struct opts_look *look, const InetSkEntry *m)
{
	FownEntry none = FOWN_ENTRY__INIT;
	InetSkEntry only = INET_SK_ENTRY__INIT;

	only.fown = &none; /* required */
	only.opts = m->opts;
	only.ip_opts = m->ip_opts;
	only.tcp_opts = m->tcp_opts;
	only.has_v6only = m->has_v6only;
	only.v6only = m->v6only;
	opts_view_keep(view, look, &only.base);
}

int tcp_view_dump_options(struct opts_view *view, struct arena *a, const struct fd_info *info, InetSkEntry *m,
                          const struct tcp_dump_options *options)
{
	struct opts_look look = { .len = 0 };
	const ProtobufCMessage *known = NULL;
	int err;

	if (view && tcp_is_connection(m))
		known = opts_view_find(view, info->fd, m->family == AF_INET6, &look);
	if (known)
		return take_known(a, info, m, (const InetSkEntry *)known, options);
	err = sock_opts_dump(a, info, &m->opts) ?: options->all(a, info, m);
	if (!err && view)
		keep_options(view, &look, m);
	return err;
}
