/* SPDX-License-Identifier: MIT */
/*
 * action.h - the actions a job can run. `sunat.menu_sol_login` and `sunat.buzon_list`
 * are built in; others come from the configuration:
 *
 *   actions
 *       sunat.echo
 *           method = POST
 *           path = /sunat/echo
 *           session = use
 *           timeout_ms = 30000
 *           final_errors = bad_credentials,unknown_company
 *           portal_errors = portal_unavailable
 *           safe = false
 */
#ifndef CHASQUI_ACTION_H
#define CHASQUI_ACTION_H

#include <stdbool.h>
#include <stdint.h>

struct buf;
struct zpl;

enum action_session { ACTION_CREATE, ACTION_USE }; /* creates a session (log-in); uses one */

struct action {
    char *name;   /* "sunat.menu_sol_login", [A-Za-z0-9_.-]{1,64} with a dot */
    char *portal; /* the name up to its first dot */
    char *method; /* GET or POST */
    char *path;   /* begins with '/', no query */
    enum action_session session;
    int64_t timeout_ms;  /* 100..600000 */
    char *final_errors;  /* comma list of robots' error codes never retried; NULL = none (never for a log-in) */
    char *portal_errors; /* comma list of error codes that mean the portal itself is down; NULL likewise */
    bool safe;           /* it may be run twice although it is a POST */
};

struct action_table {
    struct action *rows; /* owned */
    unsigned n;
};

#define ACTION_NAME_MAX 64
#define ACTION_MAX 1000

/* Loads the built-in actions, then those of `section` (children of the file's section `actions`; NULL = none). An
 * action in `section` with the name of a built-in changes the built-in. Unless it specifies otherwise, an action
 * is a POST and lasts at most `login_ms`; a list of the mailbox, `list_ms`. Each mistake is appended to `why` as
 * "file:line: reason". */
void action_table_load(struct action_table *t, int64_t login_ms, int64_t list_ms, const char *file,
                       const struct zpl *section, struct buf *why);
void action_table_free(struct action_table *t);
/* Finds an action by its exact name; NULL when unknown. Borrowed. */
const struct action *action_find(const struct action_table *t, const char *name);
/* Whether it may be run again when it is unknown if it was run: a GET, or an action with `safe = true`. */
bool action_is_safe(const struct action *a);

#endif
