/* SPDX-License-Identifier: MIT */
/*
 * store_waits.c - what holds a part of the queue as a whole: a pause of all of it or of that part, its portal's breaker, its
 * portal's limits; and that its robots have no place for it. Reads only.
 */
#include "dispatcher/store/store_waits.h"
#include "dispatcher/store/store_portal.h"
#include "dispatcher/store/store_queue.h"
#include "dispatcher/store/store_sql.h"

#include "db/robot_row.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct jv *why_say(struct jv *list, const char *reason, const char *detail)
{
    struct jv *why = jv_new_object();
    jv_set_str(why, "reason", reason);
    jv_set_str(why, "detail", detail);
    jv_push(list, why);
    return why;
}

static enum db_rc paused_look(struct db *db, struct jv *list)
{
    struct pause pause;
    TRY(pause_read(db, &pause));
    if (!pause.is_on)
        return DB_OK;
    struct jv *why = why_say(list, "paused", "The queue is paused.");
    jv_set_str(why, "by", pause.by);
    jv_set_str(why, "why", pause.reason);
    jv_set_time(why, "until", pause.until_ms);
    return DB_OK;
}

/* A pause of a part of the queue, its portal's breaker, or its limits. */
static enum db_rc held_look(struct db *db, const struct portal_conf_table *portals, const struct waits_of *w,
                            struct jv *list)
{
    static const char *const words[] = {
        [GATE_BREAKER] =
            "The portal is down: one log-in probes it now and then, the others wait. No attempt is counted.",
        [GATE_PACE] = "The portal gets as many log-ins a minute as it may (logins_per_minute).",
        [GATE_AT_ONCE] = "The portal gets as many log-ins at once as it may (logins_at_once)."};
    const struct portal_conf *conf = portal_conf_find(portals, w->portal);
    struct scope_pause *pauses;
    struct portal_state p;
    uint64_t now_us, opening = 0, wait_us;
    enum portal_gate gate;
    unsigned n;
    enum db_rc rc = scope_pauses_read(db, &pauses, &n);
    const struct scope_pause *pause =
        rc == DB_OK ? scope_pause_of(pauses, n, w->portal, w->action, w->batch_id) : NULL;
    if (pause) {
        struct jv *why = why_say(list, "paused", "A pause of this part of the queue holds it.");
        jv_set_str(why, "by", pause->by);
        jv_set_str(why, "why", pause->reason[0] ? pause->reason : NULL);
        jv_set_time(why, "until", pause->until_ms);
    }
    bool is_paused = pause != NULL;
    free(pauses);
    TRY(rc);
    TRY(portal_read(db, w->portal, &p, &now_us));
    TRY(portal_opening(db, w->portal, &opening));
    if (!portal_is_gated(&p, conf) || portal_may(&p, conf, opening, now_us, &wait_us, &gate) == BREAKER_ANY ||
        gate == GATE_OPEN)
        return DB_OK;
    if (gate != GATE_BREAKER && wait_us == 0)
        return DB_OK;
    bool is_back = gate == GATE_BREAKER && p.breaker.state == BREAKER_RETURNING;
    if (gate == GATE_BREAKER && p.breaker.state == BREAKER_DOUBTFUL) /* it is known in a moment */
        return DB_OK;
    struct jv *why =
        is_back
            ? why_say(list, "portal_returning", "The portal is back: its log-ins return at 1, 2, 4 … a second.")
            : why_say(list, gate == GATE_BREAKER ? "portal_unavailable" : "portal_limit", words[gate]);
    if (gate == GATE_BREAKER && is_paused && !is_back)
        jv_set_str(why, "detail",
                   "The portal was down when it was last asked: while this is paused nobody asks it.");
    jv_set_str(why, "portal", w->portal);
    jv_set_str(why, "error", gate == GATE_BREAKER && p.breaker.why[0] ? p.breaker.why : NULL);
    return DB_OK;
}

enum db_rc waits_look(struct db *db, const struct portal_conf_table *portals, const struct waits_of *w,
                      struct jv *list, bool *stands)
{
    TRY(paused_look(db, list));
    TRY(held_look(db, portals, w, list));
    *stands = false;
    for (size_t i = 0; i < jv_len(list); i++) {
        const char *reason = jv_str(jv_get(jv_at(list, i), "reason"));
        *stands |= strcmp(reason, "portal_limit") != 0 &&
                   strcmp(reason, "portal_returning") != 0; /* they only slow it down */
    }
    return DB_OK;
}

/* ---- places ------------------------------------------------------------------------------------------------- */

struct places {
    uint64_t robots, total, free, open, usable; /* open: to queued work; usable: of these, by a log-in now */
};

static enum db_rc places_count(struct db *db, const struct work_room *room, struct places *n)
{
    TRY(db_query(
        db,
        "SELECT r.id, " ROBOT_CAPACITY ", (SELECT "
        "COUNT(p.session_ref) FROM chasqui_places p WHERE p.robot_id = r.id), (SELECT COUNT(*) FROM chasqui_sessions s WHERE s.robot_id = "
        "r.id AND s.live = 1 AND s.state = 'opening') FROM chasqui_robots r WHERE r.removed = 0 AND r.wanted = 'active' AND NOT EXISTS "
        "(SELECT 1 FROM chasqui_sessions a WHERE a.close_pending = 1 AND a.robot_id = r.id)",
        ""));
    while (db_next(db)) {
        uint64_t id = db_u64(db, 0), capacity = db_u64(db, 1), used = db_u64(db, 2), opening = db_u64(db, 3);
        bool is_candidate = false;
        for (unsigned i = 0; i < room->n_candidates; i++)
            is_candidate |= room->candidate[i].robot_id == id;
        if (!is_candidate)
            continue;
        uint64_t open_to_queue = capacity - capacity * room->kept_back_percent / 100;
        uint64_t open = open_to_queue > used ? open_to_queue - used : 0;
        uint64_t logins = room->logins_per_robot > opening ? room->logins_per_robot - opening : 0;
        n->robots++;
        n->total += capacity;
        n->free += capacity > used ? capacity - used : 0;
        n->open += open;
        n->usable += open < logins ? open : logins;
    }
    return DB_OK;
}

enum db_rc places_look(struct db *db, const struct work_room *room, bool with_numbers, struct jv *list)
{
    struct places n = {0};
    char kept[120];
    TRY(places_count(db, room, &n));
    if (n.usable)
        return DB_OK;
    snprintf(kept, sizeof(kept), "All places for queued work are taken; %llu %s kept for interactive log-ins.",
             (unsigned long long)n.free, n.free == 1 ? "place is" : "places are");
    struct jv *why = why_say(
        list, n.robots || room->n_full ? "waiting_for_place" : "no_robot",
        room->n_full
            ? "Robots say that they are full; they are asked again within 30 s, or as soon as their count drops."
        : !n.robots ? "No robot that is up may be given work."
        : n.open    ? "The robots that have places log in as many as they may at once."
        : n.free    ? kept
                    : "No robot has a free place.");
    if (!with_numbers)
        return DB_OK;
    jv_set_int(why, "robots", (int64_t)n.robots);
    jv_set_int(why, "robots_full", (int64_t)room->n_full);
    jv_set_int(why, "places_free", (int64_t)n.free);
    jv_set_int(why, "places_total", (int64_t)n.total);
    jv_set_int(why, "kept_back_percent", (int64_t)room->kept_back_percent);
    return DB_OK;
}
