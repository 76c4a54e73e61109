/* SPDX-License-Identifier: MIT */
/*
 * Lines of a plugin in criu's log. The names are those of CRIU 4.2. A line ends with a newline; LOG_PREFIX, defined
 * before this file is included, stands in front of it.
 */
#ifndef CRIU_PLUGIN_LOG_H
#define CRIU_PLUGIN_LOG_H

#include <errno.h>
#include <stdbool.h>
#include <stdarg.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The levels of -v. */
#ifndef CRIU_LIB_LOG_H /* criu's own, with the same numbers */
#define LOG_UNSET (-1)
#define LOG_MSG   (0)
#define LOG_ERROR (1)
#define LOG_WARN  (2)
#define LOG_INFO  (3)
#define LOG_DEBUG (4)
#endif

#ifndef LOG_PREFIX
#define LOG_PREFIX
#endif

extern void vprint_on_level(unsigned int loglevel, const char *format, va_list params);
extern void print_on_level(unsigned int loglevel, const char *format, ...)
    __attribute__((__format__(__printf__, 2, 3)));

#define pr_place_           __FILE__, __LINE__

#define pr_msg(fmt, ...)    print_on_level(LOG_MSG, fmt, ##__VA_ARGS__)
#define pr_info(fmt, ...)   print_on_level(LOG_INFO, LOG_PREFIX fmt, ##__VA_ARGS__)
#define pr_debug(fmt, ...)  print_on_level(LOG_DEBUG, LOG_PREFIX fmt, ##__VA_ARGS__)
#define pr_warn(fmt, ...)   print_on_level(LOG_WARN, "Warn  (%s:%d): " LOG_PREFIX fmt, pr_place_, ##__VA_ARGS__)
#define pr_err(fmt, ...)    print_on_level(LOG_ERROR, "Error (%s:%d): " LOG_PREFIX fmt, pr_place_, ##__VA_ARGS__)
#define pr_perror(fmt, ...) pr_err(fmt ": %s\n", ##__VA_ARGS__, strerror(errno))

/* The first time only. */
#define pr_once_(how, ...)                                                                                             \
	do {                                                                                                           \
		static bool said_;                                                                                     \
                                                                                                                       \
		if (!said_) {                                                                                          \
			said_ = true;                                                                                  \
			how(__VA_ARGS__);                                                                              \
		}                                                                                                      \
	} while (0)
#define pr_warn_once(fmt, ...) pr_once_(pr_warn, fmt, ##__VA_ARGS__)
#define pr_err_once(fmt, ...)  pr_once_(pr_err, fmt, ##__VA_ARGS__)

#ifdef __cplusplus
}
#endif

#endif
