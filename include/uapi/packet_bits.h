/* SPDX-License-Identifier: GPL-2.0-only */
/* Options of packet sockets that installed headers may lack. */
#ifndef UAPI_PACKET_BITS_H
#define UAPI_PACKET_BITS_H

#ifndef PACKET_VNET_HDR_SZ
#define PACKET_VNET_HDR_SZ 24
#endif

#endif
