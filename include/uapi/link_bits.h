/* SPDX-License-Identifier: GPL-2.0-only */
/* Attributes of devices that headers older than the kernel lack. */
#ifndef UAPI_LINK_BITS_H
#define UAPI_LINK_BITS_H

#define LINK_VXLAN_LOCALBYPASS    31 /* IFLA_VXLAN_LOCALBYPASS */
#define LINK_VXLAN_LABEL_POLICY   32 /* IFLA_VXLAN_LABEL_POLICY */
#define LINK_BOND_COUPLED_CONTROL 32 /* IFLA_BOND_COUPLED_CONTROL */
#define LINK_MACVLAN_BC_CUTOFF    9  /* IFLA_MACVLAN_BC_CUTOFF */

#endif
