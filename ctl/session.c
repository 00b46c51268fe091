/*
 * session.c - `chasqui sessions`: through a broker, because closing and moving
 * a session calls robots, and only dispatchers do.
 */
#include "ctl/ctl.h"

#include "ctl/http.h"
#include "ctl/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SESSIONS_PATH "/api/v1/ops/sessions"
#define PAGE 200
#define LIMIT_DEFAULT 200
#define LIMIT_MAX 100000
#define SESSION_ID_CHARACTERS_MAX 100

/* Says what the broker answered instead of 2xx. */
static enum ctl_exit refused(struct ctl *c, const struct http_answer *a)
{
    const char *code = jv_str(jv_get(a->body, "error")), *message = jv_str(jv_get(a->body, "message"));
    if (!a->status)
        return ctl_fail(c, "no broker answers at %s: %s", a->url, a->why);
    if (!code)
        return ctl_fail(c, "%s answered %d, which is not an answer of a broker; is ctl.ops_url right?", a->url,
                        a->status);
    return ctl_fail(c, "%s answered %d %s: %s%s", a->url, a->status, code, message ? message : "",
                    a->status == 401 ? " Is ctl.token set, and good?" : "");
}

static bool is_good(const struct http_answer *a)
{
    return a->status >= 200 && a->status < 300 && jv_type(a->body) == JV_OBJECT;
}

/* ---- list ---------------------------------------------------------------------------------------------- */

static const char *const states[] = {"live", "opening", "active", "closing", "closed", "expired", "lost", "migrated"};

static bool query_make(struct ctl *c, struct buf *out)
{
    const char *state = args_value(&c->args, OPT_STATE), *worker = args_value(&c->args, OPT_WORKER);
    uint64_t company_id;
    if (state) {
        unsigned i = 0;
        while (i < sizeof(states) / sizeof(*states) && strcmp(states[i], state) != 0)
            i++;
        if (i == sizeof(states) / sizeof(*states))
            return ctl_usage(c, "--state must be live, opening, active, closing, closed, expired, lost or migrated"),
                   false;
        buf_addf(out, "&state=%s", state);
    }
    if (c->args.n[OPT_COMPANY]) {
        if (!args_company(c, &company_id))
            return false;
        buf_addf(out, "&company_id=%llu", (unsigned long long)company_id);
    }
    if (worker) {
        if (!args_worker_name(c, worker))
            return false;
        buf_adds(out, "&worker=");
        http_escape(out, worker);
    }
    return true;
}

static const char *text_of(const struct jv *session, const char *key, char room[32])
{
    int64_t n;
    const struct jv *v = jv_get(session, key);
    if (!jv_int(v, &n))
        return jv_str(v);
    snprintf(room, 32, "%lld", (long long)n);
    return room;
}

static void session_row(struct table *table, const struct jv *s)
{
    static const char *const keys[] = {"session_id", "company_id", "portal", "worker",
                                       "state",      "reason",     "job_id", "last_activity_at"};
    char room[32];
    for (unsigned i = 0; i < sizeof(keys) / sizeof(*keys); i++)
        table_add(table, text_of(s, keys[i], room));
}

/* One page into `list`; *cursor moves, 0 at the end. */
static enum ctl_exit page_read(struct ctl *c, const char *query, uint64_t limit, int64_t *cursor, struct jv *list)
{
    struct buf path = {0};
    struct http_answer a;
    buf_addf(&path, SESSIONS_PATH "?limit=%llu%s", (unsigned long long)limit, query);
    if (*cursor)
        buf_addf(&path, "&cursor=%lld", (long long)*cursor);
    http_ask(c, false, c->conf->ctl_ops_url, path.data, &a);
    buf_free(&path);
    const struct jv *sessions = jv_get(a.body, "sessions");
    enum ctl_exit code = CTL_DONE;
    if (!is_good(&a) || jv_type(sessions) != JV_ARRAY)
        code = refused(c, &a);
    for (size_t i = 0; code == CTL_DONE && i < jv_len(sessions); i++)
        jv_push(list, jv_copy(jv_at(sessions, i)));
    if (!jv_int(jv_get(a.body, "next_cursor"), cursor))
        *cursor = 0;
    jv_free(a.body);
    return code;
}

static enum ctl_exit sessions_show(struct ctl *c, struct jv *list, bool more)
{
    static const char *const heads[] = {"~SESSION", ">COMPANY", "PORTAL",        "ROBOT", "STATE",
                                        "REASON",   ">JOB",     "LAST ACTIVITY", NULL};
    if (c->args.json) {
        struct jv *body = jv_new_object();
        jv_set(body, "sessions", list);
        jv_set_bool(body, "more", more);
        return ctl_json(body);
    }
    struct table *table = table_new(heads);
    for (size_t i = 0; i < jv_len(list); i++)
        session_row(table, jv_at(list, i));
    table_print(&table, "no such sessions");
    if (more)
        fprintf(stderr, "there are more; --limit shows them\n");
    jv_free(list);
    return CTL_DONE;
}

enum ctl_exit sessions_list(struct ctl *c)
{
    struct buf query = {0};
    const char *text = args_value(&c->args, OPT_LIMIT);
    uint64_t limit = LIMIT_DEFAULT;
    int64_t cursor = 0;
    buf_adds(&query, "");
    if (!query_make(c, &query) || (text && !args_number(c, "--limit", text, 1, LIMIT_MAX, &limit))) {
        buf_free(&query);
        return CTL_USAGE;
    }
    struct jv *list = jv_new_array();
    enum ctl_exit code;
    do {
        uint64_t left = limit - jv_len(list);
        code = page_read(c, query.data, left < PAGE ? left : PAGE, &cursor, list);
    } while (code == CTL_DONE && cursor && jv_len(list) < limit);
    buf_free(&query);
    if (code == CTL_DONE)
        return sessions_show(c, list, cursor != 0);
    jv_free(list);
    return code;
}

/* ---- close, migrate ------------------------------------------------------------------------------------ */

static enum ctl_exit change(struct ctl *c, const char *what, const char *done)
{
    const char *id = c->args.word[0];
    struct buf path = {0};
    struct http_answer a;
    if (!*id || strlen(id) > 4 * SESSION_ID_CHARACTERS_MAX)
        return ctl_usage(c, "ID is a session's id of 1 to %d characters", SESSION_ID_CHARACTERS_MAX);
    buf_adds(&path, SESSIONS_PATH "/");
    http_escape(&path, id);
    buf_addf(&path, "/%s", what);
    http_ask(c, true, c->conf->ctl_ops_url, path.data, &a);
    buf_free(&path);
    if (!is_good(&a)) {
        enum ctl_exit code = refused(c, &a);
        jv_free(a.body);
        return code;
    }
    if (c->args.json)
        return ctl_json(a.body);
    jv_free(a.body);
    return ctl_say(c, "session %s %s", id, done);
}

enum ctl_exit sessions_close(struct ctl *c)
{
    return change(c, "close", "is closed");
}

enum ctl_exit sessions_migrate(struct ctl *c)
{
    return change(c, "migrate", "will move to another robot; chasqui sessions list shows when");
}
