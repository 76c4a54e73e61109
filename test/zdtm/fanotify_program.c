/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A fanotify group has to allow the opening of a program that another task of the tree runs: the dump, which reads the
 * program's build id in its memory, opens nothing that would wait for a task that stands still.
 *
 * zdtm: needs-root
 * zdtm: flavour no pidns
 */
#include "fanotify_program.h"

int main(int argc, char **argv)
{
	return fanotify_program(argc, false);
}
