/* SPDX-License-Identifier: MIT */
/*
 * events.c - `chasqui events`: what changes, as it changes; a line each. When
 * the connection is lost it is made again: what happened meanwhile is missed, and
 * that is said.
 */
#include "ctl/broker.h"
#include "ctl/plain.h"

#include "common/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define EVENTS_PATH "/api/v1/ops/events?stats=0"
#define AGAIN_S 2
#define LINE_BYTES_MAX 65536
#define NAME_BYTES 32

struct follower {
    struct ctl *c;
    struct buf line;       /* not whole yet */
    char name[NAME_BYTES]; /* of the event whose data comes */
    bool has_heard;
};

/* "portal sunat, batch 7  begun  by token:3:ana until 2026-01-31T06:00:00.000Z: the portal is down". */
static void print_pause(const char *now, const struct jv *body)
{
    static const char *const keys[] = {"portal", "action", "batch_id"}, *const names[] = {"portal", "action",
                                                                                          "batch"};
    const char *state = jv_str(jv_get(body, "state")), *by = jv_str(jv_get(body, "by")),
               *until = jv_str(jv_get(body, "until")), *reason = jv_str(jv_get(body, "reason"));
    bool has_begun = state && strcmp(state, "begun") == 0;
    char room[TEXT_ROOM];
    struct buf what = {0};
    for (unsigned i = 0; i < 3; i++) {
        const char *value = broker_text(body, keys[i], room);
        if (value)
            buf_addf(&what, "%s%s %s", what.len ? ", " : "", names[i], value);
    }
    plain_line(stdout, "%s  pause    %s  %s  %s%s%s%s%s%s", now, what.len ? what.data : "the queue",
               state ? state : "-", by ? "by " : "",
               by          ? by
               : has_begun ? ""
                           : "its time was over",
               until ? " until " : "", until ? until : "", has_begun && reason ? ": " : "",
               has_begun && reason ? reason : "");
    buf_free(&what);
}

static void print_event(struct follower *f, const char *data, size_t len)
{
    enum jv_bad why;
    struct jv *body = jv_parse(data, len, &why);
    char at[CLOCK_TEXT_BYTES], room[TEXT_ROOM], other[TEXT_ROOM];
    const char *now = clock_text(clock_unix_ms(), at);
    if (f->c->args.json) {
        struct jv *one = jv_new_object();
        jv_set_str(one, "at", now);
        jv_set_str(one, "event", f->name);
        jv_set(one, "data", body);
        ctl_json(one);
    } else if (strcmp(f->name, "lost") == 0) {
        plain_line(stdout, "%s  (%s events were lost)", now, broker_text(body, "count", room));
        jv_free(body);
    } else if (strcmp(f->name, "portal") == 0) {
        const char *portal = jv_str(jv_get(body, "portal")), *state = jv_str(jv_get(body, "state")),
                   *why_it = jv_str(jv_get(body, "why"));
        plain_line(stdout, "%s  portal   %s  %s%s%s", now, portal ? portal : "-", state ? state : "-",
                   why_it ? "  " : "", why_it ? why_it : "");
        jv_free(body);
    } else if (strcmp(f->name, "pause") == 0) {
        print_pause(now, body);
        jv_free(body);
    } else {
        const char *id = broker_text(body, "id", room), *company = broker_text(body, "company_id", other);
        const char *state = jv_str(jv_get(body, "state")),
                   *whose = strcmp(f->name, "session") == 0 ? "of job " : "";
        bool has_company = company && strcmp(company, "0") != 0;
        plain_line(stdout, "%s  %-8s %s%s  %s%s%s", now, f->name, whose, id ? id : "-", state ? state : "-",
                   has_company ? "  company " : "", has_company ? company : "");
        jv_free(body);
    }
    fflush(stdout);
}

static void line_take(struct follower *f, const char *line, size_t len)
{
    static const char event[] = "event: ", data[] = "data: ";
    size_t n = sizeof(event) - 1, m = sizeof(data) - 1;
    if (len > n && memcmp(line, event, n) == 0)
        snprintf(f->name, sizeof(f->name), "%.*s", (int)(len - n), line + n);
    else if (len > m && memcmp(line, data, m) == 0 && f->name[0])
        print_event(f, line + m, len - m);
    else if (!len)
        f->name[0] = 0;
}

/* A piece of the answer; false = it is not what a broker sends. */
static bool piece_take(void *arg, const char *piece, size_t len)
{
    struct follower *f = arg;
    f->has_heard = true;
    while (len) {
        const char *end = memchr(piece, '\n', len);
        size_t n = end ? (size_t)(end - piece) : len;
        buf_add(&f->line, piece, n);
        if (f->line.len > LINE_BYTES_MAX)
            return false;
        if (end) {
            line_take(f, f->line.data, f->line.len);
            buf_clear(&f->line);
            n++;
        }
        piece += n;
        len -= n;
    }
    return ferror(stdout) == 0;
}

enum ctl_exit events_command(struct ctl *c)
{
    struct follower f = {.c = c};
    for (;;) {
        struct http_request request = {.method = "GET",
                                       .base_url = c->conf->ctl_ops_url,
                                       .path = EVENTS_PATH,
                                       .follow = piece_take,
                                       .follow_arg = &f};
        struct http_answer answer;
        f.has_heard = false;
        http_ask(c, &request, &answer);
        bool is_lost = answer.status == 200 || (f.has_heard && !answer.status);
        if (!is_lost) {
            enum ctl_exit code = broker_refused(c, DOOR_OPS, &answer);
            jv_free(answer.body);
            return code;
        }
        jv_free(answer.body);
        if (ferror(stdout))
            return CTL_FAILED;
        fprintf(stderr, "chasqui: the connection was lost; what happens now is missed\n");
        buf_clear(&f.line);
        do {
            sleep(AGAIN_S);
            request.follow = NULL;
            request.path = "/healthz";
            http_ask(c, &request, &answer);
            jv_free(answer.body);
        } while (!answer.status);
        fprintf(stderr, "chasqui: connected again\n");
    }
}
