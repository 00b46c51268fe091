/* SPDX-License-Identifier: MIT */
/*
 * broker.c - what commands share that ask a broker: one place says what is
 * wrong, and names the URL when it may be that.
 */
#include "ctl/broker.h"

#include "common/clock.h"
#include "ctl/known.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 200
#define LIMIT_DEFAULT 200
#define LIMIT_MAX 100000

bool broker_is_good(const struct http_answer *answer)
{
    return answer->status >= 200 && answer->status < 300 && jv_type(answer->body) == JV_OBJECT;
}

struct fields {
    const struct ctl *c;
    struct buf text;
};

static void field_add(void *arg, const char *key, struct jv *why)
{
    struct fields *f = arg;
    for (size_t i = 0; i < jv_len(why); i++) {
        buf_addf(&f->text, " %s %s", key, jv_str(jv_at(why, i)) ? jv_str(jv_at(why, i)) : "is not good");
        known_hint(f->c, key, &f->text);
        buf_adds(&f->text, ".");
    }
}

enum ctl_exit broker_refused(struct ctl *c, enum door door, const struct http_answer *a)
{
    const char *code = jv_str(jv_get(a->body, "error")), *message = jv_str(jv_get(a->body, "message"));
    const char *key = door == DOOR_APP ? "ctl.api_url" : "ctl.ops_url";
    struct fields fields = {.c = c};
    if (!a->status)
        return ctl_fail(c, "no broker answers at %s: %s", a->url, a->why);
    if (!code)
        return ctl_fail(c, "%s answered %d, which is not an answer of a broker; is %s right?", a->url, a->status,
                        key);
    jv_each(jv_get(a->body, "errors"), field_add, &fields);
    enum ctl_exit exit =
        ctl_fail(c, "%s: %s%s%s", code, message ? message : "", fields.text.len ? fields.text.data : "",
                 a->status == 401                       ? " Is ctl.token set, and good?"
                 : a->status == 403 && door == DOOR_APP ? " ctl.token needs the ability app for this."
                 : a->status == 403                     ? " ctl.token needs the ability ops for this."
                                                        : "");
    buf_free(&fields.text);
    return exit;
}

bool broker_ask(struct ctl *c, enum door door, struct http_request *request, struct http_answer *answer)
{
    request->base_url = door == DOOR_APP ? c->conf->ctl_api_url : c->conf->ctl_ops_url;
    http_ask(c, request, answer);
    if (broker_is_good(answer))
        return true;
    broker_refused(c, door, answer);
    jv_free(answer->body);
    answer->body = NULL;
    return false;
}

struct jv *broker_get(struct ctl *c, enum door door, const char *path)
{
    struct http_request request = {.method = "GET", .path = path};
    struct http_answer answer;
    broker_ask(c, door, &request, &answer);
    return answer.body;
}

struct jv *broker_post(struct ctl *c, enum door door, const char *path, struct jv *body)
{
    size_t len;
    char *json = body ? jv_dump(body, &len) : NULL;
    struct http_request request = {.method = "POST", .path = path, .json = json};
    struct http_answer answer;
    broker_ask(c, door, &request, &answer);
    free(json);
    jv_free(body);
    return answer.body;
}

struct jv *broker_reason(struct ctl *c)
{
    const char *reason;
    if (!args_reason(c, &reason))
        return NULL;
    struct jv *body = jv_new_object();
    if (reason)
        jv_set_str(body, "reason", reason);
    return body;
}

bool broker_limit(struct ctl *c, uint64_t *out)
{
    const char *text = args_value(&c->args, OPT_LIMIT);
    *out = c->args.n[OPT_CSV] ? INT64_MAX : LIMIT_DEFAULT;
    return !text || args_number(c, "--limit", text, 1, LIMIT_MAX, out);
}

bool broker_pages(struct ctl *c, enum door door, const char *path, const char *query, const char *list,
                  uint64_t limit, broker_page_fn *fn, void *arg, bool *more)
{
    int64_t cursor = 0;
    bool has_cursor = false;
    uint64_t n = 0, before;
    do {
        uint64_t left = limit - n;
        struct buf text = {0};
        buf_addf(&text, "%s?limit=%llu%s", path, (unsigned long long)(left < PAGE ? left : PAGE), query);
        if (has_cursor)
            buf_addf(&text, "&cursor=%lld", (long long)cursor);
        struct jv *page = broker_get(c, door, text.data), *rows = jv_get(page, list);
        buf_free(&text);
        if (jv_type(rows) != JV_ARRAY) {
            if (page)
                ctl_fail(c, "the broker's answer has no list of %s", list);
            jv_free(page);
            return false;
        }
        before = n;
        n += jv_len(rows);
        fn(arg, rows);
        has_cursor = jv_int(jv_get(page, "next_cursor"), &cursor);
        jv_free(page);
    } while (has_cursor && n > before && n < limit);
    *more = has_cursor;
    return true;
}

static void page_keep(void *arg, const struct jv *rows)
{
    for (size_t i = 0; i < jv_len(rows); i++)
        jv_push(arg, jv_copy(jv_at(rows, i)));
}

struct jv *broker_list(struct ctl *c, enum door door, const char *path, const char *query, const char *list,
                       uint64_t limit, bool *more)
{
    struct jv *all = jv_new_array();
    if (broker_pages(c, door, path, query, list, limit, page_keep, all, more))
        return all;
    jv_free(all);
    return NULL;
}

bool broker_has_batch(struct ctl *c, uint64_t batch_id)
{
    char path[80];
    snprintf(path, sizeof(path), "/api/v1/ops/batches/%llu", (unsigned long long)batch_id);
    struct jv *body = broker_get(c, DOOR_OPS, path);
    jv_free(body);
    return body != NULL;
}

void broker_query_add(struct ctl *c, struct buf *query, enum option_id id, const char *name)
{
    const char *value = args_value(&c->args, id);
    if (!value)
        return;
    buf_addf(query, "&%s=", name);
    http_escape(query, value);
}

bool broker_until_add(struct ctl *c, struct buf *query)
{
    const char *until = args_value(&c->args, OPT_UNTIL);
    int64_t at_ms;
    if (until && !clock_read(until, strlen(until), &at_ms))
        return ctl_usage(
                   c,
                   "--until is today, yesterday, a time like 2026-01-31 or \"2026-01-31 06:00\", or in UTC 2026-01-31T06:00:00Z"),
               false;
    broker_query_add(c, query, OPT_UNTIL, "until");
    return true;
}

bool broker_since_add(struct ctl *c, struct buf *query)
{
    const char *since = args_value(&c->args, OPT_SINCE);
    int64_t at_ms;
    uint64_t seconds;
    if (!since)
        return true;
    if (strchr(since, 'T') && clock_read(since, strlen(since), &at_ms)) {
        buf_adds(query, "&since=");
        http_escape(query, since);
        return true;
    }
    if (!args_duration(c, "--since (or today, yesterday, 2026-01-31, \"2026-01-31 06:00\", 2026-01-31T06:00:00Z)",
                       since, AHEAD_DAYS_MAX, &seconds))
        return false;
    buf_addf(query, "&since=%" PRIu64, seconds);
    return true;
}

/* "created_at", and a text as long as 2026-01-31T06:00. */
static bool is_time(const char *key, const char *text)
{
    size_t len = strlen(key);
    return len > 3 && strcmp(key + len - 3, "_at") == 0 && strlen(text) >= 16 && strlen(text) < TEXT_ROOM;
}

const char *broker_text(const struct jv *object, const char *key, char room[TEXT_ROOM])
{
    const struct jv *v = jv_get(object, key);
    const char *text = jv_str(v), *point;
    int64_t n;
    if (jv_int(v, &n)) {
        snprintf(room, TEXT_ROOM, "%lld", (long long)n);
        return room;
    }
    if (!text || !is_time(key, text))
        return text;
    point = strchr(text, '.');
    snprintf(room, TEXT_ROOM, "%.*s%s", (int)(point ? point - text : (long)strlen(text)), text, point ? "Z" : "");
    return room;
}

void broker_cell(struct table *table, const struct jv *object, const char *key)
{
    char room[TEXT_ROOM];
    const char *text = broker_text(object, key, room);
    if (text && is_time(key, text))
        table_addf(table, "%.10s %.5s", text, text + 11);
    else
        table_add(table, text);
}

void broker_done_quiet(const struct jv *rows)
{
    static const char *const said[] = {"robot_status", "robot_error", "robot_message"};
    for (size_t i = 0; i < jv_len(rows); i++) {
        const char *status = jv_str(jv_get(jv_at(rows, i), "status"));
        for (unsigned k = 0; status && strcmp(status, "done") == 0 && k < sizeof(said) / sizeof(*said); k++)
            jv_set(jv_at(rows, i), said[k], NULL);
    }
}

const char *broker_why(const struct jv *one, char *out, size_t room)
{
    const char *detail = jv_str(jv_get(one, "detail")), *more = jv_str(jv_get(one, "why")),
               *until = jv_str(jv_get(one, "until"));
    more = more ? more : jv_str(jv_get(one, "error"));
    if (!detail)
        return NULL;
    snprintf(out, room, "%s%s%s%s%s%s%s", detail, more ? " (" : "", more ? more : "", more ? ")" : "",
             until ? " Until " : "", until ? until : "", until ? "." : "");
    return out;
}
