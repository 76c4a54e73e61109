/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The one table of options. A row is all there is to know of an option: the command line, the configuration files and
 * --help read it. Adding an option is a row here, a field in struct options, and its paragraph in criu.8.adoc.
 */
#ifndef CRIU_OPTIONS_OPTION_TABLE_H
#define CRIU_OPTIONS_OPTION_TABLE_H

#include "options/options.h"

/* What an option's field is, and what it takes. */
enum option_type {
	OPT_FLAG,       /* bool; --no-NAME negates it */
	OPT_STRING,     /* const char * */
	OPT_PID,        /* pid_t, above 0 */
	OPT_UINT,       /* unsigned, between min and max */
	OPT_SIZE,       /* uint64_t: a number of bytes, or of as many KiB, MiB, GiB with K, M, G */
	OPT_WORD,       /* an enum: one of the words, see option_row.words */
	OPT_WORD_MAYBE, /* the same, and without a value the first of them (--x=WORD only) */
	OPT_WORD_FLAG,  /* bool: there is one word, and it sets the flag */
	OPT_WORD_SET,   /* unsigned: bits. Words with commas between them add theirs to what was given so far, or with
	                 * a ^ before them take it away; one that stands for 0 takes all away. Without a value the first
	                 * of them (--x=WORDS only). CPU_CAP_GIVEN is set by any use */
	OPT_LIST,       /* a NULL-terminated array of strings, and its count right behind it; every use adds one */
	OPT_LIST_ALL,   /* the same, and without a value it adds "" */
	OPT_VERBOSITY,  /* int: -v adds one, -vv two, -vN and --verbosity=N set it */
	OPT_CONFIG,     /* the four that act while options are parsed */
	OPT_NO_CONFIG,
	OPT_VERSION,
	OPT_HELP,
	/* One of CRIU's that is taken, and means nothing here: `help` says why, for the log. Without a value, with one,
	   with one that may be left out (-x=V only). */
	TAKEN_FLAG,
	TAKEN_VALUE,
	TAKEN_MAYBE,
};

/* A word that an option takes, and the number that stands for it. */
struct option_word {
	const char *word; /* NULL ends the list */
	int value;
};

struct option_row {
	const char *name; /* without the dashes */
	char letter;      /* of its short form, or 0 */
	enum option_type type;
	unsigned commands;               /* bits: 1 << CMD_x */
	size_t field;                    /* offset in struct options */
	const char *arg;                 /* what --help calls its value */
	const char *help;                /* NULL: not shown */
	unsigned long min, max;          /* OPT_UINT */
	const struct option_word *words; /* OPT_WORD and its like */
};

extern const struct option_row option_rows[]; /* ends with a row without a name */

/* What follows criu's name. */
struct command_row {
	const char *name;
	enum command command; /* CMD_NONE: one of CRIU's that is not there yet */
	const char *help;
};

extern const struct command_row option_commands[]; /* ends with a row without a name */

/* The row of a long name (without dashes, len bytes) or of a letter; NULL where the table has no such row. */
const struct option_row *option_by_name(const char *name, size_t len);
const struct option_row *option_by_letter(char letter);

/* Whether it must, or can, have a value. */
bool option_takes_value(const struct option_row *row);
bool option_may_take_value(const struct option_row *row);

/*
 * One use of an option: applies a value (NULL: none) to *o, or the negation of a flag. from: where it stands, for
 * messages ("/etc/criu/default.conf:3: ", or "" for the command line). Returns 0 or a negative errno (logged).
 */
int option_apply(struct options *o, const struct option_row *row, const char *value, bool negate, const char *from);

/*
 * Looks up "NAME" or "no-NAME" (len bytes). NULL (logged, with the nearest name where one begins so) when there is
 * none, or when it cannot be negated.
 */
const struct option_row *option_lookup(const char *name, size_t len, bool *negate, const char *from);

/*
 * Applies a configuration file. required: its absence is an error. Options for other commands than o->command are
 * checked but not applied, since a configuration file serves all commands. 0 or the first negative errno (all are
 * logged).
 */
int config_file_apply(struct options *o, const char *path, bool required);

/* Prints --help, --version, from the tables. */
void options_print_help(void);
void options_print_version(void);

#endif
