/* SPDX-License-Identifier: MIT */
/*
 * doctor.c - `chasqui doctor`: the database's part, then the broker's, which
 * asks the robots and knows the processes. Reads only.
 */
#include "ctl/doctor.h"

#include "ctl/ctl.h"
#include "ctl/http.h"
#include "ctl/plain.h"

#include <stdio.h>
#include <string.h>

#define DOCTOR_PATH "/api/v1/ops/doctor"
#define STATS_PATH "/api/v1/ops/stats?history=0"

static void findings_merge(struct findings *f, const struct jv *list)
{
    for (size_t i = 0; i < jv_len(list); i++) {
        struct jv *one = jv_at(list, i);
        const char *level = jv_str(jv_get(one, "level"));
        f->broken += level && strcmp(level, "broken") == 0;
        jv_push(f->list, jv_copy(one));
    }
}

static bool is_found(const struct findings *f, const char *check)
{
    for (size_t i = 0; i < jv_len(f->list); i++) {
        const char *known = jv_str(jv_get(jv_at(f->list, i), "check"));
        if (known && strcmp(known, check) == 0)
            return true;
    }
    return false;
}

enum asked { ASKED_NOBODY, ASKED_BROKER, ASKED_ROBOTS }; /* which answered: none, only a broker, the robots too */

/* What the robots hold. */
static enum asked ask_robots(struct ctl *c, struct findings *f)
{
    struct http_answer a;
    char text[1000];
    if (!c->conf->ctl_token) {
        finding_add(f, FINDING_NOTE, "robots_not_asked", "only the database was checked: ctl.token is not set",
                    "chasqui token create --company '*' --ability ops:read; put it into ctl.token");
        return ASKED_NOBODY;
    }
    http_ask(c, &(struct http_request){.method = "GET", .base_url = c->conf->ctl_ops_url, .path = DOCTOR_PATH},
             &a);
    const struct jv *list = jv_get(a.body, "findings");
    bool good = a.status == 200 && jv_type(list) == JV_ARRAY;
    if (good) {
        findings_merge(f, list);
    } else if (a.status) {
        const char *code = jv_str(jv_get(a.body, "error"));
        snprintf(text, sizeof(text), "what the robots hold was not checked: %s answered %d %s", a.url, a.status,
                 code ? code : "");
        finding_add(f, FINDING_NOTE, "robots_not_asked", text,
                    a.status < 500 ? "ctl.token needs the ability ops:read"
                                   : "it can be checked once a dispatcher and the database are there");
    } else {
        snprintf(text, sizeof(text), "only the database was checked: no broker answers at %s: %s", a.url, a.why);
        finding_add(f, FINDING_DOWN, "no_broker", text, "start chasqui-broker, or correct ctl.ops_url");
    }
    jv_free(a.body);
    return good ? ASKED_ROBOTS : a.status ? ASKED_BROKER : ASKED_NOBODY;
}

/* What the broker says is wrong with the whole of it: processes that are gone, robots that are down, a queue that does not move. No
 * promise is broken by that; its worst level says that nothing can be served. */
static void ask_words(struct ctl *c, struct findings *f)
{
    struct http_answer a;
    http_ask(c, &(struct http_request){.method = "GET", .base_url = c->conf->ctl_ops_url, .path = STATS_PATH}, &a);
    const struct jv *words = jv_get(a.body, "words");
    for (size_t i = 0; i < jv_len(words); i++) {
        const struct jv *one = jv_at(words, i);
        const char *level = jv_str(jv_get(one, "level")), *code = jv_str(jv_get(one, "code"));
        const char *text = jv_str(jv_get(one, "text")), *todo = jv_str(jv_get(one, "todo"));
        if (level && strcmp(level, "ok") != 0 && code && text && !is_found(f, code))
            finding_add(f, strcmp(level, "bad") == 0 ? FINDING_DOWN : FINDING_NOTE, code, text, todo ? todo : "");
    }
    jv_free(a.body);
}

static void print_level(const struct findings *f, const char *wanted)
{
    for (size_t i = 0; i < jv_len(f->list); i++) {
        const struct jv *one = jv_at(f->list, i);
        const char *level = jv_str(jv_get(one, "level")), *check = jv_str(jv_get(one, "check")),
                   *text = jv_str(jv_get(one, "text")), *remedy = jv_str(jv_get(one, "do"));
        if (!level || strcmp(level, wanted) != 0)
            continue;
        plain_line(stdout, "%-7s %s: %s", level, check ? check : "?", text ? text : "");
        if (remedy && *remedy)
            plain_line(stdout, "        do: %s", remedy);
    }
}

static void print_all(const struct findings *f, enum asked asked)
{
    print_level(f, "broken");
    print_level(f, "down");
    print_level(f, "note");
    if (f->broken)
        printf("%u broken\n", f->broken);
    else
        printf("every promise holds: %u checks of the database%s\n", f->checks,
               asked == ASKED_ROBOTS ? ", and what the robots hold" : "");
    if (f->down)
        printf("requests cannot be served\n");
}

enum ctl_exit doctor_command(struct ctl *c)
{
    struct findings f = {.list = jv_new_array()};
    enum db_rc rc = doctor_database(c->db, c->conf->queue_lease_ms, &f);
    if (rc) {
        jv_free(f.list);
        return ctl_db_fail(c, rc);
    }
    doctor_hosts(c->conf, &f);
    enum asked asked = ask_robots(c, &f);
    if (asked != ASKED_NOBODY)
        ask_words(c, &f);
    bool is_well = !f.broken && !f.down;
    if (c->args.json) {
        struct jv *body = jv_new_object();
        jv_set_bool(body, "ok", is_well);
        jv_set_bool(body, "promises_kept", !f.broken);
        jv_set_bool(body, "serving", !f.down);
        jv_set_bool(body, "robots_asked", asked == ASKED_ROBOTS);
        jv_set(body, "findings", f.list);
        ctl_json(body);
    } else {
        print_all(&f, asked);
        jv_free(f.list);
    }
    return is_well ? CTL_DONE : CTL_FAILED;
}
