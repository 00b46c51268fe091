/* SPDX-License-Identifier: MIT */
/*
 * words.c - what is wrong, in words: looks at every part and says each thing
 * once, the worst first. What it judges by stands here, what it says in
 * words.def. A part that died is said, with the others going on. What comes and
 * goes by itself is said when it stays (headline.c), and work that moves is busy
 * and no warning. A sentence that stays a while says the numbers of now, or how
 * long ago they were true.
 */
#include "broker/words.h"
#include "broker/alerts.h"
#include "broker/fleet.h"
#include "broker/flight.h"
#include "broker/headline.h"
#include "broker/health.h"
#include "broker/numbers.h"
#include "broker/peer.h"
#include "broker/phrase.h"
#include "broker/summary.h"
#include "broker/tally.h"

#include "common/check.h"
#include "common/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MAX 100
#define ROBOTS_NAMED_MAX 5 /* more of them that are down are only counted */
#define SINGLE_MAX 3       /* more companies or tokens at their limit are one sentence, which names so many */
#define STALE_MS 15000
#define OLD_MS 60000
#define SPARE 10 /* the places were all taken, and at most one in so many is not now: that goes on being said */
#define LANE_SLOW_MS 5000
#define STALL_US 3000000
#define PROCESSES_MAX 200
#define ERRORS_LEAST 5 /* in a minute; fewer say nothing */
#define ERRORS_SHARE 0.05
#define TROUBLE_TIMES 2 /* a duty that failed once is no trouble yet */
#define TROUBLE_S 2
#define BUSY_TIMES 5 /* deadlocks and lock waits come by themselves while many write, and are tried again */
#define BUSY_S 30
#define LEFT_SHOWN_MS 60000 /* a dispatcher that was stopped on purpose */

enum said {
    SAID,    /* it is so */
    NUMBERS, /* it is not so, and these are its numbers of now, if it is still said */
    OVER     /* it is not so, and must not be said any more */
};

struct row {
    enum word word;
    enum said said;
    int64_t past_ms; /* it was so until so long ago; 0 = it is */
    char who[256];
    int64_t since_ms; /* unix; 0 = none */
    char why[256];
    char how[256]; /* a command's options */
    int64_t n, m, k;
    int64_t time_ms;
};

struct told {
    const struct broker *b;
    int64_t now_ms; /* unix */
    struct row row[ROWS_MAX];
    unsigned n;
};

static struct row *say(struct told *t, enum word word, const char *who, int64_t since_ms)
{
    static struct row beyond; /* there are more than anybody reads */
    struct row *r = t->n < ROWS_MAX ? &t->row[t->n++] : &beyond;
    *r = (struct row){.word = word, .since_ms = since_ms, .time_ms = since_ms ? t->now_ms - since_ms : 0};
    str_copy(r->who, sizeof r->who, str_of(who));
    return r;
}

/* What was said of that already, or NULL. */
static struct row *row_of(struct told *t, enum word word, const char *who)
{
    for (unsigned i = 0; i < t->n; i++)
        if (t->row[i].word == word && strcmp(t->row[i].who, who) == 0)
            return &t->row[i];
    return NULL;
}

static void say_count(struct told *t, enum word word, int64_t n, int64_t m)
{
    struct row *r = say(t, word, NULL, 0);
    r->n = n;
    r->m = m;
}

/* ---- dispatchers and their database ------------------------------------------------------------------------- */

static void gone_one(void *arg, const char *name, int64_t since_ms, bool was_draining)
{
    struct told *t = arg;
    if (!was_draining)
        say(t, WORD_DISPATCHER_GONE, name, since_ms);
    else if (t->now_ms < since_ms + LEFT_SHOWN_MS)
        say(t, WORD_DISPATCHER_LEFT, name, since_ms);
}

static void draining_one(void *arg, const char *name)
{
    say(arg, WORD_DISPATCHER_DRAINING, name, 0);
}

/* A broker is said once, with how many dispatchers say so. */
static void broker_lost_one(void *arg, const char *endpoint)
{
    struct told *t = arg;
    for (unsigned i = 0; i < t->n; i++)
        if (t->row[i].word == WORD_BROKER_LOST &&
            strncmp(t->row[i].who, endpoint, sizeof t->row[i].who - 1) == 0) {
            t->row[i].n++;
            return;
        }
    struct row *r = say(t, WORD_BROKER_LOST, endpoint, 0);
    r->n = 1;
    r->m = peers_count(t->b).usable;
}

/* Said once, with the sums over dispatchers: of limits, since what reached one lately may have left it again. */
static void at_limit_one(void *arg, const struct at_limit *one)
{
    struct told *t = arg;
    enum word word = strcmp(one->kind, "robot") == 0     ? WORD_ROBOT_AT_LIMIT
                     : strcmp(one->kind, "company") == 0 ? WORD_COMPANY_AT_LIMIT
                                                         : WORD_TOKEN_AT_LIMIT;
    struct row *r = row_of(t, word, one->who);
    r = r ? r : say(t, word, one->who, 0);
    r->n += one->limit;
    r->m += one->waiting;
}

static void limits_look(struct told *t)
{
    static const enum word waiting[WORD_COUNT] = {[WORD_ROBOT_AT_LIMIT] = WORD_ROBOT_AT_LIMIT_WAITING,
                                                  [WORD_COMPANY_AT_LIMIT] = WORD_COMPANY_AT_LIMIT_WAITING,
                                                  [WORD_TOKEN_AT_LIMIT] = WORD_TOKEN_AT_LIMIT_WAITING};
    peers_each_at_limit(t->b, at_limit_one, t);
    for (unsigned i = 0; i < t->n; i++)
        if (t->row[i].m > 0 && waiting[t->row[i].word])
            t->row[i].word = waiting[t->row[i].word];
}

/* Said once each, with the sums over dispatchers. */
static void trouble_one(void *arg, const struct database_trouble *one)
{
    struct told *t = arg;
    bool is_refusal = strcmp(one->kind, "refused") == 0, is_slow = strcmp(one->kind, "slow") == 0,
         is_auth = strcmp(one->kind, "auth") == 0, is_event = strcmp(one->kind, "events") == 0,
         is_held = strcmp(one->kind, "held") == 0;
    bool is_full = strcmp(one->kind, "statements") == 0;
    const char *who = is_full ? "" : one->duty; /* said once, whatever fails by it */
    enum word word = is_full              ? WORD_DATABASE_STATEMENTS
                     : is_refusal         ? WORD_DATABASE_REFUSES
                     : is_auth            ? WORD_TOKENS_UNVERIFIED
                     : is_event           ? WORD_EVENTS_NOT_TAKEN
                     : is_slow || is_held ? WORD_DATABASE_SLOW
                                          : WORD_DATABASE_DUTY_FAILS;
    bool is_busy = strcmp(one->kind, "busy") == 0;
    if (!is_refusal && !is_slow && !is_auth &&
        (one->n < (is_busy ? BUSY_TIMES : TROUBLE_TIMES) || one->for_s < (is_busy ? BUSY_S : TROUBLE_S)))
        return;
    struct row *r = row_of(t, word, who);
    if (!r) {
        r = say(t, word, who, t->now_ms - (int64_t)one->for_s * 1000);
        if (is_refusal || is_slow || is_auth || is_event)
            str_copy(r->why, sizeof r->why, str_of(one->why));
        else
            snprintf(r->why, sizeof r->why, "%s: %s", one->kind, one->why);
    }
    r->n += (int64_t)one->n;
}

/* A cluster is said once, by the dispatcher that sees most nodes; a server that is left alone once. */
static void node_one(void *arg, const struct node_told *one)
{
    struct told *t = arg;
    const char *at = one->left;
    char kind[16], host[256];
    if (*one->state && one->size < one->listed) {
        struct row *r = row_of(t, WORD_DATABASE_CLUSTER_SMALL, "");
        if (!r || r->n < (int64_t)one->size) {
            r = r ? r : say(t, WORD_DATABASE_CLUSTER_SMALL, NULL, 0);
            r->n = one->size;
            r->m = one->listed;
        }
    }
    if (*one->state && strcmp(one->state, "Synced") != 0)
        str_copy(say(t, WORD_DATABASE_NODE_BEHIND, one->dispatcher, 0)->why, 256, str_of(one->state));
    while (node_left_next(&at, kind, host))
        if (!row_of(t, WORD_DATABASE_HOST_LEFT, host))
            str_copy(say(t, WORD_DATABASE_HOST_LEFT, host, 0)->why, 256, str_of(node_left_why(kind)));
}

static void database_look(struct told *t, const struct peers_count *n)
{
    char why[256];
    const char *kind = peers_database_why(t->b, why, sizeof why);
    enum word word = strcmp(kind, "read_only") == 0 ? WORD_DATABASE_READ_ONLY
                     : strcmp(kind, "hung") == 0    ? WORD_DATABASE_HUNG
                                                    : WORD_DATABASE_GONE;
    if (n->usable && !n->with_database) {
        struct row *r = say(t, word, NULL, 0);
        r->n = r->m = n->usable;
        str_copy(r->why, sizeof r->why, str_of(*why ? why : "-"));
        return;
    }
    if (n->with_database < n->usable)
        say_count(t, WORD_DATABASE_GONE_SOME, n->usable - n->with_database, n->usable);
    peers_each_node(t->b, node_one, t);
    peers_each_trouble(t->b, trouble_one, t);
}

static void dispatchers_look(struct told *t)
{
    struct peers_count n = peers_count(t->b);
    if (t->b->is_stopping)
        say(t, WORD_BROKER_STOPPING, NULL, 0);
    if (!n.usable)
        say(t, WORD_NO_DISPATCHER, NULL, n.last_gone_ms);
    database_look(t, &n);
    peers_each_gone(t->b, gone_one, t);
    peers_each_draining(t->b, draining_one, t);
    if (peers_twice(t->b))
        say(t, WORD_NAME_TWICE, peers_twice(t->b), 0);
    peers_each_broker_lost(t->b, broker_lost_one, t);
    limits_look(t);
}

/* ---- healthd and robots ------------------------------------------------------------------------------------- */

static void healthds_look(struct told *t)
{
    unsigned of;
    int64_t since;
    unsigned heard = health_heard(t->b, &of, &since);
    if (!heard)
        say(t, WORD_HEALTHD_SILENT, NULL, since);
    else if (heard < of)
        say(t, WORD_HEALTHD_SILENT_SOME, health_silent_one(t->b), since);
}

static void down_one(void *arg, const char *name, int64_t since_ms, const char *why)
{
    str_copy(say(arg, WORD_ROBOT_DOWN, name, since_ms)->why, sizeof(((struct row *)0)->why), str_of(why));
}

static void suspect_one(void *arg, const char *name, int64_t since_ms, const char *why)
{
    str_copy(say(arg, WORD_ROBOT_SUSPECT, name, since_ms)->why, sizeof(((struct row *)0)->why), str_of(why));
}

static void silent_one(void *arg, const char *name, int64_t since_ms, const char *why, int64_t waiting,
                       int64_t lost_at_ms)
{
    struct told *t = arg;
    struct row *r = say(t, WORD_ROBOT_SILENT, name, since_ms);
    r->n = waiting;
    r->time_ms = lost_at_ms > t->now_ms ? lost_at_ms - t->now_ms : 0;
    str_copy(r->why, sizeof r->why, str_of(why));
}

static void two_boots_one(void *arg, const char *name)
{
    say(arg, WORD_ROBOT_TWO_BOOTS, name, 0);
}

static void robot_draining_one(void *arg, const char *name, int64_t left, int64_t movable)
{
    (void)movable;
    if (left >= 0)
        say(arg, left ? WORD_ROBOT_DRAINING : WORD_ROBOT_DRAINED, name, 0)->n = left;
}

static void robots_look(struct told *t)
{
    struct fleet_count n = fleet_count(t->b);
    if (!n.all) {
        if (summary_view(t->b).is_known) /* else nobody has told us any yet */
            say(t, WORD_NO_ROBOT, NULL, 0);
        return;
    }
    if (!n.active)
        say(t, WORD_NO_ROBOT_WANTED, NULL, 0);
    else if (n.down == n.active)
        say_count(t, WORD_ROBOTS_DOWN, n.active, n.active);
    else if (n.down > ROBOTS_NAMED_MAX)
        say_count(t, WORD_ROBOTS_SOME_DOWN, n.down, n.active);
    if (n.down <= ROBOTS_NAMED_MAX)
        fleet_each_judged(t->b, VERDICT_DOWN, down_one, t);
    if (n.down <= ROBOTS_NAMED_MAX)
        fleet_each_silent(t->b, silent_one, t);
    fleet_each_two(t->b, two_boots_one, t);
    if (n.suspect <= ROBOTS_NAMED_MAX)
        fleet_each_judged(t->b, VERDICT_SUSPECT, suspect_one, t);
    fleet_each_draining(t->b, robot_draining_one, t);
    if (n.abandoned)
        say_count(t, WORD_ROBOT_ABANDONED, n.abandoned, 0);
}

/* ---- processes ---------------------------------------------------------------------------------------------- */

static void process_look(struct told *t, const struct stat_source *source)
{
    char who[sizeof(((struct row *)0)->who)];
    snprintf(who, sizeof who, "%s %s", source->process, source->name);
    if (source->stats->v[STAT_loop_stall_seconds] >= STALL_US)
        say(t, WORD_LOOP_STALLED, who, 0)->time_ms = (int64_t)(source->stats->v[STAT_loop_stall_seconds] / 1000);
    if (source->stats->v[STAT_log_blocked])
        say(t, WORD_LOG_BLOCKED, who, 0)->n = (int64_t)source->stats->v[STAT_log_lines_dropped_total];
}

static void unsent_one(void *arg, const char *channel, const char *why, int64_t since_ms, int64_t attempts)
{
    struct row *r = say(arg, WORD_ALERTS_NOT_SENT, channel, since_ms);
    r->n = attempts;
    str_copy(r->why, sizeof r->why, str_of(why));
}

static void processes_look(struct told *t)
{
    struct stat_source *sources = xcalloc(PROCESSES_MAX, sizeof *sources);
    unsigned n = 0;
    sources[n++] = (struct stat_source){STAT_BROKER, "broker", t->b->name, &stat_own};
    n += peers_sources(t->b, sources + n, PROCESSES_MAX - n);
    n += health_sources(t->b, sources + n, PROCESSES_MAX - n);
    for (unsigned i = 0; i < n; i++)
        process_look(t, &sources[i]);
    free(sources);
}

/* ---- queue, places, lanes ----------------------------------------------------------------------------------- */

/* Work waits, and nothing is wrong. */
static void busy_say(struct told *t, const struct queue_now *now)
{
    bool has_end = now->pace.clear_ms >= 0;
    struct row *r = say(t, !now->goes ? WORD_WAITING : has_end ? WORD_BUSY_UNTIL : WORD_BUSY, NULL, 0);
    r->n = now->view.depth;
    r->m = (int64_t)now->pace.ended;
    r->k = (int64_t)now->pace.in_s;
    r->time_ms = now->pace.clear_ms;
}

static void portal_one(void *arg, const char *name, const char *state, const char *why, int64_t since_ms,
                       int64_t held)
{
    struct told *t = arg;
    enum word down = summary_holds_portal(t->b, name) ? WORD_PORTAL_TRIPPED_PAUSED : WORD_PORTAL_TRIPPED;
    struct row *r = say(t, strcmp(state, "tripped") == 0 ? down : WORD_PORTAL_RETURNING, name, since_ms);
    r->n = held;
    str_copy(r->why, sizeof r->why, str_of(why));
}

/* With a reason it is what an operator wants, and no fault. */
static void part_paused_one(void *arg, const struct part_pause *p)
{
    bool is_batch = p->batch_id && !p->portal && !p->action;
    enum word rests = is_batch ? WORD_BATCH_RESTS : WORD_PART_RESTS,
              blank = is_batch ? WORD_QUEUE_BATCH_PAUSED : WORD_QUEUE_PART_PAUSED;
    char what[200], number[40] = "", *separator = p->batch_id && (p->portal || p->action) ? ", batch " : "";
    if (p->batch_id)
        snprintf(number, sizeof number, "%lld", (long long)p->batch_id);
    snprintf(what, sizeof what, "%s%s%s", p->action ? p->action : p->portal ? p->portal : "", separator, number);
    struct row *r = say(arg, !p->reason ? blank : p->held > 0 ? WORD_PART_HOLDS : rests, what, 0);
    r->n = p->held;
    str_copy(r->why, sizeof r->why, str_of(p->reason));
    snprintf(r->how, sizeof r->how, "%s%s%s%s%s%s", p->portal ? "--portal " : "", p->portal ? p->portal : "",
             p->action ? p->portal ? " --action " : "--action " : "", p->action ? p->action : "",
             p->batch_id ? p->portal || p->action ? " --batch " : "--batch " : "", number);
}

/* Why work waits: all places are taken. */
static void places_look(struct told *t, const struct queue_now *now, const struct fleet_count *places)
{
    int64_t waits = now->view.depth, spare = places->total - places->used;
    bool is_full = places->total > 0 && spare <= 0, is_kept = waits > 0 && places->open_to_queue == 0,
         is_nearly = spare <= (places->total >= 2 * SPARE ? places->total / SPARE : 1);
    struct row *r = say(t, WORD_PLACES_FULL, NULL, 0);
    if (now->view.is_paused || places->total <= 0 || !(is_full || is_kept || is_nearly)) {
        r->said = OVER;
        return;
    }
    r->word = is_full     ? waits > 0 ? WORD_PLACES_FULL_WAITING : WORD_PLACES_FULL
              : is_kept   ? WORD_PLACES_KEPT
              : waits > 0 ? WORD_PLACES_NEARLY
                          : WORD_PLACES_BARELY;
    r->said = (is_full || is_kept) && !now->goes ? SAID : NUMBERS;
    r->n = r->word == WORD_PLACES_FULL ? places->total : waits;
    r->m = r->word == WORD_PLACES_KEPT ? spare : places->used;
    r->k = places->total;
}

/* Why work waits: one does not know. */
static void old_look(struct told *t, const struct queue_now *now, const struct fleet_count *places)
{
    bool may_begin = now->view.depth > 0 && !now->view.is_paused && places->open_to_queue > 0;
    struct row *r = say(t, WORD_QUEUE_OLD, NULL, t->now_ms - now->view.oldest_age_ms);
    r->said = !may_begin ? OVER : now->view.oldest_age_ms > OLD_MS && !now->goes ? SAID : NUMBERS;
}

static void queue_look(struct told *t)
{
    struct queue_now now = summary_now(t->b);
    struct fleet_count places = fleet_count(t->b); /* of robots that are not down: else that is what is said */
    if (!now.view.is_known)
        return;
    if (now.view.age_ms > STALE_MS && peers_ready(t->b))
        say(t, WORD_QUEUE_STALE, NULL, t->now_ms - (int64_t)now.view.age_ms);
    if (now.view.refused > 0) {
        struct row *r = say(t, WORD_REFUSED, NULL, 0);
        r->n = now.view.refused;
        summary_refusal(t->b, r->why, sizeof(r->why));
    }
    summary_each_portal(t->b, portal_one, t);
    summary_each_pause(t->b, part_paused_one, t);
    if (now.view.is_paused)
        summary_pause(t->b, say(t, WORD_QUEUE_PAUSED, NULL, 0)->why, sizeof(((struct row *)0)->why));
    places_look(t, &now, &places);
    old_look(t, &now, &places);
}

static void lanes_look(struct told *t)
{
    struct all_sum minute;
    for (enum lane lane = 0; lane < LANE_COUNT; lane++) {
        uint64_t oldest = flights_oldest_ms(t->b, lane);
        if (flights_depth(t->b, lane) >= (uint64_t)t->b->conf->queue_max_depth)
            say(t, WORD_LANE_FULL, lane_name[lane], 0);
        else if (oldest)
            say(t, WORD_LANE_SLOW, lane_name[lane], t->now_ms - (int64_t)oldest)->said =
                oldest > LANE_SLOW_MS ? SAID : NUMBERS;
    }
    tally_minute(t->b->tally, loop_now_ms(t->b->loop), &minute);
    if (minute.errors && minute.answers) {
        bool is_many =
            minute.errors >= ERRORS_LEAST && (double)minute.errors > (double)minute.answers * ERRORS_SHARE;
        struct row *r = say(t, WORD_ERRORS_MANY, NULL, 0);
        r->n = (int64_t)(minute.errors * 100 / minute.answers);
        r->said = is_many ? SAID : NUMBERS;
    }
}

/* ---- the whole ---------------------------------------------------------------------------------------------- */

static int worst_first(const void *a, const void *b)
{
    const struct row *x = a, *y = b;
    int by_level = (int)word_table[y->word].level - (int)word_table[x->word].level;
    return by_level ? by_level : (int)x->word - (int)y->word;
}

static void past_add(struct buf *out, int64_t ago_ms, enum language language)
{
    static const char *const past[] = {[ENGLISH] = "Until {time} ago: ", [SPANISH] = "Hasta hace {time}: "};
    phrase_fill(out, past[language], language, &(struct phrase_args){.time_ms = ago_ms});
}

void words_past(struct buf *out, int64_t ago_ms, enum language language, const char *text)
{
    past_add(out, ago_ms, language);
    buf_adds(out, text);
}

static void set_text(struct jv *one, const char *key, int64_t past_ms, const char *text, enum language language,
                     const struct phrase_args *args)
{
    struct buf out = {0};
    if (past_ms)
        past_add(&out, past_ms, language);
    phrase_fill(&out, text, language, args);
    jv_set_str(one, key, out.data);
    buf_free(&out);
}

/* b NULL: it is no alert. */
static struct jv *row_jv(const struct broker *b, const struct row *r)
{
    const struct word_row *w = &word_table[r->word];
    const struct phrase_args args = {r->who, r->why, r->how, r->n, r->m, r->k, r->time_ms};
    struct jv *one = jv_new_object();
    jv_set_str(one, "level", word_level_name[w->level]);
    jv_set_str(one, "code", w->code);
    jv_set_str(one, "who", r->who[0] ? r->who : NULL);
    jv_set_time(one, "since", r->since_ms);
    set_text(one, "text", r->past_ms, w->text[ENGLISH], ENGLISH, &args);
    set_text(one, "text_es", r->past_ms, w->text[SPANISH], SPANISH, &args);
    set_text(one, "todo", 0, w->todo[ENGLISH], ENGLISH, &args);
    set_text(one, "todo_es", 0, w->todo[SPANISH], SPANISH, &args);
    jv_set(one, "alert", b && w->level != WORD_OK ? alerts_of(b, w->code, r->who) : NULL);
    return one;
}

/* What comes and goes by itself while work goes on. */
static bool flutters(enum word word)
{
    static const enum word those[] = {WORD_QUEUE_OLD,        WORD_PLACES_FULL,    WORD_LANE_SLOW,
                                      WORD_ERRORS_MANY,      WORD_ROBOT_SUSPECT,  WORD_ROBOT_AT_LIMIT,
                                      WORD_COMPANY_AT_LIMIT, WORD_TOKEN_AT_LIMIT, WORD_DATABASE_SLOW};
    for (unsigned i = 0; i < sizeof those / sizeof those[0]; i++)
        if (those[i] == word)
            return true;
    return false;
}

/* The sentences of one thing are one to headline.c: each may take another's turn at once. */
static enum word kind_of(enum word word)
{
    static const enum word those[][2] = {{WORD_PLACES_KEPT, WORD_PLACES_FULL},
                                         {WORD_PLACES_FULL_WAITING, WORD_PLACES_FULL},
                                         {WORD_PLACES_NEARLY, WORD_PLACES_FULL},
                                         {WORD_PLACES_BARELY, WORD_PLACES_FULL},
                                         {WORD_ROBOT_AT_LIMIT_WAITING, WORD_ROBOT_AT_LIMIT},
                                         {WORD_COMPANY_AT_LIMIT_WAITING, WORD_COMPANY_AT_LIMIT},
                                         {WORD_TOKEN_AT_LIMIT_WAITING, WORD_TOKEN_AT_LIMIT}};
    for (unsigned i = 0; i < sizeof those / sizeof those[0]; i++)
        if (those[i][0] == word)
            return those[i][1];
    return word;
}

static bool is_shown(struct headline *h, const struct row *r)
{
    enum word kind = kind_of(r->word);
    if (r->said == OVER)
        headline_over(h, kind, r->who);
    return !flutters(kind)      ? r->said == SAID
           : r->said == SAID    ? headline_holds(h, kind, r->who, r)
           : r->said == NUMBERS ? headline_lingers(h, kind, r->who)
                                : false;
}

/* Takes out what does not hold for long enough yet, and puts in what held until a moment ago. */
static void settle(struct told *t)
{
    struct headline *h = t->b->headline;
    const struct row *kept;
    uint64_t ago_ms;
    unsigned n = 0, at = 0;
    headline_look(h, loop_now_ms(t->b->loop));
    for (unsigned i = 0; i < t->n; i++)
        if (is_shown(h, &t->row[i]))
            t->row[n++] = t->row[i];
    t->n = n;
    while ((kept = headline_kept(h, &at, &ago_ms)))
        if (t->n < ROWS_MAX) {
            t->row[t->n] = *kept;
            t->row[t->n++].past_ms = (int64_t)ago_ms;
        }
}

static int most_waiting_first(const void *a, const void *b)
{
    const struct row *x = *(const struct row *const *)a, *y = *(const struct row *const *)b;
    return x->m != y->m ? (x->m < y->m) - (x->m > y->m) : (x->n < y->n) - (x->n > y->n);
}

static void worst_named(struct row *whole, const struct row **those, unsigned n)
{
    qsort(those, n, sizeof *those, most_waiting_first);
    for (unsigned i = 0; i < SINGLE_MAX; i++) {
        size_t at = strlen(whole->why);
        snprintf(whole->why + at, sizeof whole->why - at, "%s%s", i ? ", " : "", those[i]->who);
    }
    whole->n = n;
}

/* More than a few of a kind are one sentence, and so they are for a while after they were more: an alert for each
 * would come and go with each. */
static void many_are_one(struct told *t, enum word kind, enum word many)
{
    const struct row *those[ROWS_MAX], *was = row_of(t, many, "");
    struct row whole = {.word = many, .past_ms = INT64_MAX};
    unsigned n = 0, left = 0;
    for (unsigned i = 0; i < t->n; i++)
        if (kind_of(t->row[i].word) == kind) {
            those[n++] = &t->row[i];
            if (t->row[i].past_ms < whole.past_ms)
                whole.past_ms = t->row[i].past_ms;
        }
    if (n <= SINGLE_MAX && !was)
        return;
    if (n > SINGLE_MAX)
        worst_named(&whole, those, n);
    else
        whole = *was;
    if (!whole.past_ms)
        headline_holds(t->b->headline, many, "", &whole);
    for (unsigned i = 0; i < t->n; i++)
        if (kind_of(t->row[i].word) != kind && t->row[i].word != many)
            t->row[left++] = t->row[i];
    t->row[left++] = whole;
    t->n = left;
}

static struct told *look_at_all(const struct broker *b)
{
    struct told *t = xcalloc(1, sizeof *t);
    t->b = b;
    t->now_ms = clock_unix_ms();
    dispatchers_look(t);
    healthds_look(t);
    robots_look(t);
    queue_look(t);
    lanes_look(t);
    processes_look(t);
    alerts_each_failing(b, unsent_one, t);
    settle(t);
    many_are_one(t, WORD_COMPANY_AT_LIMIT, WORD_COMPANIES_AT_LIMIT);
    many_are_one(t, WORD_TOKEN_AT_LIMIT, WORD_TOKENS_AT_LIMIT);
    qsort(t->row, t->n, sizeof *t->row, worst_first);
    return t;
}

void words_new(struct broker *b)
{
    b->headline = headline_new(sizeof(struct row));
}

void words_destroy(struct broker *b)
{
    headline_destroy(&b->headline);
}

void words_tick(const struct broker *b)
{
    free(look_at_all(b));
}

/* What is first when nothing is wrong that nobody knows of. NULL: nothing of that kind is to be said. */
static struct jv *well_jv(const struct told *t, bool is_well, bool is_part_held)
{
    struct told *first = xcalloc(1, sizeof *first);
    struct jv *one = NULL;
    first->b = t->b;
    first->now_ms = t->now_ms;
    struct queue_now now = summary_now(t->b);
    bool is_held = is_part_held || (t->n && now.view.held > 0 && now.view.depth <= 0); /* what holds it is said */
    if (now.goes || (is_well && now.view.depth > 0 && !now.view.is_paused)) {
        busy_say(first, &now);
    } else if (is_well && !is_held) {
        struct row *r = say(first, WORD_WELL, NULL, 0);
        r->n = peers_count(t->b).usable;
        r->m = fleet_count(t->b).active;
    }
    if (first->n)
        one = row_jv(NULL, &first->row[0]);
    free(first);
    return one;
}

/* A warning that somebody acknowledged does not displace others, nor how the work goes. */
static bool is_calm(const struct jv *one, enum word_level level)
{
    return level == WORD_OK || (level == WORD_WARN && jv_str(jv_get(jv_get(one, "alert"), "acked_by")));
}

struct jv *words_jv(const struct broker *b, const char **state)
{
    struct told *t = look_at_all(b);
    struct jv *list = jv_new_array(), *calm[ROWS_MAX];
    enum word_level worst = t->n ? word_table[t->row[0].word].level : WORD_OK;
    unsigned n = 0;
    for (unsigned i = 0; i < t->n; i++) {
        struct jv *one = row_jv(b, &t->row[i]);
        if (worst == WORD_OK && t->row[i].word == WORD_PART_HOLDS) /* no fault, and before how the rest goes */
            jv_push(list, one);
        else if (is_calm(one, word_table[t->row[i].word].level))
            calm[n++] = one;
        else
            jv_push(list, one);
    }
    struct jv *well = jv_len(list) && worst != WORD_OK ? NULL : well_jv(t, worst == WORD_OK, jv_len(list) > 0);
    if (well)
        jv_push(list, well);
    for (unsigned i = 0; i < n; i++)
        jv_push(list, calm[i]);
    *state = word_level_name[worst];
    free(t);
    return list;
}
