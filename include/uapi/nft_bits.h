/* SPDX-License-Identifier: GPL-2.0-only */
/* linux/netfilter/nf_tables.h, which older headers have in part. */
#ifndef CRIU_UAPI_NFT_BITS_H
#define CRIU_UAPI_NFT_BITS_H

#define TABLE_F_OWNER 0x2  /* NFT_TABLE_F_OWNER, 5.12 */
#define SET_F_CONCAT  0x80 /* NFT_SET_CONCAT, 5.6 */

#endif
