/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Numbers for `criu check --feature` that older headers lack: linux/if_tun.h (TUNGETDEVNETNS), linux/sockios.h
 * (SIOCGSKNS, SIOCUNIXFILE), asm-generic/socket.h (SO_BUF_LOCK), linux/in6.h (IPV6_FREEBIND), linux/if_link.h
 * (IFLA_NEW_IFINDEX, IFLA_TARGET_NETNSID), asm-generic/mman-common.h (MADV_GUARD_INSTALL), linux/fs.h (PAGE_IS_GUARD).
 */
#ifndef CRIU_UAPI_FEATURE_BITS_H
#define CRIU_UAPI_FEATURE_BITS_H

#define PROBE_TUNGETDEVNETNS      0x54e3
#define PROBE_SIOCGSKNS           0x894c
#define PROBE_SIOCUNIXFILE        0x89e0
#define PROBE_SO_BUF_LOCK         72
#define PROBE_IPV6_FREEBIND       78
#define PROBE_IFLA_NEW_IFINDEX    49
#define PROBE_IFLA_TARGET_NETNSID 46
#define PROBE_MADV_GUARD_INSTALL  102
#define PROBE_PAGE_IS_GUARD       (1U << 8)

#endif
