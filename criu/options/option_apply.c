/* SPDX-License-Identifier: GPL-2.0-only */
/* One use of an option: finding its row, checking its value, putting it into struct options. */
#include <ctype.h>
#include <string.h>

#include "lib/arena.h"
#include "lib/log.h"
#include "options/option_table.h"

const char *options_command_name(enum command command)
{
	for (const struct command_row *row = option_commands; row->name; row++)
		if (row->command == command && command != CMD_NONE)
			return row->name;
	return "no command";
}

const struct option_row *option_by_name(const char *name, size_t len)
{
	for (const struct option_row *row = option_rows; row->name; row++)
		if (strlen(row->name) == len && memcmp(row->name, name, len) == 0)
			return row;
	return NULL;
}

const struct option_row *option_by_letter(char letter)
{
	for (const struct option_row *row = option_rows; row->name; row++)
		if (row->letter == letter && letter)
			return row;
	return NULL;
}

/* Options that CRIU does not have do not make its abbreviations ambiguous. */
static bool is_our_own(const struct option_row *row)
{
	static const char *const names[] = { "allow-edited-images", "external-lost", "ghost-links",
		                             "network-lock-mark",   "tcp-fallback",  "test-kill-at" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(row->name, names[i]) == 0)
			return true;
	return false;
}

static bool can_be_negated(const struct option_row *row)
{
	return row->type == OPT_FLAG || row->type == TAKEN_FLAG;
}

/* The names that begin with the text, as --help lists them. */
struct beginning {
	const struct option_row *row; /* the first; NULL: no name begins so */
	size_t n;
	char names[256];
};

static void find_beginning(const char *text, size_t len, bool negated, bool ours, struct beginning *b)
{
	*b = (struct beginning) { 0 };
	for (const struct option_row *row = option_rows; row->name; row++) {
		size_t at = strlen(b->names);

		if (strncmp(row->name, text, len) || is_our_own(row) != ours || (negated && !can_be_negated(row)))
			continue;
		b->row = b->row ?: row;
		b->n++;
		snprintf(b->names + at, sizeof(b->names) - at, "%s--%s%s", at ? ", " : "", negated ? "no-" : "",
		         row->name);
	}
}

/* As getopt_long(3) takes the beginning of a name that no other name begins with. */
static const struct option_row *option_by_beginning(const char *name, size_t len, bool *negate, const char *from)
{
	bool no = len > 3 && strncmp(name, "no-", 3) == 0;
	struct beginning b;

	for (int ours = 0; ours < 2; ours++) {
		*negate = false;
		find_beginning(name, len, false, ours, &b);
		if (!b.n && no) {
			*negate = true;
			find_beginning(name + 3, len - 3, true, ours, &b);
		}
		if (b.n == 1)
			return b.row;
		if (b.n) {
			log_errno(0, "%s--%.*s is ambiguous: %s", from, (int)len, name, b.names);
			return NULL;
		}
	}
	log_errno(0, "%sunknown option --%.*s; see criu --help", from, (int)len, name);
	return NULL;
}

const struct option_row *option_lookup(const char *name, size_t len, bool *negate, const char *from)
{
	const struct option_row *row = option_by_name(name, len);

	*negate = false;
	if (row)
		return row;
	row = len > 3 && strncmp(name, "no-", 3) == 0 ? option_by_name(name + 3, len - 3) : NULL;
	if (!row)
		return option_by_beginning(name, len, negate, from);
	*negate = true;
	if (can_be_negated(row))
		return row;
	log_errno(0, "%s--%.*s: --%s cannot be negated", from, (int)len, name, row->name);
	return NULL;
}

/* A number of digits alone, or hexadecimal behind 0x, from min to max. */
static int parse_number(const char *text, unsigned long min, unsigned long max, unsigned long *value)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	*value = strtoul(text, &end, text[0] == '0' && (text[1] | 0x20) == 'x' ? 16 : 10);
	if (*end || errno)
		return -EINVAL;
	return *value < min || *value > max ? -ERANGE : 0;
}

static int set_option_number(const struct option_row *row, const char *text, const char *from, unsigned long min,
                             unsigned long max, unsigned long *value)
{
	int err = parse_number(text, min, max, value);

	if (err)
		log_errno(0, "%s--%s: %s is not a number from %lu to %lu", from, row->name, text, min, max);
	return err;
}

/* Digits, and K, M or G. */
static int set_size(const struct option_row *row, const char *text, const char *from, uint64_t *size)
{
	static const char units[] = "KMG";
	char *end = NULL;
	const char *unit;
	uint64_t v;
	unsigned shift;

	errno = 0;
	v = isdigit((unsigned char)*text) ? strtoull(text, &end, 10) : 0;
	unit = end && *end && !end[1] ? strchr(units, toupper((unsigned char)*end)) : NULL;
	shift = unit ? 10 * (unsigned)(unit - units + 1) : 0;
	if (!end || errno || (*end && !unit) || v > UINT64_MAX >> shift) {
		log_errno(0, "%s--%s: '%s' is not a size (use a number with an optional K, M or G)", from, row->name,
		          text);
		return -EINVAL;
	}
	*size = v << shift;
	return 0;
}

/* One of the words of a row, as its number. */
static int set_word(const struct option_row *row, const char *text, const char *from, int *value)
{
	const char *before = "";
	char all[128] = "";

	for (const struct option_word *w = row->words; w->word; w++) {
		size_t len = strlen(all);

		if (strcmp(w->word, text) == 0) {
			*value = w->value;
			return 0;
		}
		snprintf(all + len, sizeof(all) - len, "%s'%s'", before, w->word);
		before = w[1].word && w[2].word ? ", " : " or ";
	}
	log_errno(0, "%s--%s: '%s' is not valid (only %s)", from, row->name, text, all);
	return -EINVAL;
}

static bool is_word(const struct option_word *w, const char *text, size_t len)
{
	return strlen(w->word) == len && memcmp(w->word, text, len) == 0;
}

/* Of "^WORD,WORD", one after the other. */
static int set_words(const struct option_row *row, const char *text, const char *from, unsigned *bits)
{
	unsigned set = *bits;

	for (const char *next; text; text = next) {
		bool take_away = *text == '^';
		size_t len = strcspn(text += take_away, ",");
		const struct option_word *w = row->words;

		next = text[len] ? text + len + 1 : NULL;
		while (w->word && !is_word(w, text, len))
			w++;
		if (!w->word) {
			log_errno(0,
			          "%s--%s: '%.*s' is not valid (only cpu, fpu, ins, all and none, each with or "
			          "without a ^)",
			          from, row->name, (int)len, text);
			return -EINVAL;
		}
		if (!w->value)
			set = take_away ? (unsigned)row->words->value : 0;
		else
			set = take_away ? set & ~(unsigned)w->value : set | (unsigned)w->value;
	}
	*bits = set | CPU_CAP_GIVEN;
	return 0;
}

/* -v, -vv: one and two more; -v4, --verbosity=4: that level. */
static int set_verbosity(int *level, const char *text)
{
	size_t more = text ? strspn(text, "v") : 0;
	unsigned long value;
	int err;

	if (!text || !text[more]) {
		*level += 1 + (int)more;
		return 0;
	}
	/* CRIU reads a text that is no number as 0; "-verbosity=0" is -v with such a text. */
	err = parse_number(text, 0, 99, &value);
	*level = err ? 0 : (int)value;
	return 0;
}

/* The array, and behind it in the struct the count. */
static void add_to_list(struct options *o, const char ***list, const char *text)
{
	size_t *count = (size_t *)(list + 1);
	const char **more = arena_array(o->arena, const char *, *count + 2);

	if (*count)
		memcpy(more, *list, *count * sizeof(*more));
	more[(*count)++] = text;
	*list = more;
}

static int set_field(struct options *o, const struct option_row *row, const char *value, bool negate, const char *from)
{
	void *field = (char *)o + row->field;
	unsigned long number = 0;
	int err = 0, word = 0;

	switch (row->type) {
	case OPT_FLAG:
		*(bool *)field = !negate;
		break;
	case OPT_STRING:
		*(const char **)field = value;
		break;
	case OPT_LIST:
	case OPT_LIST_ALL:
		add_to_list(o, field, value ?: "");
		break;
	case OPT_PID:
		err = set_option_number(row, value, from, 1, 1UL << 22, &number);
		*(pid_t *)field = (pid_t)number;
		break;
	case OPT_UINT:
		err = set_option_number(row, value, from, row->min, row->max, &number);
		*(unsigned *)field = (unsigned)number;
		break;
	case OPT_SIZE:
		err = set_size(row, value, from, field);
		break;
	case OPT_WORD:
	case OPT_WORD_MAYBE:
		err = set_word(row, value ?: row->words->word, from, &word);
		*(int *)field = word;
		break;
	case OPT_WORD_SET:
		err = set_words(row, value ?: row->words->word, from, field);
		break;
	case OPT_WORD_FLAG:
		err = set_word(row, value, from, &word);
		*(bool *)field = word;
		break;
	case OPT_VERBOSITY:
		err = set_verbosity(field, value);
		break;
	default: /* those that act while options are parsed */
		log_errno(0, "%s--%s can be given on the command line only", from, row->name);
		err = -EINVAL;
	}
	return err;
}

bool option_takes_value(const struct option_row *row)
{
	switch (row->type) {
	case OPT_STRING:
	case OPT_PID:
	case OPT_UINT:
	case OPT_SIZE:
	case OPT_WORD:
	case OPT_WORD_FLAG:
	case OPT_LIST:
	case OPT_CONFIG:
	case TAKEN_VALUE:
		return true;
	default:
		return false;
	}
}

bool option_may_take_value(const struct option_row *row)
{
	return option_takes_value(row) || row->type == OPT_VERBOSITY || row->type == OPT_LIST_ALL ||
	       row->type == OPT_WORD_MAYBE || row->type == OPT_WORD_SET || row->type == TAKEN_MAYBE;
}

int option_apply(struct options *o, const struct option_row *row, const char *value, bool negate, const char *from)
{
	struct options scratch = { .arena = o->arena };
	bool applies = row->commands & (1U << o->command);

	if (row->type == TAKEN_FLAG || row->type == TAKEN_VALUE || row->type == TAKEN_MAYBE) {
		log_info("%s--%s has no effect: %s", from, row->name, row->help);
		return 0;
	}
	if (!applies && !*from)
		log_info("--%s has no effect on criu %s", row->name, options_command_name(o->command));
	if (option_takes_value(row) && (!value || !*value)) {
		log_errno(0, "%s--%s needs a value (%s)", from, row->name, row->arg);
		return -EINVAL;
	}
	if (value && !option_may_take_value(row)) {
		log_errno(0, "%s--%s%s takes no value (%s)", from, negate ? "no-" : "", row->name, value);
		return -EINVAL;
	}
	return set_field(applies ? o : &scratch, row, value, negate, from);
}
