/* SPDX-License-Identifier: MIT */
/*
 * alerts.c - hands what is wrong, in the words of words.c, to one dispatcher every alerts.every_s, also when that is nothing: an alert is over when
 * brokers speak and none says it. Owns the one report that is under way, and what its answer told of all brokers' alerts.
 */
#include "broker/alerts.h"
#include "broker/flight.h"
#include "broker/peer.h"
#include "broker/words.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/text.h"
#include <stdlib.h>
#include <string.h>

#define PATIENCE_MS 5000
#define SAID_MAX 64
#define SOON_MS 1000
#define WHO_ROOM 161  /* as a dispatcher keeps it */
#define OLD_MS 120000 /* an answer tells nothing any more */
#define KEY_OF_ALERTS (UINT64_MAX - 2)

struct alerts {
    struct broker *b;
    struct flight flight;
    char request_id[129];
    char *said; /* what is under way; owned */
    uint64_t asked_at_ms, came_at_ms;
    int64_t came_unix_ms;
    struct jv *known; /* the last answer; NULL = none */
};

static void said_drop(struct alerts *a)
{
    free(a->said);
    a->said = NULL;
}

static void replied(void *arg, const struct msg_REPLY *m, struct str payload)
{
    struct alerts *a = arg;
    enum jv_bad why;
    said_drop(a);
    if (m->error.len)
        return;
    struct jv *body = jv_parse(payload.p, payload.len, &why);
    if (jv_type(jv_get(body, "alerts")) != JV_ARRAY || jv_type(jv_get(body, "channels")) != JV_ARRAY) {
        stat_inc(replies_refused_total);
        jv_free(body);
        return;
    }
    jv_free(a->known);
    a->known = body;
    a->came_at_ms = loop_now_ms(a->b->loop);
    a->came_unix_ms = clock_unix_ms();
}

static void failed(void *arg, enum err e)
{
    (void)e; /* said again after alerts.every_s */
    said_drop(arg);
}

static const struct flight_user user = {.reply = replied, .failed = failed};

struct alerts *alerts_new(struct broker *b)
{
    struct alerts *a = b->alerts = xcalloc(1, sizeof *a);
    a->b = b;
    return a;
}

void alerts_destroy(struct alerts **ap)
{
    struct alerts *a = *ap;
    if (!a)
        return;
    *ap = NULL;
    flight_close(&a->flight);
    said_drop(a);
    jv_free(a->known);
    free(a);
}

/* As a dispatcher keeps it. */
static void who_clean(char out[WHO_ROOM], const char *who)
{
    text_clean(out, WHO_ROOM, who, who ? strlen(who) : 0, WHO_ROOM - 1);
}

static void said_add(struct jv *list, const struct jv *word)
{
    static const char *const keys[] = {"level", "code", "text", "text_es", "todo", "todo_es"};
    const char *level = jv_str(jv_get(word, "level")), *code = jv_str(jv_get(word, "code"));
    char who[WHO_ROOM];
    if (!level || strcmp(level, "ok") == 0 || !code || strcmp(code, "broker_stopping") == 0 ||
        jv_len(list) == SAID_MAX)
        return;
    struct jv *one = jv_new_object();
    for (unsigned i = 0; i < sizeof keys / sizeof keys[0]; i++)
        jv_set_str(one, keys[i], jv_str(jv_get(word, keys[i])));
    who_clean(who, jv_str(jv_get(word, "who")));
    jv_set_str(one, "who", who);
    jv_push(list, one);
}

static size_t said_write(struct alerts *a)
{
    const char *state;
    size_t len;
    struct jv *words = words_jv(a->b, &state), *list = jv_new_array();
    for (size_t i = 0; i < jv_len(words); i++)
        said_add(list, jv_at(words, i));
    a->said = jv_dump(list, &len);
    jv_free(list);
    jv_free(words);
    return len;
}

void alerts_soon(struct broker *b)
{
    struct alerts *a = b->alerts;
    uint64_t due_ms = loop_now_ms(b->loop) + SOON_MS, every_ms = (uint64_t)b->conf->alerts_every_s * 1000;
    if (due_ms > every_ms && a->asked_at_ms + every_ms > due_ms)
        a->asked_at_ms = due_ms - every_ms;
}

void alerts_tick(struct broker *b)
{
    struct alerts *a = b->alerts;
    uint64_t now = loop_now_ms(b->loop);
    if (a->flight.state != FLIGHT_NONE ||
        (a->asked_at_ms && now < a->asked_at_ms + (uint64_t)b->conf->alerts_every_s * 1000) || b->is_stopping ||
        b->is_draining || !peers_take_alerts(b) || !peers_pick(b, LANE_CONTROL))
        return;
    a->asked_at_ms = now;
    id_request(a->request_id);
    size_t len = said_write(a);
    a->flight = (struct flight){.user = &user,
                                .arg = a,
                                .op = OP_OPS_ALERTS_SAID,
                                .request = {.request_id = str_of(a->request_id), .all_companies = true},
                                .payload = {a->said, (uint32_t)len},
                                .fair_key = KEY_OF_ALERTS,
                                .deadline_at_ms = now + PATIENCE_MS};
    flight_start(b, &a->flight);
}

/* ---- what is known of them ---------------------------------------------------------------------------------- */

static bool is_fresh(const struct alerts *a)
{
    return a->known && loop_now_ms(a->b->loop) < a->came_at_ms + OLD_MS;
}

struct jv *alerts_of(const struct broker *b, const char *code, const char *who)
{
    static const char *const keys[] = {"id", "acked_by", "ack_reason", "muted_until"};
    const struct alerts *a = b->alerts;
    const struct jv *list = is_fresh(a) ? jv_get(a->known, "alerts") : NULL;
    char clean[WHO_ROOM];
    who_clean(clean, who);
    for (size_t i = 0; i < jv_len(list); i++) {
        const struct jv *one = jv_at(list, i);
        const char *its_code = jv_str(jv_get(one, "code")), *its_who = jv_str(jv_get(one, "who"));
        if (!its_code || strcmp(its_code, code) != 0 || strcmp(its_who ? its_who : "", clean) != 0)
            continue;
        struct jv *known = jv_new_object();
        for (unsigned k = 0; k < sizeof keys / sizeof keys[0]; k++)
            jv_set(known, keys[k], jv_copy(jv_get(one, keys[k])));
        return known;
    }
    return NULL;
}

/* What is said now of that; NULL = nothing. */
static const struct jv *word_of(const struct jv *words, const char *code, const char *who)
{
    for (size_t i = 0; code && i < jv_len(words); i++) {
        const struct jv *word = jv_at(words, i);
        const char *level = jv_str(jv_get(word, "level")), *its = jv_str(jv_get(word, "code"));
        char clean[WHO_ROOM];
        who_clean(clean, jv_str(jv_get(word, "who")));
        if (level && strcmp(level, "ok") != 0 && its && strcmp(its, code) == 0 &&
            strcmp(clean, who ? who : "") == 0)
            return word;
    }
    return NULL;
}

static void past_set(struct jv *alert, const char *key, enum language language)
{
    const char *text = jv_str(jv_get(alert, key));
    struct buf out = {0};
    int64_t ago_s = 0;
    jv_int(jv_get(alert, "said_s_ago"), &ago_s);
    words_past(&out, ago_s * 1000, language, text ? text : "");
    jv_set_str(alert, key, out.data);
    buf_free(&out);
}

void alerts_now(const struct broker *b, struct jv *list)
{
    static const char *const keys[] = {"level", "text", "text_es", "todo", "todo_es"};
    const char *worst;
    struct jv *words = words_jv(b, &worst);
    for (size_t i = 0; i < jv_len(list); i++) {
        struct jv *one = jv_at(list, i);
        const char *state = jv_str(jv_get(one, "state"));
        if (!state || strcmp(state, "open") != 0)
            continue;
        const struct jv *word = word_of(words, jv_str(jv_get(one, "code")), jv_str(jv_get(one, "who")));
        if (word) {
            for (unsigned k = 0; k < sizeof keys / sizeof keys[0]; k++)
                jv_set(one, keys[k], jv_copy(jv_get(word, keys[k])));
            jv_set_int(one, "said_s_ago", 0);
        } else {
            past_set(one, "text", ENGLISH);
            past_set(one, "text_es", SPANISH);
        }
    }
    jv_free(words);
}

void alerts_each_failing(const struct broker *b, alerts_failing_fn *fn, void *arg)
{
    const struct alerts *a = b->alerts;
    const struct jv *list = is_fresh(a) ? jv_get(a->known, "channels") : NULL;
    for (size_t i = 0; i < jv_len(list); i++) {
        const struct jv *one = jv_at(list, i);
        const char *channel = jv_str(jv_get(one, "channel")), *why = jv_str(jv_get(one, "error"));
        int64_t for_s = 0, attempts = 0;
        jv_int(jv_get(one, "for_s"), &for_s);
        jv_int(jv_get(one, "attempts"), &attempts);
        if (channel)
            fn(arg, channel, why ? why : "-", a->came_unix_ms - for_s * 1000, attempts);
    }
}
