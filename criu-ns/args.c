/* SPDX-License-Identifier: GPL-2.0-only */
/* The command line: criu's, some of whose options criu-ns has to see, and some it has to answer by itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "criu-ns.h"

static const char usage[] =
    "Usage: criu-ns [--criu-binary CRIU] dump -t PID [OPTION...]\n"
    "       criu-ns [--criu-binary CRIU] pre-dump -t PID [OPTION...]\n"
    "       criu-ns [--criu-binary CRIU] restore [OPTION...]\n"
    "       criu-ns [--criu-binary CRIU] check [OPTION...]\n"
    "\n"
    "Runs criu in a new pid and mount namespace (restore, check), or in those of process PID (dump, pre-dump).\n"
    "Options are those of criu; --restore-sibling is not possible. See criu-ns(1).\n";

enum option { TREE, IMAGES_DIR, WORK_DIR, PIDFILE, DETACHED, SIBLING, OTHER };

/* Long names, and how much of one is enough: no other option of criu begins so. */
static const struct {
	const char *name;
	size_t enough;
	char letter;
	bool valued;
} options[] = {
	[TREE] = { "tree", 3, 't', true },
	[IMAGES_DIR] = { "images-dir", 2, 'D', true },
	[WORK_DIR] = { "work-dir", 2, 'W', true },
	[PIDFILE] = { "pidfile", 3, 0, true },
	[DETACHED] = { "restore-detached", 9, 'd', false },
	[SIBLING] = { "restore-sibling", 9, 'S', false },
};

#define VALUED   "tDWoLrJM" /* letters of criu's options that have a value, */
#define ATTACHED "vx"       /* or may have one in the same word */

static _Noreturn void wrong_usage(void)
{
	fputs(usage, stderr);
	exit(1);
}

static void *need_memory(void *p)
{
	if (!p) {
		complain(0, "out of memory");
		exit(1);
	}
	return p;
}

static void add(struct request *r, char *word)
{
	r->argv[r->argc++] = word;
}

static enum option long_option(const char *name, size_t length)
{
	for (enum option o = 0; o < OTHER; o++)
		if (length >= options[o].enough && length <= strlen(options[o].name) &&
		    !strncmp(name, options[o].name, length))
			return o;
	return OTHER;
}

static enum option short_option(char letter)
{
	for (enum option o = 0; o < OTHER; o++)
		if (options[o].letter == letter)
			return o;
	return OTHER;
}

static pid_t number(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (end == text || *end || n <= 0 || n > 0x7fffffff) {
		complain(0, "-t: '%s' is not a pid", text);
		exit(1);
	}
	return (pid_t)n;
}

/* An option that criu-ns sees. What is not passed on as it is, is added later (-t, -D and -W of a dump), or never
 * (--pidfile). */
static void take(struct request *r, enum option o, char *value)
{
	bool dump = r->command == DUMP;

	switch (o) {
	case TREE:
		if (dump)
			r->tree = number(value);
		break;
	case IMAGES_DIR:
		r->images_dir = value;
		break;
	case WORK_DIR:
		r->work_dir = value;
		break;
	case PIDFILE:
		r->pidfile = value;
		break;
	case DETACHED:
		add(r, (char *)"-d");
		break;
	case SIBLING:
		complain(0,
		         "--restore-sibling is not possible: in new namespaces the restored tree cannot be a child of "
		         "the caller");
		exit(1);
	case OTHER:
		break;
	}
	if (!dump && (o == IMAGES_DIR || o == WORK_DIR)) {
		add(r, (char *)(o == IMAGES_DIR ? "-D" : "-W"));
		add(r, value);
	}
}

/* argv[i] is --NAME, --NAME=VALUE, or the first of two words. The index of what follows. */
static int take_long(struct request *r, int argc, char **argv, int i)
{
	char *name = argv[i] + 2, *equals = strchr(name, '=');
	enum option o = long_option(name, equals ? (size_t)(equals - name) : strlen(name));
	char *value = equals ? equals + 1 : NULL;

	if (o == OTHER || (options[o].valued && !value && i + 1 >= argc)) {
		add(r, argv[i]); /* criu's own, or what is wrong with it is for criu to say */
		return i + 1;
	}
	if (!options[o].valued || value) {
		take(r, o, value);
		return i + 1;
	}
	take(r, o, argv[i + 1]);
	return i + 2;
}

/* One letter of a word, which becomes a word of its own. Whether the word goes on. */
static bool take_letter(struct request *r, char letter, char *rest, char *next, int *i)
{
	enum option o = short_option(letter);
	char *word;

	if (strchr(ATTACHED, letter) || (strchr(VALUED, letter) && o == OTHER)) {
		word = need_memory(malloc(strlen(rest) + 3));
		sprintf(word, "-%c%s", letter, rest);
		add(r, word);
		if (strchr(VALUED, letter) && !*rest && next) {
			add(r, next);
			++*i;
		}
		return false;
	}
	if (strchr(VALUED, letter)) {
		if (*rest || next) {
			take(r, o, *rest ? rest : next);
			*i += !*rest;
			return false;
		}
		o = OTHER;
	}
	if (o != OTHER) {
		take(r, o, NULL);
		return true;
	}
	word = need_memory(malloc(3));
	sprintf(word, "-%c", letter);
	add(r, word);
	return true;
}

static int take_short(struct request *r, int argc, char **argv, int i)
{
	char *word = argv[i] + 1, *next = i + 1 < argc ? argv[i + 1] : NULL;

	for (; *word; word++)
		if (!take_letter(r, *word, word + 1, next, &i))
			break;
	return i + 1;
}

static void take_command(struct request *r, char *word)
{
	static const char *const words[] = { "dump", "pre-dump", "restore", "check" };
	static const enum command commands[] = { DUMP, DUMP, RESTORE, CHECK };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcmp(word, words[i])) {
			r->command = commands[i];
			add(r, word);
			return;
		}
	if (!strcmp(word, "-h") || !strcmp(word, "--help")) {
		fputs(usage, stdout);
		exit(0);
	}
	complain(0, "'%s' is not dump, pre-dump, restore or check", word);
	wrong_usage();
}

#define ADDED 8 /* words that criu-ns may add */

void args_parse(int argc, char **argv, struct request *r)
{
	size_t letters = 0;
	int i = 1;

	*r = (struct request) { .images_fd = -1, .work_fd = -1, .told_fd = -1, .target = -1, .cwd = -1 };
	for (int k = 0; k < argc; k++)
		letters += strlen(argv[k]) + 2;
	r->argv = need_memory(calloc((size_t)argc * 2 + letters + ADDED, sizeof(*r->argv)));
	add(r, (char *)"criu");
	if (argc > 2 && !strcmp(argv[1], "--criu-binary")) {
		r->argv[0] = argv[2];
		i = 3;
	}
	if (i >= argc)
		wrong_usage();
	take_command(r, argv[i++]);
	while (i < argc && strcmp(argv[i], "--")) {
		if (argv[i][0] == '-' && argv[i][1] == '-')
			i = take_long(r, argc, argv, i);
		else if (argv[i][0] == '-' && argv[i][1])
			i = take_short(r, argc, argv, i);
		else
			add(r, argv[i++]);
	}
	/* A command of --exec-cmd, before which what criu-ns adds has to stand. */
	r->rest = argv + i;
	if (r->command == DUMP && !r->tree) {
		complain(0, "dump needs the root of a tree: -t PID");
		exit(1);
	}
}
