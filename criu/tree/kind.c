/* SPDX-License-Identifier: GPL-2.0-only */
#include "tree/kind.h"

const struct fd_kind *kind_by_fd_type(FdTypes type)
{
	for (const struct fd_kind *const *k = fd_kinds; *k; k++)
		if ((*k)->type == type)
			return *k;
	return NULL;
}
