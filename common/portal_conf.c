/* SPDX-License-Identifier: MIT */
/* portal_conf.c - the section `portals` of the configuration. */
#include "common/portal_conf.h"

#include "common/buf.h"
#include "common/check.h"
#include "common/zpl.h"

#include <stdlib.h>
#include <string.h>

static bool name_ok(const char *name)
{
    size_t len = strlen(name);
    return len >= 1 && len <= 64 && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

static bool read_count(const char *s, unsigned *out)
{
    size_t len = strlen(s);
    if (len < 1 || len > 7 || strspn(s, "0123456789") != len || (len > 1 && s[0] == '0'))
        return false;
    *out = (unsigned)strtoul(s, NULL, 10);
    return *out <= PORTAL_LOGINS_MAX;
}

/* Returns NULL when accepted, else what is wrong. */
static const char *take_key(struct portal_conf *p, const char *key, const char *value)
{
    if (strcmp(key, "logins_per_minute") == 0)
        return read_count(value, &p->per_minute) ? NULL : "must be a decimal integer of 0 to 1000000";
    if (strcmp(key, "logins_at_once") == 0)
        return read_count(value, &p->at_once) ? NULL : "must be a decimal integer of 0 to 1000000";
    if (strcmp(key, "breaker") != 0)
        return "unknown key of a portal (logins_per_minute, logins_at_once, breaker)";
    p->breaker = strcmp(value, "on") == 0;
    return p->breaker || strcmp(value, "off") == 0 ? NULL : "must be on or off";
}

static void read_portal(struct portal_conf_table *t, const char *file, const struct zpl *z, struct buf *why)
{
    if (z->value || !name_ok(z->name) || t->n >= PORTAL_CONF_MAX) {
        zpl_complain(why, file, z->line, "portals.%s: %s", z->name,
                     z->value            ? "a portal is a section, not a value"
                     : !name_ok(z->name) ? "a portal's name is 1 to 64 of a-z, 0-9 and _"
                                         : "too many portals");
        return;
    }
    t->rows = xrealloc(t->rows, (t->n + 1) * sizeof(*t->rows));
    struct portal_conf *p = &t->rows[t->n++];
    *p = (struct portal_conf){.name = xstrdup(z->name), .breaker = true};
    for (const struct zpl *k = z->child; k; k = k->next) {
        const char *reason = k != zpl_find(z, k->name) ? "given twice"
                             : k->child || !k->value   ? "a value is expected (key = value)"
                                                       : take_key(p, k->name, k->value);
        if (reason)
            zpl_complain(why, file, k->line, "portals.%s.%s: %s", z->name, k->name, reason);
    }
}

void portal_conf_load(struct portal_conf_table *t, const char *file, const struct zpl *section, struct buf *why)
{
    for (const struct zpl *z = section ? section->child : NULL; z; z = z->next) {
        if (z != zpl_find(section, z->name))
            zpl_complain(why, file, z->line, "portals.%s: given twice", z->name);
        else
            read_portal(t, file, z, why);
    }
}

void portal_conf_free(struct portal_conf_table *t)
{
    for (unsigned i = 0; i < t->n; i++)
        free(t->rows[i].name);
    free(t->rows);
    *t = (struct portal_conf_table){0};
}

const struct portal_conf *portal_conf_find(const struct portal_conf_table *t, const char *name)
{
    static const struct portal_conf other = {.breaker = true};
    for (unsigned i = 0; t && i < t->n; i++)
        if (strcmp(t->rows[i].name, name) == 0)
            return &t->rows[i];
    return &other;
}
