/* SPDX-License-Identifier: GPL-2.0-only */
#include "tree/subsys.h"

const struct address_space *subsys_space(void)
{
	const struct subsys *const *s = subsystems;

	while (*s && !(*s)->space)
		s++;
	return *s ? (*s)->space : NULL;
}

const struct externals *subsys_externals(void)
{
	const struct subsys *const *s = subsystems;

	while (!(*s)->externals)
		s++;
	return (*s)->externals;
}
