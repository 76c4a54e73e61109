/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A fanotify group has to allow the opening of a program that another task of the tree has by O_PATH: the dump, which
 * opens it for its build id, would wait for a task that stands still. It says so, and both run on.
 *
 * zdtm: needs-root
 * zdtm: refuse fd 100: fanotify: it has to allow what criu opens now \(.+/d/prog\)
 * zdtm: flavour no pidns
 */
#include "fanotify_program.h"

int main(int argc, char **argv)
{
	return fanotify_program(argc, true);
}
