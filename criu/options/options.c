/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The command line. It is taken apart first, so that the command and --config are known wherever they stand; then the
 * configuration files are applied, then what stood on the command line. All errors are said, not only the first.
 */
#include <limits.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/log.h"
#include "options/option_table.h"
#include "options/options_request.h"

/* One use of an option on the command line. */
struct use {
	const struct option_row *row;
	const char *value;
	bool negate;
};

struct line {
	struct arena *arena;
	struct options *options;
	char **argv;
	struct use *uses;
	size_t n_uses;
	const char **words; /* what is no option */
	size_t n_words;
	char **rest; /* what follows "--" or NULL */
	bool help, version;
	int err; /* the first */
};

static void add_use(struct line *l, const struct option_row *row, const char *value, bool negate)
{
	struct use use = { row, value, negate };

	switch (row->type) {
	case OPT_CONFIG:
		l->options->config = value;
		break;
	case OPT_NO_CONFIG:
		l->options->no_default_config = true;
		break;
	case OPT_HELP:
		l->help = !l->version;
		break;
	case OPT_VERSION:
		l->version = !l->help;
		break;
	default:
		arena_push(l->arena, &l->uses, &l->n_uses, use);
	}
}

static void note_error(struct line *l, int err)
{
	if (!l->err)
		l->err = err;
}

/* The value of an option that needs one and has none with it: the next word. Returns how many words were taken. */
static int take_next(struct line *l, int i, const struct option_row *row, const char **value)
{
	if (*value || !option_takes_value(row))
		return 0;
	*value = l->argv[i + 1];
	if (*value)
		return 1;
	log_errno(0, "--%s needs a value%s%s%s", row->name, row->arg ? " (" : "", row->arg ? row->arg : "",
	          row->arg ? ")" : "");
	note_error(l, -EINVAL);
	return 0;
}

/* "--name", "--name=value", "--no-name". Returns how many more words it took. */
static int take_long(struct line *l, int i)
{
	const char *name = l->argv[i] + 2, *equals = strchr(name, '='), *value = equals ? equals + 1 : NULL;
	size_t len = equals ? (size_t)(equals - name) : strlen(name);
	const struct option_row *row;
	bool negate;
	int taken;

	row = option_lookup(name, len, &negate, "");
	if (!row) {
		note_error(l, -EINVAL);
		return 0;
	}
	taken = take_next(l, i, row, &value);
	if (value && !option_may_take_value(row)) {
		log_errno(0, "--%s%s takes no value (%s)", negate ? "no-" : "", row->name, value);
		note_error(l, -EINVAL);
	} else if (value || !option_takes_value(row)) {
		add_use(l, row, value, negate);
	}
	return taken;
}

/* "-d", "-ds", "-t 12", "-t12", "-v4", "-vv". Returns how many more words it took. */
static int take_short(struct line *l, int i)
{
	for (const char *s = l->argv[i] + 1; *s; s++) {
		const struct option_row *row = option_by_letter(*s);
		const char *value = NULL;
		int taken;

		if (!row) {
			log_errno(0, "unknown option -%c in %s; see criu --help", *s, l->argv[i]);
			note_error(l, -EINVAL);
			return 0;
		}
		if (!option_may_take_value(row)) {
			add_use(l, row, NULL, false);
			continue;
		}
		if (s[1])
			value = s + 1;
		taken = take_next(l, i, row, &value);
		if (value || !option_takes_value(row))
			add_use(l, row, value, false);
		return taken;
	}
	return 0;
}

static void take_apart(struct line *l)
{
	for (int i = 1; l->argv[i]; i++) {
		const char *arg = l->argv[i];

		if (strcmp(arg, "--") == 0) {
			l->rest = l->argv + i + 1;
			return;
		}
		if (arg[0] == '-' && arg[1] == '-')
			i += take_long(l, i);
		else if (arg[0] == '-' && arg[1])
			i += take_short(l, i);
		else
			arena_push(l->arena, &l->words, &l->n_words, arg);
	}
}

static int find_command(const struct line *l, struct options *o)
{
	if (!l->n_words) {
		log_errno(0, "no command is given; see criu --help");
		return -EINVAL;
	}
	for (const struct command_row *row = option_commands; row->name; row++) {
		if (strcmp(row->name, l->words[0]))
			continue;
		if (row->command == CMD_NONE) {
			log_errno(0, "command '%s' is not implemented yet", row->name);
			return -EOPNOTSUPP;
		}
		o->command = row->command;
		return 0;
	}
	log_errno(0, "'%s' is not a command; see criu --help", l->words[0]);
	return -EINVAL;
}

/* In CRIU's order, each overriding those before: the machine's, the user's, the environment's, --config. */
static int apply_config_files(struct options *o)
{
	const char *home = getenv("HOME"), *named = getenv("CRIU_CONFIG_FILE");
	int err = 0, one;

	if (!o->no_default_config) {
		err = config_file_apply(o, "/etc/criu/default.conf", false);
		one = home && *home ? config_file_apply(o, arena_printf(o->arena, "%s/.criu/default.conf", home), false)
		                    : 0;
		err = err ? err : one;
	}
	if (named && *named) {
		one = config_file_apply(o, named, true);
		err = err ? err : one;
	}
	if (o->config) {
		one = config_file_apply(o, o->config, true);
		err = err ? err : one;
	}
	return err;
}

/* "criu cpuinfo dump", "criu cpuinfo check". */
static int take_action(struct options *o, const struct line *l)
{
	const char *action = l->n_words > 1 ? l->words[1] : "";

	o->cpuinfo_check = !strcmp(action, "check");
	if (l->n_words == 2 && (o->cpuinfo_check || !strcmp(action, "dump")))
		return 0;
	if (l->n_words > 2)
		log_errno(0, "criu cpuinfo: unexpected argument '%s'", l->words[2]);
	else
		log_errno(0, "criu cpuinfo needs an action: dump or check%s%s", *action ? ", not " : "", action);
	return -EINVAL;
}

/* "criu swrk FD". */
static int take_socket(struct options *o, const struct line *l)
{
	const char *word = l->n_words > 1 ? l->words[1] : "";
	char *end;
	unsigned long fd = strtoul(word, &end, 10);

	if (l->n_words == 2 && word[0] >= '0' && word[0] <= '9' && !*end && fd <= INT_MAX) {
		o->client_socket = (int)fd;
		return 0;
	}
	if (l->n_words > 2)
		log_errno(0, "criu swrk: unexpected argument '%s'", l->words[2]);
	else
		log_errno(0, "criu swrk needs the number of a socket that it has inherited%s%s", *word ? ", not " : "",
		          word);
	return -EINVAL;
}

static int take_words(struct options *o, const struct line *l)
{
	if (o->command == CMD_CPUINFO)
		return take_action(o, l);
	if (o->command == CMD_SWRK)
		return take_socket(o, l);
	if (l->n_words < 2)
		return 0;
	log_errno(0, "criu %s: unexpected argument '%s'", options_command_name(o->command), l->words[1]);
	return -EINVAL;
}

static unsigned take_compress(struct options *o)
{
	unsigned long level = 1;
	const char *rest = "";
	char *end;

	if (!o->compress || !strcmp(o->compress, "lz4"))
		return 0;
	if (!strncmp(o->compress, "zstd", 4))
		rest = o->compress + 4;
	if (rest[0] == ':' && rest[1] >= '1' && rest[1] <= '9') {
		level = strtoul(rest + 1, &end, 10);
		rest = end;
	}
	o->compress_level = (int)level;
	if (!strncmp(o->compress, "zstd", 4) && !*rest && level <= 22)
		return 0;
	log_errno(0, "--compress %s: lz4, zstd, or zstd:LEVEL with a level of 1 to 22", o->compress);
	return 1;
}

static unsigned check_page_server(const struct options *o)
{
	unsigned wrong = 0;

	bool lazy = o->command == CMD_DUMP && o->lazy_pages;

	if (o->page_server && o->ps_socket < 0 && !o->port)
		wrong++, log_errno(0, "--page-server needs --port, the page server's, or --ps-socket");
	if ((o->command != CMD_DUMP && o->command != CMD_PRE_DUMP) || (!o->page_server && !lazy))
		return wrong;
	if (o->page_server && lazy)
		wrong++, log_errno(0, "--page-server and --lazy-pages exclude each other in a dump: pages are sent, or "
		                      "stay until they are asked for");
	if (o->cow_pages == COW_PAGES_ONCE)
		wrong++, log_errno(0,
		                   "--cow-pages once: %s cannot be told that pages are stored with another task; "
		                   "use copy or auto",
		                   lazy ? "a lazy-pages daemon" : "a page server");
	if (o->stream)
		wrong++, log_errno(0, "--%s and --stream exclude each other", lazy ? "lazy-pages" : "page-server");
	if (o->compress)
		wrong++,
		    log_errno(0, "--compress: pages are sent as they are to a %s; leave out one of the two options",
		              lazy ? "lazy-pages daemon" : "page server, which stores them so");
	return wrong;
}

static unsigned check_snapshot(const struct options *o)
{
	const struct {
		bool given;
		const char *name;
	} others[] = { { o->page_server, "page-server" }, { o->stream, "stream" }, { o->lazy_pages, "lazy-pages" } };
	unsigned wrong = 0;

	if (o->command != CMD_DUMP || o->snapshot != SNAPSHOT_ALWAYS)
		return 0;
	if (!o->leave_running)
		wrong++, log_errno(0, "--snapshot always makes sense only with --leave-running");
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (others[i].given)
			wrong++, log_errno(0, "--snapshot always and --%s exclude each other", others[i].name);
	return wrong;
}

/* What one option alone cannot know. */
static int check_together(struct options *o)
{
	unsigned wrong = check_page_server(o) + take_compress(o) + check_snapshot(o);

	if ((o->command == CMD_DUMP || o->command == CMD_PRE_DUMP) && !o->tree)
		wrong++, log_errno(0, "criu %s needs --tree PID", options_command_name(o->command));
	if (o->stream && (o->command == CMD_PRE_DUMP || o->prev_images_dir))
		wrong++, log_errno(0, "--stream has no room for more than one checkpoint: a chain (pre-dump, "
		                      "--prev-images-dir) needs directories");
	if (o->leave_running && o->leave_stopped)
		wrong++, log_errno(0, "--leave-running and --leave-stopped exclude each other");
	if (o->restore_sibling && !o->restore_detached)
		wrong++, log_errno(0, "--restore-sibling makes sense only with --restore-detached");
	return wrong ? -EINVAL : 0;
}

/* What stands behind --. */
static int take_rest(struct options *o, const struct line *l)
{
	bool given = l->rest && l->rest[0];

	o->exec_argv = o->exec_cmd ? l->rest : NULL;
	if (o->exec_cmd == given)
		return 0;
	if (o->exec_cmd)
		log_errno(0, "--exec-cmd needs a command after --");
	else
		log_errno(0, "criu %s: arguments after -- ('%s') need --exec-cmd", options_command_name(o->command),
		          l->rest[0]);
	return -EINVAL;
}

/* --close: before any descriptor of ours is opened, which might get that number. */
static int close_descriptors(const struct options *o)
{
	for (size_t i = 0; i < o->n_close_fds; i++) {
		char *end;
		unsigned long fd = strtoul(o->close_fds[i], &end, 10);

		if (*end || end == o->close_fds[i] || fd > INT_MAX) {
			log_errno(0, "--close: %s is not a descriptor", o->close_fds[i]);
			return -EINVAL;
		}
		if (close((int)fd))
			return log_errno(-errno, "--close %s: close", o->close_fds[i]);
	}
	return 0;
}

static void set_defaults(struct options *o)
{
	if (!o->images_dir)
		o->images_dir = ".";
	if (!o->work_dir)
		o->work_dir = o->images_dir;
	if (!o->action_scripts)
		o->action_scripts = arena_array(o->arena, const char *, 1);
}

static int begin_options(struct options *o)
{
	*o = (struct options) {
		.verbosity = LOG_WARN,
		.timeout = 10,
		.network_lock_mark = NETWORK_LOCK_MARK,
		.cpu_cap = CPU_CAP_DEFAULT,
		.status_fd = -1,
		.ps_socket = -1,
		.client_socket = -1,
		.arena = arena_new(),
	};
	return o->arena ? 0 : log_errno(-ENOMEM, "parsing options: out of memory");
}

int options_parse(struct options *o, int argc, char **argv)
{
	struct line l = { .argv = argv, .options = o };
	int err = begin_options(o);

	if (err)
		return err;
	l.arena = o->arena;
	if (argc > 0)
		take_apart(&l);
	if (l.help || l.version) {
		if (l.help)
			options_print_help();
		else
			options_print_version();
		return 1;
	}
	err = find_command(&l, o);
	if (err)
		return err;
	note_error(&l, apply_config_files(o));
	for (size_t i = 0; i < l.n_uses; i++)
		note_error(&l, option_apply(o, l.uses[i].row, l.uses[i].value, l.uses[i].negate, ""));
	note_error(&l, close_descriptors(o));
	set_defaults(o);
	if (getenv("CRIU_FAULT"))
		log_warn("CRIU_FAULT is set and means nothing here; see --test-kill-at");
	note_error(&l, take_words(o, &l));
	note_error(&l, take_rest(o, &l));
	note_error(&l, check_together(o));
	return l.err;
}

int options_begin_request(struct options *o, enum command command, const struct options *caller)
{
	int err = begin_options(o);

	if (err)
		return err;
	o->command = command;
	o->verbosity = caller->verbosity;
	o->config = caller->config;
	o->no_default_config = caller->no_default_config;
	return apply_config_files(o);
}

int options_configure_request(struct options *o, const char *config)
{
	return config ? config_file_apply(o, config, false) : 0;
}

int options_end_request(struct options *o)
{
	set_defaults(o);
	return check_together(o);
}

void options_free(struct options *o)
{
	arena_free(o->arena);
	*o = (struct options) { .command = CMD_NONE };
}
