/* SPDX-License-Identifier: GPL-2.0-only */
/* What a plugin may call: the symbols of plugin/exports.list. Declared in include/criu/. */
#include <stdio.h>
#include <string.h>

#include "image/image_dir.h"
#include "lib/log.h"
#include "plugin/plugin.h"
#include "criu/criu-log.h"

/* lint: global: what a plugin calls has no argument that would say which command it belongs to */
static struct plugins *now;

struct plugins *plugin_now(void)
{
	return now;
}

void plugin_set_now(struct plugins *ps)
{
	now = ps;
}

int criu_get_image_dir(void)
{
	const struct plugins *ps = plugin_now();

	return ps && ps->dir ? image_dir_files_fd(ps->dir) : -1;
}

unsigned int criu_get_timeout(void)
{
	return plugin_now() ? plugin_now()->opts->timeout : 0;
}

static size_t find_wanted(const struct plugins *ps, const char *name, size_t len)
{
	size_t i = 0;

	while (i < ps->n_wanted && (strlen(ps->wanted[i]) != len || memcmp(ps->wanted[i], name, len)))
		i++;
	return i;
}

int add_inventory_plugin(const char *name)
{
	struct plugins *ps = plugin_now();

	if (!ps || !name || ps->stage == CR_PLUGIN_STAGE__RESTORE)
		return -EINVAL;
	if (find_wanted(ps, name, strlen(name)) == ps->n_wanted)
		arena_push(ps->arena, &ps->wanted, &ps->n_wanted, arena_strdup(ps->arena, name));
	return 0;
}

/* The name stays in the list: a plugin that is loaded is there, whether it asks or not. */
bool check_and_remove_inventory_plugin(const char *name, size_t n)
{
	const struct plugins *ps = plugin_now();

	return ps && name && find_wanted(ps, name, n) < ps->n_wanted;
}

/* The macros of criu-log.h put the level and the place in front, as criu's own log lines have them. */
static const char *skip_place(char *text, const char **file, int *line)
{
	char *at = strchr(text, '('), *colon, *end;

	if ((strncmp(text, "Error (", 7) && strncmp(text, "Warn  (", 7)) || !(end = strstr(at, "): ")))
		return text;
	*end = 0;
	colon = strrchr(at, ':');
	if (colon) {
		*colon = 0;
		*line = atoi(colon + 1);
		*file = at + 1;
	}
	return end + 3;
}

void vprint_on_level(unsigned int level, const char *format, va_list params)
{
	_cleanup_free_ char *text = NULL;
	const char *file = "plugin", *body;
	int line = 0, len;

	if (level > LOG_DEBUG || !log_enabled((enum log_level)level))
		return;
	len = vasprintf(&text, format, params);
	if (len < 0) {
		text = NULL;
		return;
	}
	while (len > 0 && text[len - 1] == '\n')
		text[--len] = 0;
	body = skip_place(text, &file, &line);
	if (level == LOG_ERROR)
		log_error_line(0, file, line, "%s", body);
	else
		log_line((enum log_level)level, file, line, "%s", body);
}

void print_on_level(unsigned int level, const char *format, ...)
{
	va_list params;

	va_start(params, format);
	vprint_on_level(level, format, params);
	va_end(params);
}
