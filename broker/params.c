/* SPDX-License-Identifier: MIT */
/*
 * params.c - reads and bounds clients' input, so that later code need not. Pure: knows no connection, no token, no
 * dispatcher. Must never answer with a client's text, except for the cleaned name of a field given twice.
 */
#include "broker/params.h"

#include "common/clock.h"
#include "common/steps.h"
#include "common/url.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define PAGE_FIRST 1
#define PRIORITY_DEFAULT 5
#define LIMIT_DEFAULT 50
#define LIMIT_MAX 200
#define REASON_BYTES_MAX 200
#define SEARCH_BYTES_MAX 100
#define NAME_BYTES_MAX 400
#define NAME_CHARS_MAX 100
#define AHEAD_MAX_MS (366ll * 86400 * 1000) /* times set by clients */
/* Possible error of our clock. The database's clock decides what has passed. */
#define CLOCK_ERROR_MS (86400ll * 1000)

static const char why_int[] = "must be an integer of 1 or more";
const char why_session_id[] = "must be 1 to 100 printable characters without space, / \\ % ? #";
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

/* ---- queries ------------------------------------------------------------------------------------------------ */

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

void errors_add_named(struct jv **errors, const char *name, const char *why)
{
    char clean[65];
    size_t n = 0;
    for (; name[n] && n + 1 < sizeof clean; n++)
        clean[n] = name[n] > ' ' && name[n] < 0x7f ? name[n] : '?';
    clean[n] = '\0';
    errors_add(errors, n ? clean : "?", why);
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
                errors_add_named(errors, text, "is given twice");
            q->pair[q->n].name = text;
            q->pair[q->n++].value =
                (struct str){value, (uint32_t)escapes_decode(value, (size_t)(end - value), true)};
        }
        text = next;
    }
}

size_t utf8_mark(const char *text, size_t len)
{
    return len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
}

/* ---- fields of queries -------------------------------------------------------------------------------------- */

static void query_session(const struct query *q, struct msg_REQUEST *r, struct jv **errors)
{
    const struct str *s = query_get(q, "session_id");
    if (!s)
        errors_add(errors, "session_id", why_needed);
    else if (!session_id_ok(*s))
        errors_add(errors, "session_id", why_session_id);
    else
        r->session_id = *s;
}

void query_number(const struct query *q, const char *name, uint64_t min, uint64_t absent, uint64_t *out,
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

void query_portal(const struct query *q, struct msg_REQUEST *r, struct jv **errors)
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

/* Reads one of a list of words into state. */
static void query_state(const struct query *q, const char *name, const char *const *words, const char *why,
                        struct msg_REQUEST *r, struct jv **errors)
{
    const struct str *s = query_get(q, name);
    if (!s)
        return;
    while (*words && !str_is(*s, *words))
        words++;
    if (*words)
        r->state = *s;
    else
        errors_add(errors, name, why);
}

void query_worker(const struct query *q, struct msg_REQUEST *r, struct jv **errors)
{
    const struct str *s = query_get(q, "worker");
    if (s && !worker_name_ok(*s))
        errors_add(errors, "worker", "must be the name of a worker");
    else if (s)
        r->worker = *s;
}

void query_search(const struct query *q, struct msg_REQUEST *r, struct jv **errors)
{
    const struct str *s = query_get(q, "search");
    if (s && (s->len > SEARCH_BYTES_MAX || !jv_text_ok(s->p, s->len)))
        errors_add(errors, "search", "must be a text of at most 100 bytes");
    else if (s)
        r->search = *s;
}

static void query_errors(const struct query *q, struct msg_REQUEST *r, struct jv **errors)
{
    const struct str *error = query_get(q, "error"), *robot_error = query_get(q, "robot_error");
    if (error && !error_ok(*error))
        errors_add(errors, "error", "must be an error code, such as robot_error");
    else if (error)
        r->error = *error;
    if (robot_error && !robot_error_ok(*robot_error))
        errors_add(errors, "robot_error", "must be a text of 1 to 256 bytes");
    else if (robot_error)
        r->robot_error = *robot_error;
}

void query_page(const struct query *q, struct msg_REQUEST *r, struct jv **errors)
{
    query_number(q, "cursor", 0, 0, &r->cursor, errors);
    query_number(q, "limit", 1, LIMIT_DEFAULT, &r->limit, errors);
    if (r->limit > LIMIT_MAX) {
        errors_add(errors, "limit", "must be 1 to 200");
        r->limit = LIMIT_DEFAULT;
    }
}

void params_ops_sessions(const struct query *q, struct msg_REQUEST *r, struct jv **errors)
{
    static const char *const states[] = {"live",    "opening", "active",   "closing", "closed",
                                         "expired", "lost",    "migrated", NULL};
    query_state(q, "state", states, "must be live, opening, active, closing, closed, expired, lost or migrated", r,
                errors);
    const struct str *session = query_get(q, "session_id");
    if (session && !session_id_ok(*session))
        errors_add(errors, "session_id", why_session_id);
    else if (session)
        r->session_id = *session;
    query_worker(q, r, errors);
    query_number(q, "company_id", 1, 0, &r->company_id, errors);
    query_page(q, r, errors);
}

static void query_job_status(const struct query *q, struct msg_REQUEST *r, struct jv **errors)
{
    static const char *const states[] = {"queued", "running", "retrying", "done", "failed", "cancelled", NULL};
    query_state(q, "status", states, "must be queued, running, retrying, done, failed or cancelled", r, errors);
}

void params_jobs(const struct query *q, struct msg_REQUEST *r, struct jv **errors)
{
    query_job_status(q, r, errors);
    if (query_get(q, "portal"))
        query_portal(q, r, errors);
    query_number(q, "company_id", 1, 0, &r->company_id, errors);
    query_number(q, "batch_id", 1, 0, &r->batch_id, errors);
    query_errors(q, r, errors);
    query_page(q, r, errors);
}

void params_ops_jobs(const struct query *q, struct msg_REQUEST *r, struct jv **errors)
{
    params_jobs(q, r, errors);
    query_worker(q, r, errors);
    query_search(q, r, errors);
    query_since(q, r, errors);
    query_until(q, r, errors);
}

void params_items(const struct query *q, struct msg_REQUEST *r, struct jv **errors)
{
    query_job_status(q, r, errors);
    query_errors(q, r, errors);
    query_page(q, r, errors);
}

void params_results(const struct query *q, struct msg_REQUEST *r, struct jv **errors)
{
    const struct str *after = query_get(q, "after");
    uint64_t index = 0;
    if (after && (!decimal_read(*after, 0, &index) || index == INT64_MAX))
        errors_add(errors, "after", "must be the index of an item");
    r->cursor = after ? index + 1 : 0;
}

void params_batches(const struct query *q, struct msg_REQUEST *r, struct jv **errors)
{
    static const char *const states[] = {"open", "running", "done", "cancelled", NULL};
    query_state(q, "status", states, "must be open, running, done or cancelled", r, errors);
    query_page(q, r, errors);
}

/* ---- fields of bodies --------------------------------------------------------------------------------------- */

static bool is_absent(const struct jv *v)
{
    return jv_type(v) == JV_ABSENT || jv_type(v) == JV_NULL;
}

static struct str text_of(const struct jv *v)
{
    return jv_type(v) == JV_STRING ? (struct str){jv_str(v), (uint32_t)jv_str_len(v)} : (struct str){"", 0};
}

/* The text is shown at terminals and in one line of a log, so it may hold no control character, including C1
 * (U+0080 to U+009F). */
static bool is_one_line(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && i + 1 < len && (unsigned char)text[i + 1] < 0xa0))
            return false;
    }
    return true;
}

void params_reason(const struct jv *body, struct msg_REQUEST *r, struct jv **errors)
{
    const struct jv *v = body ? jv_get(body, "reason") : NULL;
    if (is_absent(v))
        return;
    if (jv_type(v) != JV_STRING || jv_str_len(v) > REASON_BYTES_MAX || !is_one_line(jv_str(v), jv_str_len(v)))
        errors_add(errors, "reason", "must be a text of one line, at most 200 bytes");
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
    if (is_absent(v))
        errors_add(errors, "company_id", why_needed);
    else if (!jv_id(v, &r->company_id))
        errors_add(errors, "company_id", why_int);
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
        errors_add(errors, "session_id", why_session_id);
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
    if (is_absent(v) || jv_is_empty_array(v)) /* PHP writes an empty object like that */
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

void params_priority(const struct jv *body, struct msg_REQUEST *r, struct jv **errors)
{
    if (is_absent(jv_get(body, "priority")))
        errors_add(errors, "priority", why_needed);
    else
        body_priority(body, r, errors);
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

void params_available(const struct jv *body, int64_t now_unix_ms, struct msg_REQUEST *r, struct jv **errors)
{
    const struct jv *v = jv_get(body, "available_at");
    struct str text = text_of(v);
    int64_t at_ms;
    if (is_absent(v))
        return;
    if (!clock_read(text.p, text.len, &at_ms))
        errors_add(errors, "available_at", "must be a time in UTC like 2026-01-31T06:00:00Z");
    else if (at_ms > now_unix_ms + AHEAD_MAX_MS)
        errors_add(errors, "available_at", "is more than 366 days ahead");
    else if (at_ms > 0)
        r->available_at_ms = (uint64_t)at_ms; /* the database decides whether it has passed */
}

struct jv *params_batch_query(const struct query *q)
{
    static const char *const names[] = {"portal", "action", "callback_url", "available_at", "name"};
    struct jv *body = jv_new_object();
    const struct str *priority = query_get(q, "priority"), *then = query_get(q, "then"),
                     *closes = query_get(q, "close");
    enum jv_bad why;
    uint64_t n;
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        const struct str *s = query_get(q, names[i]);
        if (s)
            jv_set_strn(body, names[i], s->p, s->len);
    }
    if (priority && decimal_read(*priority, 0, &n))
        jv_set_int(body, "priority", (int64_t)n);
    else if (priority)
        jv_set_strn(body, "priority", priority->p, priority->len); /* will be refused for its type */
    struct jv *steps = then ? jv_parse(then->p, then->len, &why) : NULL;
    if (steps)
        jv_set(body, "then", steps);
    else if (then)
        jv_set_str(body, "then", "no JSON"); /* will be refused for its type */
    if (closes && (str_is(*closes, "true") || str_is(*closes, "1")))
        jv_set_bool(body, "close", true);
    else if (closes && !str_is(*closes, "false") && !str_is(*closes, "0"))
        jv_set_str(body, "close", "neither"); /* will be refused for its type */
    return body;
}

static size_t n_chars(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += (*text & 0xc0) != 0x80;
    return n;
}

/* Reads the batch's name for people. */
static void body_name(const struct jv *body, struct msg_REQUEST *r, struct jv **errors)
{
    const struct jv *v = jv_get(body, "name");
    if (is_absent(v))
        return;
    if (jv_type(v) != JV_STRING || !jv_str_len(v) || jv_str_len(v) > NAME_BYTES_MAX ||
        n_chars(jv_str(v)) > NAME_CHARS_MAX || !is_one_line(jv_str(v), jv_str_len(v)))
        errors_add(errors, "name", "must be a text of one line, 1 to 100 characters");
    else
        r->name = text_of(v);
}

/* Reads what each item does after its log-in. */
static void body_steps(const struct jv *body, const struct action_table *actions, const struct action *action,
                       struct jv **errors)
{
    struct steps steps;
    char why[STEPS_WHY_ROOM];
    if (!steps_read(jv_get(body, "then"), actions, action ? action->portal : NULL, &steps, why))
        errors_add(errors, "then", why);
    steps_free(&steps);
}

void params_batch(const struct jv *body, const struct action_table *actions, const char *allow,
                  int64_t now_unix_ms, struct msg_REQUEST *r, struct jv **errors)
{
    const struct action *action;
    const struct jv *url = jv_get(body, "callback_url");
    body_action(body, actions, r, &action, errors);
    if (action && action->session != ACTION_CREATE)
        errors_add(errors, "action", "is not a log-in");
    body_priority(body, r, errors);
    params_available(body, now_unix_ms, r, errors);
    if (!is_absent(url) && !callback_url_ok(text_of(url), allow))
        errors_add(errors, "callback_url", "is not a URL that is allowed here (webhook.allow)");
    else if (!is_absent(url))
        r->callback_url = text_of(url);
    body_name(body, r, errors);
    body_bool(body, "close", &r->closes, errors);
    body_steps(body, actions, action, errors);
}

void params_drain(const struct jv *body, struct msg_REQUEST *r, struct jv **errors)
{
    const struct jv *seconds = body ? jv_get(body, "deadline_s") : NULL;
    int64_t n;
    if (is_absent(seconds))
        return;
    if (!jv_int(seconds, &n) || n < 0 || n > AHEAD_MAX_MS / 1000)
        errors_add(errors, "deadline_s", "must be an integer of 0 to 31622400");
    else
        r->for_ms = n ? (uint64_t)n * 1000 : 1;
}

/* Older clients send for_s as expires_s. */
void params_pause(const struct jv *body, int64_t now_unix_ms, struct msg_REQUEST *r, struct jv **errors)
{
    const char *name =
        is_absent(jv_get(body, "for_s")) && !is_absent(jv_get(body, "expires_s")) ? "expires_s" : "for_s";
    const struct jv *seconds = jv_get(body, name), *until = jv_get(body, "until");
    struct str text = text_of(until);
    int64_t n, at_ms;
    params_reason(body, r, errors);
    if (!r->reason.len && !(*errors && jv_get(*errors, "reason")))
        errors_add(errors, "reason", why_needed);
    if (!is_absent(seconds) && !is_absent(until)) {
        errors_add(errors, "until", "does not go with for_s");
    } else if (!is_absent(seconds)) {
        if (!jv_int(seconds, &n) || n < 1 || n > AHEAD_MAX_MS / 1000)
            errors_add(errors, name, "must be an integer of 1 to 31622400");
        else
            r->for_ms = (uint64_t)n * 1000;
    } else if (!is_absent(until)) {
        if (!clock_read(text.p, text.len, &at_ms))
            errors_add(errors, "until", "must be a time in UTC like 2026-01-31T06:00:00Z");
        else if (at_ms <= now_unix_ms - CLOCK_ERROR_MS || at_ms > now_unix_ms + AHEAD_MAX_MS)
            errors_add(errors, "until", "must lie in the next 366 days");
        else
            r->until_ms = (uint64_t)at_ms;
    }
}

/* Reads a part of the queue, narrowed by portal, action, batch_id. A dispatcher decides whether it exists. */
void params_scope(const struct jv *body, struct msg_REQUEST *r, struct jv **errors)
{
    const struct jv *portal = body ? jv_get(body, "portal") : NULL, *action = body ? jv_get(body, "action") : NULL,
                    *batch = body ? jv_get(body, "batch_id") : NULL;
    if (!is_absent(portal) && !portal_ok(text_of(portal)))
        errors_add(errors, "portal", why_portal);
    else if (!is_absent(portal))
        r->portal = text_of(portal);
    if (!is_absent(action) && !worker_name_ok(text_of(action)))
        errors_add(errors, "action", "must be the name of a log-in");
    else if (!is_absent(action))
        r->action = text_of(action);
    if (!is_absent(batch) && !jv_id(batch, &r->batch_id))
        errors_add(errors, "batch_id", why_int);
}

/* ---- many jobs at once -------------------------------------------------------------------------------------- */

struct filter {
    struct msg_REQUEST *r;
    struct jv **errors;
};

static void filter_number(struct filter *f, const char *key, const struct jv *v, uint64_t *out)
{
    if (!jv_id(v, out))
        errors_add(f->errors, key, why_int);
}

/* An unknown member would make a filter match more than intended, so it is refused. */
static void filter_member(void *arg, const char *key, struct jv *v)
{
    static const char *const states[] = {"queued", "running", "retrying", "done", "failed", "cancelled"};
    struct filter *f = arg;
    struct str text = text_of(v);
    bool is_state = false;
    if (is_absent(v))
        return;
    for (unsigned i = 0; i < sizeof states / sizeof states[0]; i++)
        is_state |= str_is(text, states[i]);
    if (strcmp(key, "company_id") == 0)
        filter_number(f, key, v, &f->r->company_id);
    else if (strcmp(key, "batch_id") == 0)
        filter_number(f, key, v, &f->r->batch_id);
    else if (strcmp(key, "status") == 0 && is_state)
        f->r->state = text;
    else if (strcmp(key, "portal") == 0 && portal_ok(text))
        f->r->portal = text;
    else if (strcmp(key, "worker") == 0 && worker_name_ok(text))
        f->r->worker = text;
    else if (strcmp(key, "error") == 0 && error_ok(text))
        f->r->error = text;
    else if (strcmp(key, "robot_error") == 0 && robot_error_ok(text))
        f->r->robot_error = text;
    else
        errors_add(
            f->errors, "filter",
            "takes status, portal, company_id, batch_id, worker, error and robot_error, each as in the list of jobs");
}

void params_bulk(const struct jv *body, struct msg_REQUEST *r, bool *is_preview, struct jv **errors)
{
    struct filter f = {r, errors};
    struct str action = text_of(jv_get(body, "action"));
    if (str_is(action, "retry") || str_is(action, "cancel"))
        r->action = action;
    else
        errors_add(errors, "action", "must be retry or cancel");
    if (jv_type(jv_get(body, "filter")) == JV_OBJECT)
        jv_each(jv_get(body, "filter"), filter_member, &f);
    else
        errors_add(errors, "filter", "must be an object, {} for all jobs");
    *is_preview = false;
    body_bool(body, "preview", is_preview, errors);
    params_reason(body, r, errors);
}
