/* SPDX-License-Identifier: MIT */
/*
 * robot_speaks.c - judges answers to optional calls. The status alone never proves an answer.
 */
#include "dispatcher/robot/robot_speaks.h"

#include "common/jv.h"

#include <string.h>
#include <strings.h>

/* After this many odd answers in a row, a call counts as not supported, even if it was supported before or should
 * be. */
#define ODD_MAX 5

void robot_speaks_reset(struct speaks *s)
{
    *s = (struct speaks){.list = {.known = -1}, .close = {.known = -1}, .fence = {.known = -1}};
}

static enum told spoken(struct speech *c)
{
    *c = (struct speech){.known = 1};
    return TOLD_YES;
}

/* Handles an answer without the call's shape. `is_likely`: the robot supports related calls. */
static enum told odd(struct speech *c, bool is_likely)
{
    if (c->odd < ODD_MAX)
        c->odd++;
    if ((c->known == 1 || is_likely) && c->odd < ODD_MAX)
        return TOLD_NOTHING;
    c->known = 0;
    return TOLD_NOT_SPOKEN;
}

static bool is_2xx(const struct call_answer *a)
{
    return a->status >= 200 && a->status < 300;
}

/* Whether there is no answer, or one that shows a robot in trouble rather than what it supports. */
static bool is_no_word(const struct call_answer *a)
{
    bool is_head_enough = a->result == CALL_TOO_BIG && a->status >= 300; /* a page, however long */
    return (a->result != CALL_ANSWERED && !is_head_enough) || a->status == 408 || a->status == 425 ||
           a->status == 429 || (a->status >= 500 && a->status != 501);
}

static struct jv *object_of(const struct call_answer *a)
{
    enum jv_bad why;
    struct jv *body = a->result == CALL_ANSWERED ? jv_parse_mended(a->body->data, a->body->len, &why) : NULL;
    if (jv_type(body) == JV_OBJECT)
        return body;
    jv_free(body);
    return NULL;
}

/* Whether a robot that supports a call may refuse it with such a status. Servers answer the other statuses to
 * unknown paths too. */
static bool may_refuse(const struct call_answer *a)
{
    return a->status < 300 || (a->status >= 400 && a->status != 401 && a->status != 403 && a->status != 404 &&
                               a->status != 405 && a->status != 501);
}

/* ---- GET /sessions ------------------------------------------------------------------------------------------ */

static bool is_session_list(const struct jv *list)
{
    if (jv_type(list) != JV_ARRAY)
        return false;
    for (size_t i = 0; i < jv_len(list); i++) {
        const char *id = jv_str(jv_get(jv_at(list, i), "session_id"));
        if (jv_type(jv_at(list, i)) != JV_OBJECT || !id || !*id)
            return false;
    }
    return true;
}

enum told robot_told_list(struct speaks *s, const struct call_answer *a, struct jv **body)
{
    *body = NULL;
    if (is_no_word(a))
        return TOLD_NOTHING;
    struct jv *o = a->status == 200 ? object_of(a) : NULL;
    if (o && is_session_list(jv_get(o, "sessions"))) {
        *body = o;
        s->is_ok_to_all = s->is_empty_to_all = false;
        return spoken(&s->list);
    }
    bool ok = false;
    s->is_ok_to_all = is_2xx(a) && jv_bool(jv_get(o, "ok"), &ok) && ok;
    s->is_empty_to_all = is_2xx(a) && a->result == CALL_ANSWERED && !a->body->len;
    jv_free(o);
    return odd(&s->list, s->fence.known == 1);
}

/* ---- DELETE /sessions/{id} ---------------------------------------------------------------------------------- */

/* Whether the error is about a session rather than about a path: {"ok":false,"error":"session_not_found"} and the
 * like. */
static bool is_about_session(const struct jv *o)
{
    static const char *const keys[] = {"error", "code", "message", "detail"};
    for (unsigned i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
        const char *text = jv_str(jv_get(o, keys[i]));
        const char *at = text ? strcasestr(text, "session") : NULL;
        if (!at && text)
            at = strcasestr(text, "sesi");       /* sesión */
        if (at && (at == text || at[-1] != '/')) /* frameworks repeat the path: "Cannot DELETE /sessions/…" */
            return true;
    }
    return false;
}

enum told robot_told_closed(struct speaks *s, const struct call_answer *a)
{
    if (is_no_word(a))
        return TOLD_NOTHING;
    struct jv *o = object_of(a);
    bool ok = false, is_ok = jv_bool(jv_get(o, "ok"), &ok), is_family = s->list.known == 1 || s->fence.known == 1;
    bool is_empty = a->result == CALL_ANSWERED && !a->body->len;
    /* Both are usual answers to a close. Some servers give them to every request; GET /sessions shows which
     * servers do. */
    bool is_closed = is_2xx(a) && ((is_ok && ok && !s->is_ok_to_all) ||
                                   (is_empty && (is_family || (s->list.known == 0 && !s->is_empty_to_all))));
    bool is_gone =
        (a->status == 404 || a->status == 410) && o && (is_family || s->close.known == 1 || is_about_session(o));
    jv_free(o);
    if (is_closed || is_gone)
        return spoken(&s->close);
    return is_ok && !ok && may_refuse(a) ? TOLD_NOTHING : odd(&s->close, is_family);
}

/* ---- POST /sessions/fence ----------------------------------------------------------------------------------- */

enum told robot_told_fenced(struct speaks *s, const struct call_answer *a, uint64_t epoch)
{
    if (is_no_word(a))
        return TOLD_NOTHING;
    struct jv *o = object_of(a);
    bool ok = false, is_ok = jv_bool(jv_get(o, "ok"), &ok);
    int64_t told = -1;
    bool is_epoch = jv_int(jv_get(o, "epoch"), &told);
    bool is_fenced =
        is_2xx(a) && is_ok && ok && (is_epoch ? told >= 0 && (uint64_t)told >= epoch : !s->is_ok_to_all);
    jv_free(o);
    if (is_fenced && (is_epoch || s->list.known >= 0))
        return spoken(&s->fence);
    /* Until its list was requested, it is unknown whether the robot gives this answer to every request. */
    if (is_fenced)
        return TOLD_NOTHING;
    return is_ok && !ok && may_refuse(a) ? TOLD_NOTHING : odd(&s->fence, s->list.known == 1);
}
