/* SPDX-License-Identifier: MIT */
/*
 * action.c - the table of actions: built-in rows and the file's section `actions`. Names and paths end up in URLs
 * to robots and in the database, so everything is checked here, at the door. No I/O.
 */
#include "common/action.h"

#include "common/check.h"
#include "common/zpl.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MIN_MS 100
#define TIMEOUT_MAX_MS 600000
#define PATH_MAX_BYTES 512
#define ERRORS_MAX_BYTES 1024
#define LOGIN_FINAL_ERRORS "bad_credentials,invalid_credentials,account_locked,unknown_company"
#define LOGIN_PORTAL_ERRORS "portal_unavailable,portal_maintenance,portal_timeout"

static bool is_word(const char *s, size_t len, const char *more)
{
    if (!len)
        return false;
    for (size_t i = 0; i < len; i++)
        if (!isalnum((unsigned char)s[i]) && !strchr(more, s[i]))
            return false;
    return true;
}

/* Returns NULL when good, else what is wrong. */
static const char *check_name(const char *name)
{
    size_t len = strlen(name), portal = strcspn(name, ".");
    if (len > ACTION_NAME_MAX || !is_word(name, len, "_.-"))
        return "an action's name is 1-64 of letters, digits, '_', '.' and '-'";
    if (portal == 0 || portal + 1 >= len)
        return "an action's name is portal.name, with a dot";
    return NULL;
}

static const char *check_path(const char *path)
{
    if (path[0] != '/')
        return "path must begin with '/'";
    if (strlen(path) > PATH_MAX_BYTES)
        return "path is longer than 512 bytes";
    if (strstr(path, ".."))
        return "path must not contain '..'";
    for (const char *p = path; *p; p++)
        if (*p <= ' ' || *p >= 0x7f || strchr("?#\\", *p))
            return "path must be printable ASCII without space, '?', '#' and '\\'";
    return NULL;
}

/* Stores "a, b" as "a,b" in *field. Returns false when a code is malformed. */
static bool take_errors(char **field, const char *list)
{
    struct buf out = {0};
    if (strlen(list) > ERRORS_MAX_BYTES)
        return false;
    for (const char *p = list;; p++) {
        p += strspn(p, " ");
        size_t len = strcspn(p, ", ");
        if (!is_word(p, len, "_.-"))
            break;
        buf_addf(&out, "%s%.*s", out.len ? "," : "", (int)len, p);
        p += len;
        p += strspn(p, " ");
        if (*p == '\0') {
            free(*field);
            *field = buf_take(&out, NULL);
            return true;
        }
        if (*p != ',')
            break;
    }
    buf_free(&out);
    return false;
}

static bool read_ms(const char *s, int64_t *out)
{
    size_t len = strlen(s);
    if (len < 1 || len > 9 || strspn(s, "0123456789") != len || (len > 1 && s[0] == '0'))
        return false;
    *out = strtoll(s, NULL, 10);
    return *out >= TIMEOUT_MIN_MS && *out <= TIMEOUT_MAX_MS;
}

static void replace(char **field, const char *value)
{
    free(*field);
    *field = xstrdup(value);
}

/* Stores one key of an action. Returns NULL when accepted, else what is wrong. */
static const char *take_key(struct action *a, const char *key, const char *value)
{
    const char *reason = NULL;
    if (strcmp(key, "method") == 0) {
        if (strcmp(value, "GET") != 0 && strcmp(value, "POST") != 0)
            return "method must be GET or POST";
        replace(&a->method, value);
    } else if (strcmp(key, "path") == 0) {
        if ((reason = check_path(value)))
            return reason;
        replace(&a->path, value);
    } else if (strcmp(key, "session") == 0) {
        if (strcmp(value, "create") != 0 && strcmp(value, "use") != 0)
            return "session must be create or use";
        a->session = value[0] == 'c' ? ACTION_CREATE : ACTION_USE;
    } else if (strcmp(key, "timeout_ms") == 0) {
        if (!read_ms(value, &a->timeout_ms))
            return "timeout_ms must be a decimal integer of 100 to 600000";
    } else if (strcmp(key, "final_errors") == 0) {
        if (!take_errors(&a->final_errors, value))
            return "final_errors is a comma list of error codes, 1024 bytes at most";
    } else if (strcmp(key, "portal_errors") == 0) {
        if (!take_errors(&a->portal_errors, value))
            return "portal_errors is a comma list of error codes, 1024 bytes at most";
    } else if (strcmp(key, "safe") == 0) {
        if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
            return "safe must be true or false";
        a->safe = value[0] == 't';
    } else {
        return "unknown key of an action (method, path, session, timeout_ms, final_errors, portal_errors, safe)";
    }
    return NULL;
}

/* Adds a row with the defaults of an action. `name` has been checked. */
static struct action *add_row(struct action_table *t, const char *name, int64_t login_ms)
{
    t->rows = xrealloc(t->rows, (t->n + 1) * sizeof *t->rows);
    struct action *a = &t->rows[t->n++];
    *a = (struct action){
        .name = xstrdup(name),
        .portal = xstrndup(name, strcspn(name, ".")),
        .method = xstrdup("POST"),
        .session = ACTION_USE,
        .timeout_ms = login_ms,
    };
    return a;
}

/* The default of every log-in, unless the file overrides it: three wrong passwords lock an account. */
static void login_errors_default(struct action *a)
{
    if (!a->final_errors)
        a->final_errors = xstrdup(LOGIN_FINAL_ERRORS);
    if (!a->portal_errors)
        a->portal_errors = xstrdup(LOGIN_PORTAL_ERRORS);
}

static void add_built_in(struct action_table *t, int64_t login_ms, int64_t list_ms)
{
    struct action *a = add_row(t, "sunat.menu_sol_login", login_ms);
    a->path = xstrdup("/sunat/login");
    a->session = ACTION_CREATE;
    login_errors_default(a);
    a = add_row(t, "sunat.buzon_list", list_ms);
    replace(&a->method, "GET");
    a->path = xstrdup("/sunat/buzon/list");
}

static void read_action(struct action_table *t, int64_t login_ms, const char *file, const struct zpl *z,
                        struct buf *why)
{
    const char *reason = z->value ? "an action is a section, not a value" : check_name(z->name);
    if (!reason && t->n >= ACTION_MAX)
        reason = "too many actions";
    if (reason) {
        zpl_complain(why, file, z->line, "actions.%s: %s", z->name, reason);
        return;
    }
    bool is_new = !action_find(t, z->name);
    struct action *a = is_new ? add_row(t, z->name, login_ms) : (struct action *)action_find(t, z->name);
    bool has_session = !is_new;
    for (const struct zpl *k = z->child; k; k = k->next) {
        if (k != zpl_find(z, k->name))
            reason = "given twice";
        else if (k->child || !k->value)
            reason = "a value is expected (key = value)";
        else
            reason = take_key(a, k->name, k->value);
        if (reason)
            zpl_complain(why, file, k->line, "actions.%s.%s: %s", z->name, k->name, reason);
        has_session |= strcmp(k->name, "session") == 0;
    }
    if (!a->path && !zpl_find(z, "path"))
        zpl_complain(why, file, z->line, "actions.%s: path is missing", z->name);
    if (a->session == ACTION_CREATE)
        login_errors_default(a);
    if (!has_session)
        zpl_complain(why, file, z->line, "actions.%s: session is missing (create or use)", z->name);
    if (a->session == ACTION_CREATE && strcmp(a->method, "POST") != 0)
        zpl_complain(why, file, z->line, "actions.%s: a log-in (session = create) must be a POST", z->name);
}

void action_table_load(struct action_table *t, int64_t login_ms, int64_t list_ms, const char *file,
                       const struct zpl *section, struct buf *why)
{
    add_built_in(t, login_ms, list_ms);
    for (const struct zpl *z = section ? section->child : NULL; z; z = z->next) {
        if (z != zpl_find(section, z->name))
            zpl_complain(why, file, z->line, "actions.%s: given twice", z->name);
        else
            read_action(t, login_ms, file, z, why);
    }
}

void action_table_free(struct action_table *t)
{
    for (unsigned i = 0; i < t->n; i++) {
        free(t->rows[i].name);
        free(t->rows[i].portal);
        free(t->rows[i].method);
        free(t->rows[i].path);
        free(t->rows[i].final_errors);
        free(t->rows[i].portal_errors);
    }
    free(t->rows);
    *t = (struct action_table){0};
}

const struct action *action_find(const struct action_table *t, const char *name)
{
    for (unsigned i = 0; i < t->n; i++)
        if (strcmp(t->rows[i].name, name) == 0)
            return &t->rows[i];
    return NULL;
}

bool action_is_safe(const struct action *a)
{
    return a->safe || strcmp(a->method, "GET") == 0;
}
