/* SPDX-License-Identifier: MIT */
/* The version of CRIU whose interfaces these are: what plugins and clients ask for. */
#ifndef CRIU_VERSION_H
#define CRIU_VERSION_H

#define CRIU_VERSION       "4.2"
#define CRIU_VERSION_MAJOR 4
#define CRIU_VERSION_MINOR 2

#endif
