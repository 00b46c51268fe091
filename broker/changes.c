/* SPDX-License-Identifier: MIT */
/*
 * changes.c - changes of portals and pauses between two summaries, as events for operators. Every broker derives
 * them, whichever dispatcher or clock made the change. A change that begins and ends between two looks is not
 * seen. Owns nothing.
 */
#include "broker/changes.h"
#include "broker/feed.h"

#include <stdio.h>
#include <string.h>

/* ---- portals ------------------------------------------------------------------------------------------------ */

/* The row with that name; NULL = the portal is well. */
static const struct jv *portal_of(const struct jv *summary, const char *name)
{
    const struct jv *list = jv_get(summary, "portals");
    for (size_t i = 0; i < jv_len(list); i++) {
        const char *one = jv_str(jv_get(jv_at(list, i), "name"));
        if (one && strcmp(one, name) == 0)
            return jv_at(list, i);
    }
    return NULL;
}

static void portal_say(struct broker *b, const char *name, const char *state, const char *why)
{
    struct jv *v = jv_new_object();
    jv_set_str(v, "portal", name);
    jv_set_str(v, "state", state);
    jv_set_str(v, "why", why);
    feed_say(b, "portal", v);
}

/* Like the two below: is something held back since? */
static bool portals_tell(struct broker *b, const struct jv *before, const struct jv *after)
{
    bool holds = false;
    const struct jv *was = jv_get(before, "portals"), *is = jv_get(after, "portals");
    for (size_t i = 0; i < jv_len(is); i++) {
        const char *name = jv_str(jv_get(jv_at(is, i), "name")), *state = jv_str(jv_get(jv_at(is, i), "state"));
        const char *old = name ? jv_str(jv_get(portal_of(before, name), "state")) : NULL;
        if (name && state && (!old || strcmp(old, state) != 0)) {
            portal_say(b, name, state, jv_str(jv_get(jv_at(is, i), "why")));
            holds |= strcmp(state, "tripped") == 0;
        }
    }
    for (size_t i = 0; i < jv_len(was); i++) {
        const char *name = jv_str(jv_get(jv_at(was, i), "name"));
        if (name && !portal_of(after, name))
            portal_say(b, name, "up", NULL);
    }
    return holds;
}

/* ---- pauses ------------------------------------------------------------------------------------------------- */

struct pause {
    const char *portal, *action, *by, *reason; /* NULL = none */
    int64_t batch_id;                          /* 0 = none */
    const struct jv *since, *until;
};

static struct pause pause_read(const struct jv *one)
{
    struct pause p = {.portal = jv_str(jv_get(one, "portal")),
                      .action = jv_str(jv_get(one, "action")),
                      .by = jv_str(jv_get(one, "by")),
                      .reason = jv_str(jv_get(one, "reason")),
                      .since = jv_get(one, "since"),
                      .until = jv_get(one, "until")};
    if (!jv_int(jv_get(one, "batch_id"), &p.batch_id))
        p.batch_id = 0;
    return p;
}

/* Writes the subject as the audit trail names it: store_queue_state.c. */
static void subject_write(const struct pause *p, char out[200])
{
    char batch[30] = "";
    if (p->batch_id)
        snprintf(batch, sizeof batch, " batch=%lld", (long long)p->batch_id);
    snprintf(out, 200, "queue%s%.64s%s%.64s%s", p->portal ? " portal=" : "", p->portal ? p->portal : "",
             p->action ? " action=" : "", p->action ? p->action : "", batch);
}

/* The person who ended it recently; NULL = it expired. */
static const char *ended_by(const struct jv *summary, const struct pause *p)
{
    const struct jv *list = jv_get(summary, "resumes");
    char subject[200];
    subject_write(p, subject);
    for (size_t i = 0; i < jv_len(list); i++) {
        const char *one = jv_str(jv_get(jv_at(list, i), "subject"));
        if (one && strcmp(one, subject) == 0)
            return jv_str(jv_get(jv_at(list, i), "by"));
    }
    return NULL;
}

static void pause_say(struct broker *b, const struct pause *p, const char *state, const char *by)
{
    struct jv *v = jv_new_object();
    bool has_begun = strcmp(state, "begun") == 0;
    jv_set_str(v, "state", state);
    jv_set_str(v, "portal", p->portal);
    jv_set_str(v, "action", p->action);
    jv_set(v, "batch_id", NULL);
    if (p->batch_id)
        jv_set_int(v, "batch_id", p->batch_id);
    jv_set_str(v, "by", by);
    jv_set_str(v, "reason", p->reason);
    jv_set(v, "until", has_begun ? jv_copy(p->until) : NULL);
    feed_say(b, "pause", v);
}

static bool is_same(const char *x, const char *y)
{
    return x && y ? strcmp(x, y) == 0 : x == y;
}

/* Whether the list has this pause, or, without with_since, any pause of the same part. */
static bool pauses_have(const struct jv *list, const struct pause *p, bool with_since)
{
    for (size_t i = 0; i < jv_len(list); i++) {
        struct pause one = pause_read(jv_at(list, i));
        if (is_same(one.portal, p->portal) && is_same(one.action, p->action) && one.batch_id == p->batch_id &&
            (!with_since || is_same(jv_str(one.since), jv_str(p->since))))
            return true;
    }
    return false;
}

static bool pauses_tell(struct broker *b, const struct jv *before, const struct jv *after)
{
    bool holds = false;
    const struct jv *was = jv_get(before, "pauses"), *is = jv_get(after, "pauses");
    for (size_t i = 0; i < jv_len(is); i++) {
        struct pause p = pause_read(jv_at(is, i));
        if (!pauses_have(was, &p, true)) {
            pause_say(b, &p, "begun", p.by);
            holds = true;
        }
    }
    for (size_t i = 0; i < jv_len(was); i++) {
        struct pause p = pause_read(jv_at(was, i));
        if (!pauses_have(is, &p, false))
            pause_say(b, &p, "ended", ended_by(after, &p));
    }
    return holds;
}

/* ---- all of the queue --------------------------------------------------------------------------------------- */

static bool whole_tell(struct broker *b, const struct jv *before, const struct jv *after)
{
    const struct jv *was = jv_get(jv_get(before, "queue"), "paused"),
                    *is = jv_get(jv_get(after, "queue"), "paused");
    int64_t since_was = 0, since_is = 0, until = 0;
    jv_int(jv_get(was, "since_ms"), &since_was);
    jv_int(jv_get(is, "since_ms"), &since_is);
    if (since_is && since_is != since_was) {
        struct pause p = pause_read(is);
        struct jv *times = jv_new_object();
        jv_set_time(times, "until", jv_int(jv_get(is, "until_ms"), &until) && until > 0 ? until : 0);
        p.until = jv_get(times, "until");
        pause_say(b, &p, "begun", p.by);
        jv_free(times);
        return true;
    }
    if (since_was && !since_is) {
        struct pause p = pause_read(was);
        pause_say(b, &p, "ended", ended_by(after, &p));
    }
    return false;
}

bool changes_tell(struct broker *b, const struct jv *before, const struct jv *after)
{
    bool holds = portals_tell(b, before, after);
    holds |= whole_tell(b, before, after);
    holds |= pauses_tell(b, before, after);
    return holds;
}
