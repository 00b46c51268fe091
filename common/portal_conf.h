/* SPDX-License-Identifier: MIT */
/*
 * portal_conf.h - the configuration of portals:
 *
 *   portals
 *       sunat
 *           logins_per_minute = 120
 *           logins_at_once = 20
 *           breaker = on
 */
#ifndef CHASQUI_PORTAL_CONF_H
#define CHASQUI_PORTAL_CONF_H

#include <stdbool.h>

struct buf;
struct zpl;

#define PORTAL_CONF_MAX 200
#define PORTAL_LOGINS_MAX 1000000

struct portal_conf {
    char *name;          /* 1 to 64 of a-z, 0-9 and _ */
    unsigned per_minute; /* log-ins of all dispatchers together; 0 = no limit */
    unsigned at_once;    /* likewise */
    bool breaker;
};

struct portal_conf_table {
    struct portal_conf *rows; /* owned */
    unsigned n;
};

/* Loads the children of the file's section `portals` (NULL = none). Each mistake is appended to `why` as
 * "file:line: reason". */
void portal_conf_load(struct portal_conf_table *t, const char *file, const struct zpl *section, struct buf *why);
void portal_conf_free(struct portal_conf_table *t);
/* Borrowed; t may be NULL. A portal that is not configured has no limits, and a breaker. */
const struct portal_conf *portal_conf_find(const struct portal_conf_table *t, const char *name);

#endif
