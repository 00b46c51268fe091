/* SPDX-License-Identifier: MIT */
/*
 * robots.c - the registry of robots: the database's list, healthd's verdicts, the robots' own reports.
 *
 * Owns: the array of robots. Must never show a base URL outside of robot calls. Must never mistake an old boot id
 * for a new one: reports overtake each other (an answer's header is newer than healthd's last probe), and two
 * processes behind one URL alternate (boots.h, boot_check.c). A robot for which every publisher is silent is
 * unknown, and its last verdict decides its log-ins. A robot that was never judged gets no log-ins until a verdict
 * arrives, unless no healthd was ever heard. A report that did not reach the database is sent again.
 */
#include "dispatcher/robot/robots.h"
#include "dispatcher/news.h"
#include "dispatcher/robot/boot_check.h"
#include "dispatcher/robot/held.h"
#include "dispatcher/robot/hidden_urls.h"
#include "dispatcher/robot/silence.h"
#include "dispatcher/wire/peer.h"

#include "common/boots.h"
#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/url.h"
#include "common/names.h"

#include <stdlib.h>
#include <string.h>

struct known {
    struct robot robot;
    bool is_boot_sure;  /* seen by this process; else from the database, perhaps old */
    struct boots boots; /* all boot ids seen here */
    char boot_when_down[65];
    int64_t told_capacity; /* the value in the database */
    char told_boot[65];
    bool is_telling;
    bool is_two_told; /* by healthd */
};

struct robots {
    struct known *known;
    unsigned n;
    uint32_t *place; /* robot id -> index + 1 */
    uint32_t n_place;
    struct names by_name;
    struct hidden_urls *urls; /* their strings are those of `known` */
    bool is_asking, was_ever_judged;
};

struct robots *robots_new(struct dispatcher *d)
{
    (void)d;
    return xcalloc(1, sizeof(struct robots));
}

static void contents_free(struct robots *rs)
{
    free(rs->known);
    free(rs->place);
    hidden_urls_destroy(&rs->urls);
    names_clear(&rs->by_name);
}

void robots_destroy(struct robots **rp)
{
    if (*rp)
        contents_free(*rp);
    free(*rp);
    *rp = NULL;
}

static struct known *find_in(const struct robots *rs, uint32_t id)
{
    return id < rs->n_place && rs->place[id] ? &rs->known[rs->place[id] - 1] : NULL;
}

static struct known *find(const struct dispatcher *d, uint32_t id)
{
    return find_in(d->robots, id);
}

const struct robot *robot_by_id(const struct dispatcher *d, uint32_t id)
{
    const struct known *k = find(d, id);
    return k ? &k->robot : NULL;
}

const struct robot *robot_by_name(const struct dispatcher *d, const char *name)
{
    uint32_t at = names_find(&d->robots->by_name, name);
    return at == NAMES_NONE ? NULL : &d->robots->known[at].robot;
}

const struct robot *robot_by_url(const struct dispatcher *d, const char *url)
{
    char normal[URL_ROOM];
    if (!url_normalise(url, normal, sizeof(normal), NULL))
        return NULL;
    for (unsigned i = 0; i < d->robots->n; i++)
        if (strcmp(d->robots->known[i].robot.base_url, normal) == 0)
            return &d->robots->known[i].robot;
    return NULL;
}

void robots_each(struct dispatcher *d, void (*fn)(struct dispatcher *d, const struct robot *r, void *arg),
                 void *arg)
{
    for (unsigned i = 0; i < d->robots->n; i++)
        fn(d, &d->robots->known[i].robot, arg);
}

/* ---- to the database ---------------------------------------------------------------------------------------- */

static void tell_store(struct dispatcher *d, struct known *k);

static void store_told(void *arg, void *op_arg)
{
    struct dispatcher *d = arg;
    struct store_robot_seen *op = op_arg;
    struct known *k = find(d, op->robot_id);
    if (k)
        k->is_telling = false;
    if (k && op->rc == STORE_OK) {
        if (op->reported_capacity >= 0)
            k->told_capacity = op->reported_capacity;
        if (op->boot_id[0])
            strcpy(k->told_boot, op->boot_id);
        tell_store(d, k); /* it may have changed meanwhile */
    }
    if (op->rc == STORE_OK && op->freed)
        peers_wake(d, "place");
    free(op);
}

/* Sends the database the reports that it lacks, if any. */
static void tell_store(struct dispatcher *d, struct known *k)
{
    const struct robot *r = &k->robot;
    bool is_capacity = r->capacity >= 0 && r->capacity != k->told_capacity;
    bool is_boot = k->is_boot_sure && r->boot_id[0] && strcmp(r->boot_id, k->told_boot) != 0;
    if (k->is_telling || (!is_capacity && !is_boot))
        return;
    struct store_robot_seen *op = xcalloc(1, sizeof(*op));
    op->robot_id = r->id;
    op->reported_capacity = is_capacity ? r->capacity : -1;
    op->fenced = -1;
    if (is_boot)
        strcpy(op->boot_id, r->boot_id);
    k->is_telling = true;
    store_submit(d->store, store_robot_seen, op, store_told, d);
}

/* ---- from the database -------------------------------------------------------------------------------------- */

static void known_fill(struct known *k, const struct robot_record *from, const struct known *before)
{
    if (before) {
        *k = *before;
    } else {
        *k = (struct known){.told_capacity = from->reported_capacity};
        k->robot = (struct robot){.id = from->id,
                                  .sessions = -1,
                                  .capacity = from->reported_capacity,
                                  .fenced = from->fenced,
                                  .down = from->down};
        robot_speaks_reset(&k->robot.speaks);
        if (from->down) /* as other dispatchers know, or we knew before our restart */
            k->robot.verdict = k->robot.last_judged = VERDICT_DOWN;
        strcpy(k->robot.boot_id, from->boot_id);
        strcpy(k->told_boot, from->boot_id);
    }
    strcpy(k->robot.name, from->name);
    strcpy(k->robot.base_url, from->base_url);
    strcpy(k->robot.viewer_url, from->viewer_url);
    k->robot.wanted = from->wanted;
}

static struct hidden_urls *urls_of(const struct robots *rs)
{
    struct hidden_url *rows = xcalloc(rs->n ? rs->n : 1, sizeof(*rows));
    for (unsigned i = 0; i < rs->n; i++)
        rows[i] = (struct hidden_url){rs->known[i].robot.base_url, rs->known[i].robot.name};
    struct hidden_urls *urls = hidden_urls_new(rows, rs->n);
    free(rows);
    return urls;
}

static void take_over(struct dispatcher *d, struct store_robots *op)
{
    struct robots *rs = d->robots, old = *rs;
    d->robots_revision = op->revision;
    rs->n = op->n;
    rs->known = xcalloc(op->n ? op->n : 1, sizeof(*rs->known));
    rs->n_place = op->n ? op->robot[op->n - 1].id + 1 : 0; /* rows are sorted by id */
    rs->place = xcalloc(rs->n_place ? rs->n_place : 1, sizeof(*rs->place));
    rs->by_name = (struct names){0};
    for (unsigned i = 0; i < op->n; i++) {
        known_fill(&rs->known[i], &op->robot[i], find_in(&old, op->robot[i].id));
        rs->place[op->robot[i].id] = i + 1;
        names_add(&rs->by_name, rs->known[i].robot.name, i);
    }
    rs->urls = urls_of(rs);
    for (unsigned i = 0; i < rs->n; i++)
        if (!find_in(&old, rs->known[i].robot.id))
            d->news->robot_to_compare(d, rs->known[i].robot.id);
    contents_free(&old);
    log_line(LOG_INFO, "robots", "revision", log_i((long long)d->robots_revision), "n", log_i(rs->n), NULL);
    d->news->robots_reloaded(d);
}

static void reloaded(void *arg, void *op_arg)
{
    struct dispatcher *d = arg;
    struct store_robots *op = op_arg;
    d->robots->is_asking = false;
    if (op->rc == STORE_OK && op->changed)
        take_over(d, op);
    free(op->robot);
    free(op);
    if (!d->robots_asked) {
        d->robots_asked = true;
        peers_ping(d);
    }
}

void robots_reload(struct dispatcher *d)
{
    for (unsigned i = 0; i < d->robots->n; i++)
        tell_store(d, &d->robots->known[i]);
    if (d->robots->is_asking)
        return;
    struct store_robots *op = xcalloc(1, sizeof(*op));
    op->known = d->robots_revision;
    d->robots->is_asking = true;
    store_submit(d->store, store_robots, op, reloaded, d);
}

/* ---- from the robots ---------------------------------------------------------------------------------------- */

static void boot_take(struct dispatcher *d, struct known *k, const char *boot_id)
{
    struct robot *r = &k->robot;
    char before[65];
    uint32_t id = r->id;
    k->is_boot_sure = true;
    boots_take(&k->boots, boot_id, clock_ms());
    if (strcmp(r->boot_id, boot_id) == 0)
        return;
    strcpy(before, r->boot_id);
    str_copy(r->boot_id, sizeof(r->boot_id), str_of(boot_id));
    backoff_clear(&r->full);
    robot_speaks_reset(&r->speaks); /* it may be another version */
    log_line(LOG_INFO, "robot_boot", "robot", r->name, "from", before, "to", r->boot_id, NULL);
    tell_store(d, k);
    if (before[0])
        d->news->robot_changed(d, id, "robot_restarted");
    d->news->robot_to_compare(d, id);
}

/* Reports a second process once, and again when it returns after both had counted as one. */
static void two_look(struct dispatcher *d, struct known *k)
{
    struct robot *r = &k->robot;
    bool is_two = k->is_two_told || boots_are_two(&k->boots, clock_ms());
    if (is_two == r->is_two)
        return;
    r->is_two = is_two;
    log_line(LOG_WARN, is_two ? "two_boots" : "one_boot", "robot", r->name, "boot", r->boot_id, "other",
             k->boots.other, NULL);
    if (is_two)
        boot_check_two(d, r);
}

/* A different boot id may mean a restart, or a second process behind the same URL. The robot is probed further
 * before any session ends. */
static void boot_note(struct dispatcher *d, struct known *k, const char *boot_id, uint64_t asked_ms)
{
    if (!k->boots.now[0] && k->robot.boot_id[0] && k->is_boot_sure)
        boots_take(&k->boots, k->robot.boot_id, clock_ms());
    if (!k->robot.boot_id[0] || (!k->is_boot_sure && strcmp(k->robot.boot_id, boot_id) == 0)) {
        boot_take(d, k, boot_id);
        return;
    }
    if (!k->boots.now[0]) /* from the database, from before our start */
        boots_take(&k->boots, k->robot.boot_id, clock_ms());
    switch (boots_see(&k->boots, boot_id, asked_ms, clock_ms())) {
    case BOOT_NEW:
        boot_check(d, k->robot.id);
        break;
    case BOOT_TWO:
        two_look(d, k);
        break;
    case BOOT_SAME:
    case BOOT_STALE:
        break;
    }
}

void robots_boot_seen(struct dispatcher *d, uint32_t robot_id, const char *boot_id, uint64_t asked_ms)
{
    struct known *k = find(d, robot_id);
    if (k && *boot_id && strlen(boot_id) < BOOT_ROOM)
        boot_note(d, k, boot_id, asked_ms);
}

bool robots_boot_checked(struct dispatcher *d, uint32_t robot_id)
{
    struct known *k = find(d, robot_id);
    char next[BOOT_ROOM];
    if (!k || !k->boots.next[0])
        return false;
    strcpy(next, k->boots.next);
    boot_take(d, k, next);
    return true;
}

bool robots_boot_in_doubt(const struct dispatcher *d, uint32_t robot_id)
{
    const struct known *k = find(d, robot_id);
    return k && k->boots.next[0];
}

/* healthd's probe may be older than our own observation. A boot id new to us is checked; an old one proves
 * nothing. */
static void boot_heard(struct dispatcher *d, struct known *k, const char *boot_id, const struct health_row *row)
{
    k->is_two_told = row->other_boot.len > 0;
    two_look(d, k);
    if (*boot_id && !k->is_two_told)
        boot_note(d, k, boot_id, 0);
}

void robots_boots_look(struct dispatcher *d)
{
    for (unsigned i = 0; i < d->robots->n; i++)
        two_look(d, &d->robots->known[i]);
}

void robots_mute(struct dispatcher *d, uint32_t robot_id, bool is_mute)
{
    struct known *k = find(d, robot_id);
    if (k)
        k->robot.is_mute = is_mute;
}

enum verdict robot_verdict(const struct robot *r, const char **why)
{
    bool is_doubted = r->verdict == VERDICT_UP && (r->is_mute || r->is_two);
    *why = !is_doubted ? r->why : r->is_two ? "two_boots" : MUTE_WHY;
    return is_doubted ? VERDICT_SUSPECT : r->verdict;
}

/* ---- the optional calls ------------------------------------------------------------------------------------- */

static void told_freed(void *arg, void *op)
{
    (void)arg;
    free(op);
}

static void spoken_changed(struct dispatcher *d, struct robot *r)
{
    static const char *const word[] = {"unknown", "no", "yes"};
    log_line(LOG_INFO, "robot_speaks", "robot", r->name, "list", word[r->speaks.list.known + 1], "close",
             word[r->speaks.close.known + 1], "fence", word[r->speaks.fence.known + 1], NULL);
    if (r->speaks.list.known < 0 || r->fenced == r->speaks.list.known)
        return;
    r->fenced = r->speaks.list.known;
    struct store_robot_seen *op = xcalloc(1, sizeof(*op));
    op->robot_id = r->id;
    op->reported_capacity = -1;
    op->fenced = r->fenced;
    store_submit(d->store, store_robot_seen, op, told_freed, d);
}

static enum told spoken(struct dispatcher *d, uint32_t robot_id, const struct call_answer *a, struct jv **list,
                        bool is_close, uint64_t epoch)
{
    struct known *k = find(d, robot_id);
    if (list)
        *list = NULL;
    if (!k)
        return TOLD_NOTHING;
    struct speaks *s = &k->robot.speaks, before = *s;
    enum told told = list       ? robot_told_list(s, a, list)
                     : is_close ? robot_told_closed(s, a)
                                : robot_told_fenced(s, a, epoch);
    if (s->list.known != before.list.known || s->close.known != before.close.known ||
        s->fence.known != before.fence.known)
        spoken_changed(d, &k->robot);
    return told;
}

enum told robots_told_list(struct dispatcher *d, uint32_t robot_id, const struct call_answer *a, struct jv **body)
{
    return spoken(d, robot_id, a, body, false, 0);
}

enum told robots_told_closed(struct dispatcher *d, uint32_t robot_id, const struct call_answer *a)
{
    return spoken(d, robot_id, a, NULL, true, 0);
}

enum told robots_told_fenced(struct dispatcher *d, uint32_t robot_id, const struct call_answer *a, uint64_t epoch)
{
    return spoken(d, robot_id, a, NULL, false, epoch);
}

/* ---- from healthd ------------------------------------------------------------------------------------------- */

static void verdict_changed(struct dispatcher *d, struct known *k, enum verdict before)
{
    struct robot *r = &k->robot;
    uint32_t id = r->id;
    log_line(LOG_INFO, "robot", "robot", r->name, "from", verdict_name[before], "to", verdict_name[r->last_judged],
             "down", down_name[r->down], "why", r->why, NULL);
    if (r->last_judged == VERDICT_DOWN) {
        strcpy(k->boot_when_down, r->boot_id);
        if (r->down == DOWN_DEAD)
            d->news->robot_changed(d, id, "robot_down");
        silence_tick(d);
        return;
    }
    if (before == VERDICT_DOWN)
        silence_over(d, id);
    if (before == VERDICT_DOWN || before == VERDICT_UNKNOWN) {
        /* After a new boot, planned migrations must go ahead. */
        const char *boot_before = before == VERDICT_DOWN ? k->boot_when_down : k->told_boot;
        if (strcmp(boot_before, r->boot_id) == 0 && !k->boots.next[0])
            d->news->robot_changed(d, id, "robot_up");
        d->news->robot_to_compare(d, id);
    }
    peers_wake(d, "place");
}

/* A healthd that has just started reports unknown, then suspect, for a robot that it never saw well. A robot that
 * is down stays down until it is up. */
static enum verdict verdict_of(const struct robot *r, const struct health_row *row)
{
    bool is_only_doubted =
        row->verdict == VERDICT_UNKNOWN || (row->verdict == VERDICT_SUSPECT && !row->other_boot.len);
    return r->last_judged == VERDICT_DOWN && is_only_doubted ? VERDICT_DOWN : row->verdict;
}

void robots_judged(struct dispatcher *d, const struct health_row *row)
{
    char name[NAME_ROOM], boot_id[65];
    str_copy(name, sizeof(name), row->name);
    str_copy(boot_id, sizeof(boot_id), row->boot_id);
    uint32_t at = names_find(&d->robots->by_name, name);
    if (at == NAMES_NONE)
        return;
    struct known *k = &d->robots->known[at];
    struct robot *r = &k->robot;
    enum verdict before = r->last_judged, verdict_before = r->verdict;
    enum down down_before = r->down;
    uint32_t id = r->id;
    r->verdict = verdict_of(r, row);
    r->since_ms = row->since_unix_ms;
    r->sessions = row->sessions;
    if (backoff_count(&r->full, clock_ms(), row->sessions))
        peers_wake(d, "place");
    str_copy(r->why, sizeof(r->why), row->why);
    robots_hide_urls(d, r->why, sizeof(r->why));
    if (r->verdict != VERDICT_UNKNOWN) {
        d->robots->was_ever_judged = true;
        r->last_judged = r->verdict;
        if (row->verdict == VERDICT_DOWN || r->verdict != VERDICT_DOWN)
            r->down = row->down;
    }
    if (row->capacity >= 0)
        r->capacity = row->capacity;
    tell_store(d, k);
    boot_heard(d, k, boot_id, row);
    if (r->last_judged != before || r->down != down_before)
        verdict_changed(d, k, before);
    if (r->verdict == VERDICT_DOWN && verdict_before != VERDICT_DOWN)
        d->news->robot_down(d, id);
}

void robots_all_unknown(struct dispatcher *d)
{
    for (unsigned i = 0; i < d->robots->n; i++)
        d->robots->known[i].robot.verdict = VERDICT_UNKNOWN;
}

unsigned robots_candidates(struct dispatcher *d, struct candidate *out, unsigned max, const uint32_t *except,
                           unsigned n_except)
{
    unsigned n = 0, all = d->robots->n,
             first = all > max ? (unsigned)(id_random_u64() % all) : 0; /* random, so that the choice varies */
    uint64_t now = clock_ms();
    for (unsigned i = 0; i < all && n < max; i++) {
        const struct robot *r = &d->robots->known[(first + i) % all].robot;
        bool is_left_out = r->wanted != WANTED_ACTIVE || r->last_judged == VERDICT_DOWN ||
                           (r->last_judged == VERDICT_UNKNOWN && d->robots->was_ever_judged) ||
                           backoff_holds(&r->full, now);
        for (unsigned e = 0; e < n_except; e++)
            is_left_out |= except[e] == r->id;
        if (!is_left_out)
            out[n++] = (struct candidate){.robot_id = r->id,
                                          .rank = r->last_judged == VERDICT_SUSPECT || r->is_mute || r->is_two};
    }
    helds_write(d, out, n);
    return n;
}

/* ---- full --------------------------------------------------------------------------------------------------- */

uint32_t robots_full(struct dispatcher *d, uint32_t robot_id, uint64_t asked_ms)
{
    struct known *k = find(d, robot_id);
    if (!k)
        return 0;
    struct robot *r = &k->robot;
    uint64_t now = clock_ms(), before = r->full.until_ms;
    backoff_full(&r->full, now, asked_ms, r->sessions);
    if (r->full.until_ms != before)
        log_line(LOG_INFO, "robot_full", "robot", r->name, "wait_ms", log_i(r->full.wait_ms), "sessions",
                 log_i((long long)r->sessions), NULL);
    return r->full.until_ms > now ? (uint32_t)(r->full.until_ms - now) : 0;
}

void robots_not_full(struct dispatcher *d, uint32_t robot_id)
{
    struct known *k = find(d, robot_id);
    if (k)
        backoff_clear(&k->robot.full);
}

void robots_room(struct dispatcher *d, struct work_room *room)
{
    room->kept_back_percent = (unsigned)d->conf->queue_interactive_percent;
    room->logins_per_robot = (unsigned)d->conf->queue_robot_logins;
    room->n_candidates = robots_candidates(d, room->candidate, CANDIDATES_MAX, NULL, 0);
    room->n_full = robots_n_full(d);
}

unsigned robots_n_full(const struct dispatcher *d)
{
    unsigned n = 0;
    uint64_t now = clock_ms();
    for (unsigned i = 0; i < d->robots->n; i++)
        n += backoff_holds(&d->robots->known[i].robot.full, now);
    return n;
}

/* ---- no base URL leaves this process ------------------------------------------------------------------------ */

void robots_hide_urls(const struct dispatcher *d, char *text, size_t room)
{
    hidden_urls_replace(d->robots->urls, text, room);
}
