/* SPDX-License-Identifier: MIT */
/*
 * store_events.c - the timeline as an outbox. A row of chasqui_outbox is a job of
 * which an event is on its way, or waits for its next try; only the try whose
 * token stands there settles it. So each event is told at least once, by
 * whichever dispatcher, and those of a job (a session is its log-in's) one after
 * another.
 *
 * Rows wait in state 1 and are looked at by the index `outgoing`, oldest first. One whose job is in the outbox goes to
 * state 3 and waits behind it there, so that a receiver that is down does not make the look longer.
 */
#include "dispatcher/store/store_events.h"

#include "dispatcher/store/store_queue.h"
#include "dispatcher/store/store_sql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_ROWS 200

enum subject { SUBJECT_SESSION, SUBJECT_JOB, SUBJECT_BATCH, SUBJECT_PORTAL };
static const struct kind {
    const char *event;
    bool is_of_logins, is_bare;
    const char *name;
    enum subject subject;
} kinds[] = {
#define EVENT_KIND(event, is_of_logins, is_bare, name, subject) {event, is_of_logins, is_bare, name, subject},
#include "dispatcher/store/event_kind.def"
#undef EVENT_KIND
};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

enum db_rc batch_finished_add(struct db *db, uint64_t batch_id)
{
    return db_exec(db, "INSERT INTO chasqui_job_events (job_id, at, event) VALUES (?, NOW(6), 'batch_finished')",
                   "u", BATCH_STREAM | batch_id);
}

enum db_rc portal_change_add(struct db *db, const char *event, const char *portal, const char *why)
{
    return db_exec(
        db,
        "INSERT INTO chasqui_job_events (job_id, at, event, detail, robot_error) VALUES (? + CRC32(?), NOW(6), ?, ?, NULLIF(?, ''))",
        "ussss", (uint64_t)PORTAL_STREAM, portal, event, portal, why);
}

static bool is_told(const char *event)
{
    for (unsigned i = 0; i < N_KINDS; i++)
        if (strcmp(kinds[i].event, event) == 0)
            return true;
    return false;
}

/* The part-th of what a row is told as; NULL behind the last. */
static const struct kind *kind_of(const char *event, bool is_login, bool has_detail, unsigned part)
{
    for (unsigned i = 0; i < N_KINDS; i++)
        if (strcmp(kinds[i].event, event) == 0 && (is_login || !kinds[i].is_of_logins) &&
            !(has_detail && kinds[i].is_bare) && part-- == 0)
            return &kinds[i];
    return NULL;
}

/* ---- a try begins ------------------------------------------------------------------------------------------- */

static struct out_event *got_add(struct store_events_claim *op, uint64_t job_id)
{
    struct out_event *e = &op->got[op->n++];
    *e = (struct out_event){.job_id = job_id, .attempts = 1};
    id_random(e->token, sizeof(e->token));
    id_random(e->delivery, sizeof(e->delivery));
    return e;
}

static enum db_rc next_of_job(struct db *db, uint64_t job_id, uint64_t *event_id)
{
    TRY(db_query(
        db,
        "SELECT id FROM chasqui_job_events WHERE job_id = ? AND out_state IN (1, 3) ORDER BY id LIMIT 1 LOCK IN SHARE MODE",
        "u", job_id));
    *event_id = db_next(db) ? db_u64(db, 0) : 0;
    return DB_OK;
}

/* Jobs whose next try is due: of each the event that it stopped at, or its next one. */
static enum db_rc due_take(struct db *db, struct store_events_claim *op)
{
    TRY(db_query(
        db,
        "SELECT job_id, event_id, part, attempts + 1, delivery FROM chasqui_outbox WHERE due_at <= NOW(6) ORDER BY due_at LIMIT ? FOR UPDATE "
        "SKIP LOCKED",
        "u", (uint64_t)op->max));
    while (op->n < op->max && db_next(db)) {
        size_t len;
        struct out_event *e = got_add(op, db_u64(db, 0));
        const char *delivery = db_str(db, 4, &len);
        e->event_id = db_u64(db, 1);
        e->part = (unsigned)db_u64(db, 2);
        e->attempts = (unsigned)db_u64(db, 3);
        memcpy(e->delivery, delivery, len < sizeof(e->delivery) ? len : sizeof(e->delivery));
    }
    for (unsigned i = 0; i < op->n;) {
        struct out_event *e = &op->got[i];
        if (!e->event_id)
            TRY(next_of_job(db, e->job_id, &e->event_id));
        if (e->event_id) {
            TRY(db_exec(
                db,
                "UPDATE chasqui_outbox SET event_id = ?, attempts = ?, token = ?, due_at = NOW(6) + INTERVAL ? MICROSECOND WHERE job_id = ?",
                "uubuu", e->event_id, (uint64_t)e->attempts, (const void *)e->token, sizeof(e->token),
                (uint64_t)op->lease_ms * 1000, e->job_id));
            i++;
        } else {
            TRY(db_exec(db, "DELETE FROM chasqui_outbox WHERE job_id = ?", "u", e->job_id));
            *e = op->got[--op->n];
        }
    }
    return DB_OK;
}

struct fresh {
    uint64_t event_id, job_id;
    bool is_told;
};

/* One that waits: is it the first of its job, and nothing of it on its way? */
static enum db_rc fresh_take(struct db *db, struct store_events_claim *op, const struct fresh *f)
{
    if (!f->is_told)
        return db_exec(db, "UPDATE chasqui_job_events SET out_state = NULL WHERE id = ?", "u", f->event_id);
    TRY(db_query(db, "SELECT 1 FROM chasqui_outbox WHERE job_id = ? FOR UPDATE", "u", f->job_id));
    if (db_next(db))
        return db_exec(db, "UPDATE chasqui_job_events SET out_state = 3 WHERE id = ?", "u", f->event_id);
    TRY(db_query(db,
                 "SELECT 1 FROM chasqui_job_events WHERE job_id = ? AND id < ? AND out_state IN (1, 3) LIMIT 1",
                 "uu", f->job_id, f->event_id));
    if (db_next(db)) /* somebody else has that one in hand */
        return DB_OK;
    if (op->n == op->max) {
        op->more = true;
        return DB_OK;
    }
    struct out_event *e = got_add(op, f->job_id);
    e->event_id = f->event_id;
    enum db_rc rc = db_exec(
        db,
        "INSERT INTO chasqui_outbox (job_id, event_id, attempts, delivery, token, due_at) VALUES (?, ?, 1, ?, ?, NOW(6) + INTERVAL ? "
        "MICROSECOND)",
        "uubbu", e->job_id, e->event_id, (const void *)e->delivery, sizeof(e->delivery), (const void *)e->token,
        sizeof(e->token), (uint64_t)op->lease_ms * 1000);
    return rc == DB_DUP ? DB_RETRY : rc;
}

static enum db_rc claim_tx(struct db *db, void *arg)
{
    struct store_events_claim *op = arg;
    struct fresh fresh[LOOK_ROWS];
    char since[40] = "";
    unsigned n = 0;
    op->n = 0;
    op->more = false;
    TRY(due_take(db, op));
    op->more = op->n == op->max;
    if (op->more)
        return DB_OK;
    TRY(db_query(db, "SELECT CAST(since AS CHAR) FROM chasqui_outbox_since WHERE one = 1", ""));
    if (db_next(db))
        db_str_copy(db, 0, since, sizeof(since));
    TRY(db_query(
        db,
        "SELECT e.id, e.job_id, e.event, e.at >= ? FROM chasqui_job_events e FORCE INDEX (outgoing) WHERE e.out_state = 1 ORDER BY e.id LIMIT ? FOR "
        "UPDATE SKIP LOCKED",
        "su", since, (uint64_t)LOOK_ROWS));
    for (; n < LOOK_ROWS && db_next(db); n++)
        fresh[n] = (struct fresh){db_u64(db, 0), db_u64(db, 1), db_u64(db, 3) && is_told(db_str(db, 2, NULL))};
    op->more = n == LOOK_ROWS;
    for (unsigned i = 0; i < n && op->n < op->max; i++)
        TRY(fresh_take(db, op, &fresh[i]));
    op->more |= op->n == op->max;
    return DB_OK;
}

/* ---- what is told ------------------------------------------------------------------------------------------- */

static enum store_rc job_look(struct db *db, const struct kind *k, struct out_event *e, const char *event,
                              struct jv *body)
{
    struct store_job look = {.job_id = e->job_id};
    char worker[NAME_ROOM];
    enum jv_bad bad;
    store_job(db, &look);
    struct jv *answer = look.rc == STORE_OK && look.found ? jv_parse(look.json.data, look.json.len, &bad) : NULL;
    struct jv *job = jv_copy(jv_get(answer, "job"));
    if (job && k->subject == SUBJECT_JOB) {
        jv_set_str(job, "status", event); /* as it was then: somebody may have put it back since */
        jv_set(body, "job", job);
    } else {
        jv_free(job);
    }
    if (answer && k->subject == SUBJECT_SESSION && look.session.ref)
        jv_set(body, "session", session_jv(&look.session, worker_name(db, look.session.robot_id, worker)));
    else if (k->subject == SUBJECT_SESSION)
        jv_set_int(body, "job_id", (int64_t)e->job_id);
    jv_free(answer);
    buf_free(&look.json);
    return look.rc;
}

static enum store_rc batch_look(struct db *db, struct out_event *e, struct jv *body)
{
    struct store_batch look = {.batch_id = e->job_id & ~BATCH_STREAM, .viewer = {.all = true}};
    enum jv_bad bad;
    store_batch(db, &look);
    struct jv *answer = look.rc == STORE_OK && look.found ? jv_parse(look.json.data, look.json.len, &bad) : NULL;
    jv_set(body, "batch", jv_copy(jv_get(answer, "batch")));
    jv_free(answer);
    buf_free(&look.json);
    return look.rc;
}

static struct jv *portal_jv(const char *portal, const char *event, const char *why)
{
    struct jv *one = jv_new_object();
    jv_set_str(one, "portal", portal);
    jv_set_str(one, "state", strcmp(event, "portal_tripped") == 0 ? "tripped" : "returning");
    jv_set_str(one, "why", why[0] ? why : NULL);
    return one;
}

/* An event whose row is gone, or that is told as nothing, has an empty body. */
static enum store_rc body_make(struct db *db, struct out_event *e)
{
    char event[41], detail[256], why[257];
    if (db_query(
            db,
            "SELECT e.event, COALESCE(e.detail, ''), CAST(UNIX_TIMESTAMP(e.at) * 1000 AS INT), COALESCE(q.kind = 'login', 1), "
            "TIMESTAMPDIFF(MICROSECOND, e.at, NOW(6)) DIV 1000, COALESCE(e.robot_error, '') FROM chasqui_job_events e LEFT JOIN chasqui_jobs q ON q.job_id = e.job_id WHERE e.id = ?",
            "u", e->event_id))
        return STORE_DOWN;
    if (!db_next(db))
        return STORE_OK;
    db_str_copy(db, 0, event, sizeof(event));
    db_str_copy(db, 1, detail, sizeof(detail));
    int64_t at_ms = db_i64(db, 2);
    const struct kind *k = kind_of(event, db_u64(db, 3) != 0, detail[0] != 0, e->part);
    e->age_ms = db_i64(db, 4);
    db_str_copy(db, 5, why, sizeof(why));
    if (!k)
        return STORE_OK;
    struct jv *body = jv_new_object();
    jv_set_str(body, "event", k->name);
    jv_set_time(body, "at", at_ms);
    if (k->subject == SUBJECT_SESSION)
        jv_set_str(body, "reason", detail[0] ? detail : NULL);
    snprintf(e->kind, sizeof(e->kind), "%s", k->name);
    enum store_rc rc = STORE_OK;
    if (k->subject == SUBJECT_PORTAL)
        jv_set(body, "portal", portal_jv(detail, event, why));
    else
        rc = k->subject == SUBJECT_BATCH ? batch_look(db, e, body) : job_look(db, k, e, event, body);
    if (rc == STORE_OK)
        json_take(body, &e->body);
    else
        jv_free(body);
    return rc;
}

/* From the first look of a dispatcher that tells events on: what happened before is nobody's. */
static enum db_rc since_make(struct db *db)
{
    static _Thread_local bool is_made;
    if (is_made)
        return DB_OK;
    TRY(db_exec(db, "INSERT IGNORE INTO chasqui_outbox_since (one, since) VALUES (1, NOW(6))", ""));
    is_made = true;
    return DB_OK;
}

static enum db_rc is_any(struct db *db, bool *any, bool *is_idle)
{
    TRY(since_make(db));
    TRY(db_query(
        db,
        "SELECT EXISTS (SELECT 1 FROM chasqui_outbox WHERE due_at <= NOW(6)) OR EXISTS (SELECT 1 FROM chasqui_job_events WHERE out_state = 1), EXISTS (SELECT 1 FROM "
        "chasqui_outbox)",
        ""));
    *any = db_next(db) && db_u64(db, 0);
    *is_idle = !*any && !db_u64(db, 1);
    return DB_OK;
}

void store_events_claim(struct db *db, void *arg)
{
    struct store_events_claim *op = arg;
    bool any = false;
    op->n = 0;
    op->is_idle = false;
    op->rc = store_rc_of(db ? is_any(db, &any, &op->is_idle) : DB_GONE);
    if (op->rc != STORE_OK || !any)
        return;
    op->rc = store_tx(db, claim_tx, NULL, op);
    for (unsigned i = 0; op->rc == STORE_OK && i < op->n; i++)
        op->rc = body_make(db, &op->got[i]); /* what cannot be read now is due again when its lease ends */
}

/* ---- and ends ----------------------------------------------------------------------------------------------- */

/* The event is settled: the next of its job is due at once, or there is none. */
static enum db_rc event_over(struct db *db, struct store_event_end *op, unsigned out_state)
{
    uint64_t next;
    uint8_t delivery[ID_TOKEN_BYTES];
    id_random(delivery, sizeof(delivery));
    TRY(db_exec(db, "UPDATE chasqui_job_events SET out_state = NULLIF(?, 0) WHERE id = ?", "uu",
                (uint64_t)out_state, op->event_id));
    TRY(next_of_job(db, op->job_id, &next));
    if (!next)
        return db_exec(db, "DELETE FROM chasqui_outbox WHERE job_id = ?", "u", op->job_id);
    return db_exec(
        db,
        "UPDATE chasqui_outbox SET event_id = 0, part = 0, attempts = 0, token = NULL, delivery = ?, due_at = NOW(6), last_error = NULL WHERE "
        "job_id = ?",
        "bu", (const void *)delivery, sizeof(delivery), op->job_id);
}

static void subject_write(uint64_t stream, char *out, size_t room)
{
    if (stream >= BATCH_STREAM)
        snprintf(out, room, "batch:%llu", (unsigned long long)(stream & ~BATCH_STREAM));
    else if (stream >= PORTAL_STREAM)
        snprintf(out, room, "portal");
    else
        snprintf(out, room, "job:%llu", (unsigned long long)stream);
}

static enum db_rc end_tx(struct db *db, void *arg)
{
    struct store_event_end *op = arg;
    uint8_t delivery[ID_TOKEN_BYTES];
    char actor[NAME_ROOM + 12], subject[48];
    id_random(delivery, sizeof(delivery));
    TRY(db_query(db, "SELECT 1 FROM chasqui_outbox WHERE job_id = ? AND token = ? FOR UPDATE", "ub", op->job_id,
                 (const void *)op->token, (size_t)ID_TOKEN_BYTES));
    op->lost = !db_next(db);
    if (op->lost)
        return DB_OK;
    TRY(db_query(
        db,
        "SELECT e.event, COALESCE(e.detail, '') <> '', COALESCE(q.kind = 'login', 1) FROM chasqui_job_events e LEFT JOIN chasqui_jobs q ON q.job_id = "
        "e.job_id WHERE e.id = ?",
        "u", op->event_id));
    bool is_last =
        !db_next(db) || !kind_of(db_str(db, 0, NULL), db_u64(db, 2) != 0, db_u64(db, 1) != 0, op->part + 1);
    if (op->is_delivered && !is_last)
        return db_exec(
            db,
            "UPDATE chasqui_outbox SET part = part + 1, attempts = 0, token = NULL, delivery = ?, due_at = NOW(6), last_error = NULL WHERE job_id = ?",
            "bu", (const void *)delivery, sizeof(delivery), op->job_id);
    if (op->is_delivered)
        return event_over(db, op, 0);
    if (op->again_ms >= 0)
        return db_exec(
            db,
            "UPDATE chasqui_outbox SET token = NULL, last_error = LEFT(?, 200), due_at = NOW(6) + INTERVAL ? MICROSECOND WHERE job_id = ?",
            "siu", op->error, op->again_ms * 1000, op->job_id);
    TRY(event_over(db, op, 2));
    snprintf(actor, sizeof(actor), "dispatcher:%s", op->holder);
    subject_write(op->job_id, subject, sizeof(subject));
    return audit_add(db, actor, NULL, NULL, "event_given_up", subject, op->error);
}

void store_event_end(struct db *db, void *arg)
{
    struct store_event_end *op = arg;
    op->rc = store_tx(db, end_tx, NULL, op);
}
