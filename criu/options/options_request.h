/* SPDX-License-Identifier: GPL-2.0-only */
/* Options of a command that a client of the service asks for. */
#ifndef CRIU_OPTIONS_OPTIONS_REQUEST_H
#define CRIU_OPTIONS_OPTIONS_REQUEST_H

#include "options/options.h"

/*
 * In steps: the defaults and what the configuration files say for `command` (caller: the options of criu swrk or criu
 * service); option_apply() with what the request says; its own configuration file, which wins over all and may be
 * missing (NULL: none); and, when all has been looked at, what one option alone cannot know. 0 or a negative errno
 * (logged). options_free() in any case.
 */
int options_begin_request(struct options *o, enum command command, const struct options *caller);
int options_configure_request(struct options *o, const char *config);
int options_end_request(struct options *o);

#endif
