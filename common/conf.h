/* SPDX-License-Identifier: MIT */
/*
 * conf.h - the configuration: one table (conf.def) makes the struct, the
 * parser, --help and the man page.
 *
 * Sources, later wins: defaults, the file (-c FILE, else $CHASQUI_CONF,
 * ./chasqui.conf, /etc/chasqui/chasqui.conf; none is fine; ZPL read by czmq's
 * zconfig), the environment (CHASQUI_BROKER_HTTP). Keys of other roles are
 * skipped unread; unknown keys and bad values stop the start with file, line
 * and reason. `x.password_file` style keys are read here into their secret.
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
    bool is_check; /* --check: what the program opens is tried, and it ends (trial.h) */
    /* One member per row of conf.def, named section_key: char * (owned, NULL = none) or int64_t. Rows of other
     * roles stay NULL or 0. */
#define CONF_STR(owner, section, key, def, unit, help) char *section##_##key;
#define CONF_INT(owner, section, key, def, min, max, unit, help) int64_t section##_##key;
#include "conf.def"
#undef CONF_STR
#undef CONF_INT
    struct action_table actions;      /* built in ones and section `actions` (broker, dispatcher) */
    struct portal_conf_table portals; /* section `portals` (dispatcher) */
};

/* Reads everything for `role`. `path` = the -c argument or NULL. NULL on failure, after printing
 * "file:line: reason" to standard error. Also warns (log) when a broker is given a database password, and
 * drops it. */
struct conf *conf_load(enum conf_owner role, const char *path);
void conf_destroy(struct conf **cp);

/* The part of conf_load behind the file: defaults, `text`, the environment. NULL after appending one line
 * "file:line: reason" for each mistake to `why`. `file` is only for messages; NULL = there is no file. */
struct conf *conf_parse(enum conf_owner role, const char *file, const char *text, size_t len, struct buf *why);

/* Options every daemon takes: -c FILE, --help, --version, --check (`is_check` is set, and the process has the user of its
 * unit). Returns the configuration, the log being opened with `program` and log.level; exits 0 after help/version, 2 on a
 * usage error or a bad configuration. */
struct conf *conf_from_args(enum conf_owner role, const char *program, int argc, char **argv);

/* Prints each key of the role with default, bounds, unit and help. */
void conf_help(enum conf_owner role, FILE *out);

/* true when every host in a comma list of ZeroMQ endpoints is loopback (or ipc/inproc). */
bool conf_is_loopback(const char *endpoints);
/* Splits "a, b,c" into a NULL-terminated array; one free() frees all. */
char **conf_list(const char *comma_list, unsigned *n);

#endif
