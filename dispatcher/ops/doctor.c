/* SPDX-License-Identifier: MIT */
/*
 * doctor.c - what only one who can ask the robots knows: does each robot hold
 * what the database says, and no company two sessions? Reads, changes nothing.
 */
#include "dispatcher/ops/doctor.h"
#include "dispatcher/robot/robot_list.h"
#include "dispatcher/robot/robots.h"
#include "dispatcher/wire/reply.h"
#include "dispatcher/wire/request.h"

#include "common/check.h"
#include "common/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct held {                     /* the first session of a company and portal, on some robot */
    char whose[PORTAL_ROOM + 24]; /* its name in held_by */
    char robot[NAME_ROOM], session_id[SESSION_ID_ROOM];
};

struct visit {
    struct dispatcher *d;
    uint64_t key;
    unsigned waiting;
    struct jv *findings;
    struct held **held; /* n of them */
    uint32_t n_held;
    struct names held_by;
};

static void finding(struct visit *v, const char *level, const char *check, const char *what_to_do, const char *fmt,
                    ...) __attribute__((format(printf, 5, 6)));

static void finding(struct visit *v, const char *level, const char *check, const char *what_to_do, const char *fmt,
                    ...)
{
    struct jv *f = jv_new_object();
    char text[500];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    text_clean_in_place(text, sizeof(text), sizeof(text)); /* a portal's name is cut by bytes */
    jv_set_str(f, "level", level);
    jv_set_str(f, "check", check);
    jv_set_str(f, "text", text);
    jv_set_str(f, "do", what_to_do);
    jv_push(v->findings, f);
}

static void held_add(struct visit *v, const struct robot *robot, const struct jv *entry)
{
    const char *portal = jv_str(jv_get(entry, "portal")), *id = jv_str(jv_get(entry, "session_id"));
    int64_t company_id;
    char whose[sizeof(((struct held *)0)->whose)];
    if (!jv_int(jv_get(entry, "company_id"), &company_id) || !portal || strlen(portal) >= PORTAL_ROOM)
        return;
    snprintf(whose, sizeof(whose), "%lld %s", (long long)company_id, portal);
    uint32_t at = names_find(&v->held_by, whose);
    if (at != NAMES_NONE) {
        finding(
            v, "note", "two_sessions_on_robots",
            "wait for reconciliation, which closes what Chasqui has given up; what stays was opened by somebody else, and is "
            "closed at its robot: DELETE /sessions/ID",
            "company %lld has sessions of %s on %s (%s) and on %s (%s)", (long long)company_id, portal,
            v->held[at]->robot, v->held[at]->session_id, robot->name, id ? id : "?");
        return;
    }
    struct held *h = xcalloc(1, sizeof(*h));
    strcpy(h->whose, whose);
    strcpy(h->robot, robot->name);
    snprintf(h->session_id, sizeof(h->session_id), "%s", id ? id : "?");
    v->held = xrealloc(v->held, (v->n_held + 1) * sizeof(h));
    v->held[v->n_held] = h;
    names_add(&v->held_by, h->whose, v->n_held++);
}

static void visit_end(struct visit *v)
{
    struct request *r = request_find(v->d, v->key);
    if (r) {
        struct jv *body = jv_new_object();
        jv_set_bool(body, "ok", true);
        jv_set(body, "findings", v->findings);
        reply_jv(v->d, r, 200, body);
    } else {
        jv_free(v->findings);
    }
    names_clear(&v->held_by);
    for (uint32_t i = 0; i < v->n_held; i++)
        free(v->held[i]);
    free(v->held);
    free(v);
}

static void unknown_found(struct visit *v, const struct robot *robot, const struct jv *entry)
{
    const char *portal = jv_str(jv_get(entry, "portal"));
    int64_t company_id = 0;
    jv_int(jv_get(entry, "company_id"), &company_id);
    finding(v, "note", "unknown_on_robot", "ours are closed by reconciliation; others are left alone",
            "%s holds a session that is not recorded (company %lld, %.64s)", robot->name, (long long)company_id,
            portal ? portal : "?");
}

static void robot_seen(struct dispatcher *d, void *arg, const struct robot_list *list)
{
    struct visit *v = arg;
    const struct robot *robot = robot_by_id(d, list->robot_id);
    if (robot && list->state == LIST_UNREACHABLE)
        finding(v, "note", "robot_unreachable", "look at the robot", "%s did not answer GET /sessions",
                robot->name);
    if (robot && list->state == LIST_UNSUPPORTED)
        finding(v, "note", "robot_seed_only", "see the README on what a missing fence costs",
                "%s does not speak the optional calls", robot->name);
    for (size_t i = 0; robot && i < jv_len(list->sessions); i++) {
        const struct jv *e = jv_at(list->sessions, i);
        held_add(v, robot, e);
        if (list->rows_known && !robot_list_row(list, e))
            unknown_found(v, robot, e);
    }
    for (unsigned i = 0; robot && !robot->is_two && list->state == LIST_OK && i < list->n_rows; i++)
        if (list->rows[i].state == SESSION_ACTIVE && !list->rows[i].migrating && list->is_whole &&
            !robot_list_entry(list, &list->rows[i]))
            finding(v, "note", "missing_on_robot", "it ends by itself at the next reconciliation",
                    "job %llu: its session is not on %s any more", (unsigned long long)list->rows[i].job_id,
                    robot->name);
    if (--v->waiting == 0)
        visit_end(v);
}

static void robot_visit(struct dispatcher *d, const struct robot *robot, void *arg)
{
    struct visit *v = arg;
    if (robot->last_judged == VERDICT_DOWN) {
        if (robot->down == DOWN_SILENT)
            finding(v, "note", "robot_down", "look at the robot; if it answers in time all goes on",
                    "%s does not answer: its sessions wait for it", robot->name);
        else
            finding(v, "note", "robot_down", "look at the robot", "%s is down", robot->name);
        return;
    }
    if (robot->is_two)
        finding(v, "note", "robot_two_boots",
                "give each robot process a URL of its own, and make each known with: chasqui worker add",
                "two processes answer under the URL of %s: its sessions are found only by chance", robot->name);
    v->waiting++;
    robot_list_get(d, robot->id, robot_seen, v);
}

void doctor_start(struct dispatcher *d, struct request *r)
{
    struct visit *v = xcalloc(1, sizeof(*v));
    v->d = d;
    v->key = r->key;
    v->findings = jv_new_array();
    v->waiting = 1; /* ours, until all are asked */
    robots_each(d, robot_visit, v);
    if (--v->waiting == 0)
        visit_end(v);
}
