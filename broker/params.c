/*
 * params.c - reads and bounds what clients say, so that nothing behind it has
 * to. Pure: knows no connection, no token, no dispatcher. Must never answer
 * with a client's text, but for the name of a field given twice, cleaned.
 */
#include "broker/params.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define PAGE_FIRST 1
#define PRIORITY_DEFAULT 5
#define LIMIT_DEFAULT 50
#define LIMIT_MAX 200
#define REASON_BYTES_MAX 200
#define PORTAL_BYTES_MAX 64
#define DEADLINE_MIN_MS 100
#define DEADLINE_MAX_MS 150000

static const char why_int[] = "must be an integer of 1 or more";
static const char why_session[] = "must be 1 to 100 printable characters without space, / \\ % ? #";
static const char why_portal[] = "must be 1 to 64 of a-z, 0-9 and _";
static const char why_needed[] = "is needed";

void errors_add(struct jv **errors, const char *field, const char *why)
{
    if (!*errors)
        *errors = jv_new_object();
    struct jv *list = jv_get(*errors, field);
    if (!list) {
        jv_set(*errors, field, jv_new_array());
        list = jv_get(*errors, field);
    }
    jv_push_str(list, why);
}

/* ---- queries ---------------------------------------------------------------------------------------------------
 */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

size_t escapes_decode(char *text, size_t len, bool plus_is_space)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == '+' && plus_is_space) {
            c = ' ';
        } else if (c == '%' && len - i > 2 && hex_value(text[i + 1]) >= 0 && hex_value(text[i + 2]) >= 0) {
            c = (char)(hex_value(text[i + 1]) << 4 | hex_value(text[i + 2]));
            i += 2;
        }
        text[n++] = c;
    }
    text[n] = '\0';
    return n;
}

const struct str *query_get(const struct query *q, const char *name)
{
    for (unsigned i = 0; i < q->n; i++)
        if (strcmp(q->pair[i].name, name) == 0)
            return &q->pair[i].value;
    return NULL;
}

static void given_twice(const char *name, struct jv **errors)
{
    char clean[65];
    size_t n = 0;
    for (; name[n] && n + 1 < sizeof clean; n++)
        clean[n] = name[n] > ' ' && name[n] < 0x7f ? name[n] : '?';
    clean[n] = '\0';
    errors_add(errors, clean, "is given twice");
}

void query_parse(struct query *q, char *text, struct jv **errors)
{
    q->n = 0;
    while (text && *text) {
        char *end = text + strcspn(text, "&"), *next = *end ? end + 1 : NULL;
        *end = '\0';
        if (end > text) {
            char *value = strchr(text, '=');
            if (value)
                *value++ = '\0';
            else
                value = end;
            escapes_decode(text, strlen(text), true);
            if (q->n == QUERY_PAIRS_MAX) {
                errors_add(errors, "query", "has more than 32 parameters");
                return;
            }
            if (query_get(q, text))
                given_twice(text, errors);
            q->pair[q->n].name = text;
            q->pair[q->n++].value =
                (struct str){value, (uint32_t)escapes_decode(value, (size_t)(end - value), true)};
        }
        text = next;
    }
}

/* ---- single values ---------------------------------------------------------------------------------------------
 */

static bool is_plain(struct str s, size_t max)
{
    if (s.len < 1 || s.len > max)
        return false;
    for (uint32_t i = 0; i < s.len; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f || strchr("/\\%?#", s.p[i]))
            return false;
    return true;
}

bool session_id_ok(struct str s)
{
    return is_plain(s, SESSION_ID_BYTES_MAX);
}

bool file_token_ok(struct str s)
{
    return is_plain(s, FILE_TOKEN_BYTES_MAX) && !str_is(s, ".") && !str_is(s, "..");
}

static bool is_of(struct str s, const char *letters, size_t max)
{
    if (s.len < 1 || s.len > max)
        return false;
    for (uint32_t i = 0; i < s.len; i++)
        if (!s.p[i] || !strchr(letters, s.p[i]))
            return false;
    return true;
}

bool worker_name_ok(struct str s)
{
    return is_of(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", 64);
}

static bool portal_ok(struct str s)
{
    return is_of(s, "abcdefghijklmnopqrstuvwxyz0123456789_", PORTAL_BYTES_MAX);
}

bool decimal_read(struct str s, uint64_t min, uint64_t *out)
{
    uint64_t n = 0;
    if (s.len < 1 || s.len > 19)
        return false;
    for (uint32_t i = 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(s.p[i] - '0');
    }
    *out = n;
    return n >= min && n <= INT64_MAX;
}

bool deadline_read(const char *text, uint64_t *ms)
{
    return decimal_read(str_of(text), DEADLINE_MIN_MS, ms) && *ms <= DEADLINE_MAX_MS;
}

bool traceparent_ok(const char *s)
{
    static const char form[] = "hh-hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh-hhhhhhhhhhhhhhhh-hh";
    if (strlen(s) != sizeof form - 1 || strncmp(s, "ff", 2) == 0)
        return false;
    for (size_t i = 0; form[i]; i++)
        if (form[i] == '-' ? s[i] != '-' : !strchr("0123456789abcdef", s[i]))
            return false;
    return strspn(s + 3, "0") < 32 && strspn(s + 36, "0") < 16;
}

bool is_json_type(const char *type)
{
    static const char json[] = "application/json";
    if (!type || strncasecmp(type, json, sizeof json - 1) != 0)
        return false;
    type += sizeof json - 1;
    type += strspn(type, " \t");
    if (*type == '\0')
        return true;
    if (*type++ != ';')
        return false;
    type += strspn(type, " \t");
    size_t end = strlen(type);
    while (end && (type[end - 1] == ' ' || type[end - 1] == '\t'))
        end--;
    return end == 0 || (end == 13 && strncasecmp(type, "charset=utf-8", 13) == 0) ||
           (end == 15 && strncasecmp(type, "charset=\"utf-8\"", 15) == 0);
}

bool prefers(const char *prefer, const char *word)
{
    size_t len = strlen(word);
    while (prefer && *prefer) {
        prefer += strspn(prefer, " \t,;");
        size_t n = strcspn(prefer, " \t,;=");
        if (n == len && strncasecmp(prefer, word, len) == 0)
            return true;
        prefer += n;
        prefer += strcspn(prefer, ",;");
    }
    return false;
}

/* ---- fields of queries -----------------------------------------------------------------------------------------
 */

static void query_session(const struct query *q, struct msg_REQUEST *r, struct jv **errors)
{
    const struct str *s = query_get(q, "session_id");
    if (!s)
        errors_add(errors, "session_id", why_needed);
    else if (!session_id_ok(*s))
        errors_add(errors, "session_id", why_session);
    else
        r->session_id = *s;
}

static void query_number(const struct query *q, const char *name, uint64_t min, uint64_t absent, uint64_t *out,
                         struct jv **errors)
{
    const struct str *s = query_get(q, name);
    *out = absent;
    if (s && !decimal_read(*s, min, out)) {
        errors_add(errors, name, min ? why_int : "must be an integer of 0 or more");
        *out = absent;
    }
}

void params_list(const struct query *q, struct msg_REQUEST *r, struct jv **errors)
{
    query_session(q, r, errors);
    query_number(q, "page", 1, PAGE_FIRST, &r->page, errors);
}

void params_download(const struct query *q, struct msg_REQUEST *r, struct jv **errors)
{
    const struct str *s = query_get(q, "file_token");
    query_session(q, r, errors);
    if (!s)
        errors_add(errors, "file_token", why_needed);
    else if (!file_token_ok(*s))
        errors_add(errors, "file_token",
                   "must be 1 to 512 printable characters without space, / \\ % ? #, and not . or ..");
    else
        r->file_token = *s;
}

static void query_portal(const struct query *q, struct msg_REQUEST *r, struct jv **errors)
{
    const struct str *s = query_get(q, "portal");
    if (!s)
        errors_add(errors, "portal", why_needed);
    else if (!portal_ok(*s))
        errors_add(errors, "portal", why_portal);
    else
        r->portal = *s;
}

void params_active(const struct query *q, struct msg_REQUEST *r, struct jv **errors)
{
    if (!query_get(q, "company_id"))
        errors_add(errors, "company_id", why_needed);
    query_number(q, "company_id", 1, 0, &r->company_id, errors);
    query_portal(q, r, errors);
}

void params_ops_sessions(const struct query *q, struct msg_REQUEST *r, struct jv **errors)
{
    const struct str *state = query_get(q, "state"), *worker = query_get(q, "worker");
    static const char *const states[] = {"live", "opening", "active", "closing", "closed", "expired", "lost", "migrated"};
    bool is_state = false;
    for (unsigned i = 0; state && i < sizeof states / sizeof states[0]; i++)
        is_state |= str_is(*state, states[i]);
    if (state && !is_state)
        errors_add(errors, "state", "must be live, opening, active, closing, closed, expired, lost or migrated");
    else if (state)
        r->state = *state;
    if (worker && !worker_name_ok(*worker))
        errors_add(errors, "worker", "must be the name of a worker");
    else if (worker)
        r->worker = *worker;
    query_number(q, "company_id", 1, 0, &r->company_id, errors);
    query_number(q, "cursor", 0, 0, &r->cursor, errors);
    query_number(q, "limit", 1, LIMIT_DEFAULT, &r->limit, errors);
    if (r->limit > LIMIT_MAX) {
        errors_add(errors, "limit", "must be 1 to 200");
        r->limit = LIMIT_DEFAULT;
    }
}

/* ---- fields of bodies ------------------------------------------------------------------------------------------
 */

static bool is_absent(const struct jv *v)
{
    return jv_type(v) == JV_ABSENT || jv_type(v) == JV_NULL;
}

static struct str text_of(const struct jv *v)
{
    return jv_type(v) == JV_STRING ? (struct str){jv_str(v), (uint32_t)jv_str_len(v)} : (struct str){"", 0};
}

void params_reason(const struct jv *body, struct msg_REQUEST *r, struct jv **errors)
{
    const struct jv *v = body ? jv_get(body, "reason") : NULL;
    if (is_absent(v))
        return;
    if (jv_type(v) != JV_STRING || jv_str_len(v) > REASON_BYTES_MAX)
        errors_add(errors, "reason", "must be a text of at most 200 bytes");
    else
        r->reason = text_of(v);
}

static void body_bool(const struct jv *body, const char *name, bool *out, struct jv **errors)
{
    const struct jv *v = jv_get(body, name);
    if (!is_absent(v) && !jv_bool(v, out))
        errors_add(errors, name, "must be true or false");
}

static void body_company(const struct jv *body, struct msg_REQUEST *r, struct jv **errors)
{
    const struct jv *v = jv_get(body, "company_id");
    int64_t n;
    if (is_absent(v))
        errors_add(errors, "company_id", why_needed);
    else if (!jv_int(v, &n) || n < 1)
        errors_add(errors, "company_id", why_int);
    else
        r->company_id = (uint64_t)n;
}

static void body_action(const struct jv *body, const struct action_table *actions, struct msg_REQUEST *r,
                        const struct action **action, struct jv **errors)
{
    const struct jv *portal = jv_get(body, "portal"), *name = jv_get(body, "action");
    struct str portal_text = text_of(portal), name_text = text_of(name);
    *action = name_text.len ? action_find(actions, name_text.p) : NULL;
    if (is_absent(portal))
        errors_add(errors, "portal", why_needed);
    else if (!portal_ok(portal_text))
        errors_add(errors, "portal", why_portal);
    else if (*action && !str_is(portal_text, (*action)->portal))
        errors_add(errors, "portal", "is not the portal of this action");
    else
        r->portal = portal_text;
    if (is_absent(name))
        errors_add(errors, "action", why_needed);
    else if (!*action)
        errors_add(errors, "action", "is not an action that is known here");
    else
        r->action = name_text;
}

static void body_session(const struct jv *body, const struct action *action, struct msg_REQUEST *r,
                         struct jv **errors)
{
    const struct jv *v = jv_get(body, "session_id");
    if (is_absent(v)) {
        if (action && action->session == ACTION_USE)
            errors_add(errors, "session_id", "is needed by this action");
    } else if (!session_id_ok(text_of(v))) {
        errors_add(errors, "session_id", why_session);
    } else if (action && action->session == ACTION_CREATE) {
        errors_add(errors, "session_id", "does not go with a log-in, which makes a session");
    } else {
        r->session_id = text_of(v);
    }
}

static void body_params(const struct jv *body, struct jv **errors)
{
    static const char *const reserved[] = {"company_id", "portal", "job_uid", "epoch"};
    const struct jv *v = jv_get(body, "params");
    if (is_absent(v))
        return;
    if (jv_type(v) != JV_OBJECT) {
        errors_add(errors, "params", "must be an object");
        return;
    }
    for (unsigned i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
        char field[32];
        snprintf(field, sizeof field, "params.%s", reserved[i]);
        if (jv_get(v, reserved[i]))
            errors_add(errors, field, "is a name that is set here");
    }
}

static void body_priority(const struct jv *body, struct msg_REQUEST *r, struct jv **errors)
{
    const struct jv *v = jv_get(body, "priority");
    int64_t n = PRIORITY_DEFAULT;
    if (!is_absent(v) && (!jv_int(v, &n) || n < 0 || n > 9)) {
        errors_add(errors, "priority", "must be an integer of 0 to 9");
        n = PRIORITY_DEFAULT;
    }
    r->priority = (uint64_t)n;
}

void params_execute(const struct jv *body, const struct action_table *actions, struct msg_REQUEST *r,
                    const struct action **action, struct jv **errors)
{
    body_company(body, r, errors);
    body_action(body, actions, r, action, errors);
    body_session(body, *action, r, errors);
    body_params(body, errors);
    body_priority(body, r, errors);
    body_bool(body, "force_new", &r->force_new, errors);
    body_bool(body, "remember", &r->remember, errors);
}
