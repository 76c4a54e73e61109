/* SPDX-License-Identifier: GPL-2.0-only */
/* --help and --version, from the tables. They go out as messages, line by line. */
#include <string.h>

#include "lib/log.h"
#include "options/option_table.h"
#include "lib/version.h"

#define HELP_AT    34 /* column of the text */
#define HELP_WIDTH 100

/* Prints text behind a head, in lines of HELP_WIDTH, broken at blanks. */
static void print_wrapped(const char *head, const char *text)
{
	int room = HELP_WIDTH - HELP_AT;

	do {
		int len = (int)strlen(text), next = len;

		if (len > room) {
			for (len = room; len > 0 && text[len] != ' '; len--)
				;
			len = len > 0 ? len : room;
			next = len + (text[len] == ' ');
		}
		log_msg("%-*s%.*s", HELP_AT, head, len, text);
		head = "";
		text += next;
	} while (*text);
}

static void print_option(const struct option_row *row)
{
	char head[128], letter[8] = "    ";

	if (row->letter)
		snprintf(letter, sizeof(letter), "-%c, ", row->letter);
	snprintf(head, sizeof(head), "  %s--%s%s%s", letter, row->name, row->arg ? " " : "", row->arg ? row->arg : "");
	if (strlen(head) >= HELP_AT) {
		log_msg("%s", head);
		head[0] = '\0';
	}
	print_wrapped(head, row->help);
}

static void print_group(const char *title, unsigned commands)
{
	bool any = false;

	for (const struct option_row *row = option_rows; row->name; row++) {
		if (row->commands != commands || !row->help)
			continue;
		if (!any)
			log_msg("%s", "");
		if (!any)
			log_msg("%s:", title);
		any = true;
		print_option(row);
	}
}

static bool is_taken(const struct option_row *row)
{
	return row->type == TAKEN_FLAG || row->type == TAKEN_VALUE || row->type == TAKEN_MAYBE;
}

/* The names of options without a line of their own, several a line. */
static void print_names(bool (*wanted)(const struct option_row *row))
{
	char line[HELP_WIDTH + 64] = "";

	for (const struct option_row *row = option_rows; row->name; row++) {
		if (!wanted(row))
			continue;
		if (strlen(line) + strlen(row->name) + 3 > HELP_WIDTH) {
			log_msg(" %s", line);
			line[0] = '\0';
		}
		snprintf(line + strlen(line), sizeof(line) - strlen(line), " --%s", row->name);
	}
	log_msg(" %s", line);
}

static void print_later(void)
{
	char line[HELP_WIDTH + 64] = "";

	log_msg("%s", "");
	log_msg("Of CRIU %s, taken without effect:", CRIU_LEVEL);
	print_names(is_taken);
	log_msg("Of CRIU %s, not implemented and refused:", CRIU_LEVEL);
	for (const struct command_row *row = option_commands; row->name; row++)
		if (row->command == CMD_NONE)
			snprintf(line + strlen(line), sizeof(line) - strlen(line), " %s", row->name);
	log_msg("  commands:%s", line);
}

/* "Options of dump, restore and service" */
static void print_title_group(unsigned commands)
{
	unsigned left = commands;
	char title[160] = "Options of";

	for (const struct command_row *row = option_commands; row->name; row++) {
		if (row->command == CMD_NONE || !(left & 1U << row->command))
			continue;
		left &= ~(1U << row->command);
		snprintf(title + strlen(title), sizeof(title) - strlen(title), " %s%s", row->name,
		         !left                ? ""
		         : left & (left - 1U) ? ","
		                              : " and");
	}
	print_group(title, commands);
}

static bool is_first_of_its_commands(const struct option_row *row)
{
	const struct option_row *first = option_rows;

	while (first->commands != row->commands || !first->help)
		first++;
	return first == row;
}

/* Options of some commands, in the order of the table. */
static void print_groups_of_several(unsigned every)
{
	for (const struct option_row *row = option_rows; row->name; row++)
		if (row->help && row->commands != every && row->commands & (row->commands - 1) &&
		    is_first_of_its_commands(row))
			print_title_group(row->commands);
}

void options_print_help(void)
{
	const unsigned every = (1U << CMD_COUNT) - (1U << (CMD_NONE + 1));
	char title[64];

	log_msg("criu saves a tree of running processes to image files and brings it back from them.");
	log_msg("%s", "");
	log_msg("Usage:");
	log_msg("  criu dump -t PID [-D DIR] [option...]");
	log_msg("  criu restore [-D DIR] [option...] [--exec-cmd -- COMMAND [ARG...]]");
	log_msg("  criu COMMAND [option...]");
	log_msg("%s", "");
	log_msg("Commands:");
	for (const struct command_row *row = option_commands; row->name; row++) {
		char head[64];

		if (row->command == CMD_NONE)
			continue;
		snprintf(head, sizeof(head), "  %s", row->name);
		print_wrapped(head, row->help);
	}
	print_group("Options of every command", every);
	print_groups_of_several(every);
	for (const struct command_row *row = option_commands; row->name; row++) {
		snprintf(title, sizeof(title), "Options of %s", row->name);
		if (row->command != CMD_NONE)
			print_group(title, 1U << row->command);
	}
	log_msg("%s", "");
	log_msg("Options without a value can be prefixed with no- (--no-shell-job). All can stand in configuration");
	log_msg("files: /etc/criu/default.conf, ~/.criu/default.conf. The manual is criu(8).");
	print_later();
}

void options_print_version(void)
{
	log_msg("Version: %s", CRIU_LEVEL);
	log_msg("Implementation: tool %s", TOOL_VERSION);
}
