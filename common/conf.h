/* SPDX-License-Identifier: MIT */
/*
 * conf.h - the configuration: one table (conf.def) makes the struct, the parser, --help and the man page.
 *
 * Sources, later wins: defaults, the file (-c FILE, else $CHASQUI_CONF, ./chasqui.conf, /etc/chasqui/chasqui.conf;
 * none is fine; ZPL read by czmq's zconfig), the environment (CHASQUI_BROKER_HTTP). Keys of other roles are
 * skipped unread. Unknown keys and bad values stop the start with file, line and reason. Keys such as
 * `x.password_file` are read here into their secret.
 */
#ifndef CHASQUI_CONF_H
#define CHASQUI_CONF_H

#include "action.h"
#include "buf.h"
#include "portal_conf.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum conf_owner { /* bit mask: which programs read a key */
                  CONF_BROKER = 1,
                  CONF_DISPATCHER = 2,
                  CONF_HEALTHD = 4,
                  CONF_CTL = 8,
                  CONF_ALL = 15
};

struct conf {
    enum conf_owner role;
    char *file;    /* the file read, NULL = none */
    bool is_check; /* --check: the program tries to open what it needs, then ends (trial.h) */
    /* One member per row of conf.def, named section_key: char * (owned, NULL = none) or int64_t. Rows of other
     * roles stay NULL or 0. */
#define CONF_STR(owner, section, key, def, unit, help) char *section##_##key;
#define CONF_INT(owner, section, key, def, min, max, unit, help) int64_t section##_##key;
#include "conf.def"
#undef CONF_STR
#undef CONF_INT
    struct action_table actions;      /* built-in actions and section `actions` (broker, dispatcher) */
    struct portal_conf_table portals; /* section `portals` (dispatcher) */
};

/* Reads the whole configuration for `role`. `path` = the -c argument or NULL. Returns NULL on failure, after
 * printing "file:line: reason" to standard error. A broker that was given a database password drops it and logs a
 * warning. */
struct conf *conf_load(enum conf_owner role, const char *path);
void conf_destroy(struct conf **cp);

/* The part of conf_load after reading the file: defaults, `text`, the environment. Returns NULL after appending
 * one line "file:line: reason" for each mistake to `why`. `file` is only for messages; NULL = there is no file. */
struct conf *conf_parse(enum conf_owner role, const char *file, const char *text, size_t len, struct buf *why);

/* Handles the options of every daemon: -c FILE, --help, --version, --check (`is_check` is set, and the process
 * runs as the user of its unit). Returns the configuration; the log is then open with `program` and log.level.
 * Exits 0 after help or version, 2 on a usage error or a bad configuration. */
struct conf *conf_from_args(enum conf_owner role, const char *program, int argc, char **argv);

/* Prints each key of the role with default, bounds, unit and help. */
void conf_help(enum conf_owner role, FILE *out);

/* Whether every host in a comma list of ZeroMQ endpoints is loopback (or ipc/inproc). */
bool conf_is_loopback(const char *endpoints);
/* Splits "a, b,c" into a NULL-terminated array. A single free() frees all. */
char **conf_list(const char *comma_list, unsigned *n);

#endif
