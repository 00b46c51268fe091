/* SPDX-License-Identifier: MIT */
/*
 * worker_test.c - `chasqui worker test URL`: is that a robot? Makes the calls of docs/robots.md and says what is
 * there, what is missing, and what that costs.
 *
 * Knows no database. The log-ins are those of a company that does not exist (TEST_COMPANY), so that no epoch of a real
 * company is raised on the robot; the sessions are closed at the end. Must never print the credentials.
 */
#include "ctl/ctl.h"

#include "common/boots.h"
#include "common/id.h"
#include "common/text.h"
#include "common/url.h"
#include "ctl/http.h"
#include "ctl/plain.h"
#include "ctl/table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TEST_COMPANY 9007199254740991LL
#define CREDENTIALS_MAX 16384
#define CALL_MS 10000
#define LOGIN_MS 150000
#define HEALTH_MS 1000 /* healthd.timeout_ms */
#define HEALTH_EVERY_MS 200
#define DEPTH_MAX 8 /* of the search for a file token in a list */
#define SESSION_ROOM 101
#define SESSIONS_MAX 4 /* one for each log-in that is tried */

enum probe {
#define PROBE(symbol, is_mandatory, name, cost) PROBE_##symbol,
#include "ctl/worker_test.def"
#undef PROBE
    PROBES
};

static const struct {
    const char *key, *name, *cost;
    bool is_mandatory;
} probe_table[PROBES] = {
#define PROBE(symbol, is_mandatory, name, cost) {#symbol, name, cost, is_mandatory},
#include "ctl/worker_test.def"
#undef PROBE
};

enum outcome { SKIPPED, PASSED, MISSING };

struct test {
    struct ctl *c;
    struct http_line *line, *beside;
    const char *portal;
    struct jv *credentials; /* NULL = none were given */
    long long epoch;
    char session[SESSIONS_MAX][SESSION_ROOM]; /* those that were opened, oldest first; none twice */
    unsigned n_sessions;
    char token[520], key[80];
    enum outcome outcome[PROBES];
    char detail[PROBES][200];
};

static void note(struct test *t, enum probe p, bool is_there, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void note(struct test *t, enum probe p, bool is_there, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(t->detail[p], sizeof(t->detail[p]), fmt, ap);
    va_end(ap);
    t->outcome[p] = is_there ? PASSED : MISSING;
}

/* ---- calls -------------------------------------------------------------------------------------------------- */

/* Makes the call; its body as JSON, or NULL. The caller frees it. */
static struct jv *ask(struct http_line *line, struct http_call *call)
{
    enum jv_bad why;
    if (!call->timeout_ms)
        call->timeout_ms = CALL_MS;
    http_line_call(line, call);
    struct jv *body = call->status && call->body.len ? jv_parse(call->body.data, call->body.len, &why) : NULL;
    buf_free(&call->body);
    return body;
}

/* What came, for people. */
static const char *came(const struct http_call *call, char out[120])
{
    if (!call->status)
        snprintf(out, 120, "no answer: %.100s", call->why);
    else
        snprintf(out, 120, "%d, %s, in %ld ms", call->status, *call->type ? call->type : "no content type",
                 call->ms);
    return out;
}

static bool is_true(const struct jv *body, const char *key)
{
    bool b;
    return jv_bool(jv_get(body, key), &b) && b;
}

static bool is_gone(const struct http_call *call, const struct jv *body)
{
    return call->status == 404 && jv_type(body) == JV_OBJECT;
}

static bool is_healthy(const struct http_call *call, const struct jv *body)
{
    int64_t n;
    return call->status == 200 && is_true(body, "ok") && jv_int(jv_get(body, "sessions"), &n) && n >= 0;
}

/* ---- without a log-in --------------------------------------------------------------------------------------- */

static void health_try(struct test *t)
{
    struct http_call call = {
        .method = "GET", .path = "/health", .timeout_ms = HEALTH_MS, .request_id = "worker-test-1"};
    char text[120], boot[BOOT_ROOM], header[BOOT_ROOM];
    int64_t sessions = 0, capacity = 0;
    struct jv *body = ask(t->line, &call);
    boot_id_read(body, "", boot);
    text_token(header, call.boot, strlen(call.boot));
    jv_int(jv_get(body, "sessions"), &sessions);
    bool is_good = is_healthy(&call, body);
    note(t, PROBE_HEALTH, is_good, is_good ? "%s, %lld sessions" : "%s", came(&call, text), (long long)sessions);
    if (is_good) {
        bool has_capacity = jv_int(jv_get(body, "capacity"), &capacity) && capacity > 0;
        note(t, PROBE_CAPACITY, has_capacity, has_capacity ? "%lld" : "not in /health", (long long)capacity);
        note(t, PROBE_BOOT, *boot && strcmp(boot, header) == 0, "%s",
             !*boot       ? "not in /health"
             : *call.boot ? "in /health and in X-Robot-Boot"
                          : "in /health, not in the header X-Robot-Boot");
        note(t, PROBE_REQUEST_ID, strcmp(call.echoed, "worker-test-1") == 0, "%s",
             *call.echoed ? call.echoed : "no header X-Request-Id");
    }
    jv_free(body);
}

static void connection_try(struct test *t)
{
    struct http_call head = {.method = "HEAD", .path = "/health"}, again = {.method = "GET", .path = "/health"};
    char text[120];
    jv_free(ask(t->line, &head));
    note(t, PROBE_HEAD, head.status == 200, "%s", came(&head, text));
    jv_free(ask(t->line, &again));
    jv_free(ask(t->line, &again));
    note(t, PROBE_KEEP_ALIVE, again.status && again.is_reused,
         again.is_reused ? "one connection for several calls" : "the robot closes them");
}

static void unknown_try(struct test *t)
{
    struct http_call path = {.method = "GET", .path = "/chasqui-worker-test/no-such-path"};
    struct buf list_path = {0};
    char text[120];
    jv_free(ask(t->line, &path));
    note(t, PROBE_UNKNOWN_PATH, path.status >= 400 && path.status < 500, "%s", came(&path, text));
    buf_addf(&list_path, "/%s/buzon/list?session_id=worker-test-unknown&page=1", t->portal);
    struct http_call list = {.method = "GET", .path = list_path.data};
    jv_free(ask(t->line, &list));
    note(t, PROBE_UNKNOWN_SESSION, list.status == 404, "%s", came(&list, text));
    buf_free(&list_path);
}

static void fence_body(const struct test *t, long long epoch, struct buf *out)
{
    buf_addf(out, "{\"company_id\":%lld,\"portal\":\"%s\",\"epoch\":%lld}", TEST_COMPANY, t->portal, epoch);
}

static void optional_try(struct test *t)
{
    struct http_call list = {.method = "GET", .path = "/sessions"};
    struct http_call close = {.method = "DELETE", .path = "/sessions/worker-test-unknown"};
    struct buf body_text = {0};
    char text[120];
    struct jv *body = ask(t->line, &list);
    bool is_list = list.status == 200 && jv_type(jv_get(body, "sessions")) == JV_ARRAY;
    note(t, PROBE_SESSIONS, is_list, is_list ? "%s, %zu of them" : "%s", came(&list, text),
         jv_len(jv_get(body, "sessions")));
    jv_free(body);
    body = ask(t->line, &close);
    note(t, PROBE_DELETE, is_gone(&close, body), "%s", came(&close, text));
    jv_free(body);
    fence_body(t, 0, &body_text);
    struct http_call fence = {.method = "POST", .path = "/sessions/fence", .json = body_text.data};
    body = ask(t->line, &fence);
    note(t, PROBE_FENCE, fence.status == 200 && is_true(body, "ok"), "%s", came(&fence, text));
    jv_free(body);
    buf_free(&body_text);
}

/* ---- with one ----------------------------------------------------------------------------------------------- */

/* Logs in; the answer is the caller's to free. With `slowest_ms` health is asked all the while. */
static struct jv *login(struct test *t, const char *job, long long epoch, struct http_call *call,
                        struct http_busy *busy)
{
    char path[80];
    enum jv_bad why;
    size_t len;
    struct jv *fields = jv_copy(t->credentials);
    snprintf(path, sizeof(path), "/%s/login", t->portal);
    snprintf(t->key, sizeof(t->key), "%s.%lld", job, epoch);
    jv_set_int(fields, "company_id", TEST_COMPANY);
    jv_set_str(fields, "portal", t->portal);
    jv_set_str(fields, "job_uid", job);
    jv_set_int(fields, "epoch", epoch);
    char *json = jv_dump(fields, &len);
    *call = (struct http_call){
        .method = "POST", .path = path, .json = json, .idempotency_key = t->key, .timeout_ms = LOGIN_MS};
    if (busy)
        http_line_call_busy(t->line, call, t->beside, busy);
    else
        http_line_call(t->line, call);
    struct jv *body = call->status && call->body.len ? jv_parse(call->body.data, call->body.len, &why) : NULL;
    buf_free(&call->body);
    memset(json, 0, len);
    free(json);
    jv_wipe(fields);
    call->path = call->json = NULL;
    return body;
}

/* Did that open a session? Remembers it for the close. */
static bool session_take(struct test *t, const struct http_call *call, const struct jv *body)
{
    const char *id = jv_str(jv_get(body, "session_id"));
    if (call->status / 100 != 2 || !is_true(body, "ok") || !id || !*id || strlen(id) >= SESSION_ROOM)
        return false;
    for (unsigned i = 0; i < t->n_sessions; i++)
        if (strcmp(t->session[i], id) == 0)
            return true;
    if (t->n_sessions < SESSIONS_MAX)
        strcpy(t->session[t->n_sessions++], id);
    return true;
}

static const char *refusal(const struct jv *body)
{
    const char *error = jv_str(jv_get(body, "error"));
    return error ? error : "";
}

static bool login_try(struct test *t)
{
    struct http_call call;
    struct http_busy busy = {.path = "/health", .timeout_ms = HEALTH_MS, .every_ms = HEALTH_EVERY_MS};
    char text[120];
    struct jv *body = login(t, "WORKERTEST01", t->epoch, &call, &busy);
    bool is_open = session_take(t, &call, body);
    note(t, PROBE_LOGIN, is_open, "%s%s%.60s", came(&call, text), *refusal(body) ? ", " : "", refusal(body));
    jv_free(body);
    if (busy.n || busy.n_failed)
        note(t, PROBE_HEALTH_BUSY, !busy.n_failed, "%u calls, the slowest %ld ms, %u not within %d ms",
             busy.n + busy.n_failed, busy.slowest_ms, busy.n_failed, HEALTH_MS);
    else if (is_open)
        note(t, PROBE_HEALTH_BUSY, true, "the log-in was too short to ask");
    return is_open;
}

/* Log-ins that must not open another session. They come after the calls that need the first one. */
static void repeat_try(struct test *t)
{
    struct http_call call;
    char text[120];
    unsigned had = t->n_sessions;
    struct jv *body = login(t, "WORKERTEST01", t->epoch, &call, NULL);
    bool is_same = session_take(t, &call, body) && t->n_sessions == had;
    note(t, PROBE_KEY, is_same, "%s", is_same ? "the same key, the same session" : came(&call, text));
    jv_free(body);
    body = login(t, "WORKERTEST02", t->epoch, &call, NULL);
    session_take(t, &call, body);
    note(t, PROBE_STALE, call.status == 409 && strcmp(refusal(body), "stale_epoch") == 0, "%s%s%.60s",
         came(&call, text), *refusal(body) ? ", " : "", refusal(body));
    jv_free(body);
}

/* The first file_token anywhere in a list. */
static void token_find(const struct jv *v, unsigned depth, char out[520])
{
    const char *token = jv_str(jv_get(v, "file_token"));
    if (token && *token && strlen(token) <= 512)
        snprintf(out, 520, "%s", token);
    for (size_t i = 0; depth < DEPTH_MAX && !*out && jv_type(v) == JV_ARRAY && i < jv_len(v); i++)
        token_find(jv_at(v, i), depth + 1, out);
    static const char *const keys[] = {"items", "data",     "messages",   "documents",
                                       "files", "mensajes", "documentos", "buzon"};
    for (unsigned i = 0; depth < DEPTH_MAX && !*out && jv_type(v) == JV_OBJECT && i < sizeof(keys) / sizeof(*keys);
         i++)
        token_find(jv_get(v, keys[i]), depth + 1, out);
}

static int list_status(struct test *t, const char *session, bool wants_token, char text[120])
{
    struct buf path = {0};
    buf_addf(&path, "/%s/buzon/list?session_id=", t->portal);
    http_escape(&path, session);
    buf_adds(&path, "&page=1");
    struct http_call call = {.method = "GET", .path = path.data, .timeout_ms = 30000};
    struct jv *body = ask(t->line, &call);
    bool is_json = jv_type(body) == JV_OBJECT || jv_type(body) == JV_ARRAY;
    if (wants_token)
        token_find(body, 0, t->token);
    came(&call, text);
    jv_free(body);
    buf_free(&path);
    return call.status == 200 && !is_json ? -1 : call.status;
}

static void file_try(struct test *t)
{
    char text[120];
    struct buf path = {0};
    if (!*t->token) {
        snprintf(t->detail[PROBE_FILE], sizeof(t->detail[PROBE_FILE]), "the list's first page has no file_token");
        return;
    }
    buf_adds(&path, "/files/");
    http_escape(&path, t->token);
    buf_adds(&path, "?session_id=");
    size_t upto = path.len;
    http_escape(&path, t->session[0]);
    struct http_call file = {.method = "GET", .path = path.data, .timeout_ms = 30000};
    jv_free(ask(t->line, &file));
    note(t, PROBE_FILE, file.status == 200, "%s", came(&file, text));
    path.len = upto;
    buf_adds(&path, "worker-test-unknown");
    struct http_call foreign = {.method = "GET", .path = path.data};
    jv_free(ask(t->line, &foreign));
    note(t, PROBE_FILE_WALL, foreign.status == 404 || foreign.status == 403, "%s", came(&foreign, text));
    buf_free(&path);
}

static void second_try(struct test *t)
{
    struct http_call call;
    char text[120];
    unsigned had = t->n_sessions;
    struct jv *body = login(t, "WORKERTEST03", t->epoch + 1, &call, NULL);
    bool is_open = session_take(t, &call, body) && t->n_sessions > had;
    bool is_older_there = list_status(t, t->session[had - 1], false, text) == 200;
    note(t, PROBE_SECOND, !is_open || !is_older_there, "%s",
         !is_open         ? "it is refused while a session lives"
         : is_older_there ? "both sessions answer"
                          : "the older session ended");
    jv_free(body);
}

/* The robot's answer to the close of a session; 0 = it does not have the shape of one. */
static int close_one(struct test *t, const char *session, char text[120])
{
    struct buf path = {0};
    buf_adds(&path, "/sessions/");
    http_escape(&path, session);
    struct http_call call = {.method = "DELETE", .path = path.data, .timeout_ms = 30000};
    struct jv *body = ask(t->line, &call);
    bool is_shaped = is_gone(&call, body) || (call.status == 200 && is_true(body, "ok"));
    came(&call, text);
    jv_free(body);
    buf_free(&path);
    return is_shaped ? call.status : 0;
}

/* The newest session lives: 404 for it would mean that the robot does not know the call. */
static void close_try(struct test *t)
{
    char text[120];
    const char *newest = t->session[t->n_sessions - 1];
    int status = close_one(t, newest, text);
    note(t, PROBE_CLOSE, status == 200, "%s", text);
    if (status == 200) {
        int listed = list_status(t, newest, false, text);
        note(t, PROBE_CLOSED_LIST, listed == 404, "%s", text);
    }
    for (unsigned i = 0; i + 1 < t->n_sessions; i++)
        close_one(t, t->session[i], text);
}

static void session_try(struct test *t)
{
    char text[120];
    if (!login_try(t))
        return;
    int status = list_status(t, t->session[0], true, text);
    note(t, PROBE_LIST, status == 200, status == -1 ? "%s: not JSON" : "%s", text);
    file_try(t);
    repeat_try(t);
    second_try(t);
    close_try(t);
}

/* ---- the command -------------------------------------------------------------------------------------------- */

static bool credentials_read(struct ctl *c, struct jv **out)
{
    const char *path = args_value(&c->args, OPT_CREDENTIALS);
    char text[CREDENTIALS_MAX + 1];
    enum jv_bad why;
    *out = NULL;
    if (!path)
        return true;
    FILE *in = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    if (!in)
        return ctl_fail(c, "%.200s cannot be read", path), false;
    size_t len = fread(text, 1, sizeof(text), in);
    if (in != stdin)
        fclose(in);
    *out = len <= CREDENTIALS_MAX ? jv_parse(text, len, &why) : NULL;
    explicit_bzero(text, sizeof(text));
    if (jv_type(*out) == JV_OBJECT)
        return true;
    jv_wipe(*out);
    return ctl_fail(c, "%.200s must hold one JSON object of at most 16 KiB", path), false;
}

static const char *outcome_text(const struct test *t, unsigned i)
{
    static const char *const text[] = {[SKIPPED] = "not tried", [PASSED] = "ok", [MISSING] = "missing"};
    return t->outcome[i] == MISSING && probe_table[i].is_mandatory ? "FAILED" : text[t->outcome[i]];
}

static void report_json(const struct test *t, bool is_good)
{
    struct jv *body = jv_new_object(), *list = jv_new_array();
    for (unsigned i = 0; i < PROBES; i++) {
        struct jv *one = jv_new_object();
        jv_set_str(one, "probe", probe_table[i].key);
        jv_set_str(one, "name", probe_table[i].name);
        jv_set_bool(one, "mandatory", probe_table[i].is_mandatory);
        jv_set_str(one, "outcome", outcome_text(t, i));
        jv_set_str(one, "detail", *t->detail[i] ? t->detail[i] : NULL);
        jv_set_str(one, "cost", t->outcome[i] == MISSING ? probe_table[i].cost : NULL);
        jv_push(list, one);
    }
    jv_set_bool(body, "ok", is_good);
    jv_set(body, "probes", list);
    ctl_json(body);
}

static void report_print(const struct test *t)
{
    static const char *const heads[] = {"", "TRIED", "1~CAME", NULL};
    struct table *table = table_new(heads);
    for (unsigned i = 0; i < PROBES; i++) {
        table_add(table, outcome_text(t, i));
        table_add(table, probe_table[i].name);
        table_add(table, t->detail[i]);
    }
    table_print(&table, "");
    for (unsigned i = 0; i < PROBES; i++)
        if (t->outcome[i] == MISSING)
            plain_line(stdout, "Without \"%s\": %s.", probe_table[i].name, probe_table[i].cost);
}

static enum ctl_exit report(struct test *t)
{
    bool is_good = true;
    for (unsigned i = 0; i < PROBES; i++)
        is_good &= t->outcome[i] != MISSING || !probe_table[i].is_mandatory;
    if (t->c->args.json) {
        report_json(t, is_good);
        return is_good ? CTL_DONE : CTL_FAILED;
    }
    report_print(t);
    if (!is_good)
        return ctl_fail(t->c, "the mandatory part of the contract is not met");
    plain_line(stdout, t->credentials
                           ? "The mandatory part of the contract is met."
                           : "What was tried of the mandatory part is met; --credentials FILE tries the rest.");
    return CTL_DONE;
}

enum ctl_exit worker_test(struct ctl *c)
{
    struct test t = {.c = c, .portal = "sunat", .epoch = (long long)time(NULL)};
    char base_url[256];
    const char *why = "", *portal = args_value(&c->args, OPT_PORTAL);
    if (!url_normalise(c->args.word[0], base_url, sizeof(base_url), &why))
        return ctl_usage(c, "%.200s is not a URL that can be used: %s", c->args.word[0], why);
    if (portal && !args_portal(c, &t.portal))
        return CTL_USAGE;
    if (!credentials_read(c, &t.credentials))
        return CTL_FAILED;
    t.line = http_line_new(base_url);
    t.beside = http_line_new(base_url);
    health_try(&t);
    if (t.outcome[PROBE_HEALTH] == PASSED) {
        connection_try(&t);
        unknown_try(&t);
        optional_try(&t);
        if (t.credentials)
            session_try(&t);
    }
    http_line_free(&t.line);
    http_line_free(&t.beside);
    jv_wipe(t.credentials);
    return report(&t);
}
