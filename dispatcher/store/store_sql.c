/* SPDX-License-Identifier: MIT */
/*
 * store_sql.c - the pieces of SQL that the store_*.c files share: reading a
 * session row, leases, epochs, places, events. Owns nothing. Every change is
 * keyed by a primary or unique key.
 */
#include "dispatcher/store/store_place.h"
#include "dispatcher/store/store_refusal.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/text.h"
#include "db/db_list.h"
#include "db/robot_row.h"

#include <stdlib.h>
#include <string.h>

enum store_rc store_rc_of(enum db_rc rc)
{
    return rc == DB_OK ? STORE_OK : rc == DB_REFUSED ? STORE_REFUSED : STORE_DOWN;
}

void json_take(struct jv *body, struct buf *out)
{
    size_t len;
    char *text = jv_dump(body, &len);
    buf_add(out, text, len);
    free(text);
    jv_free(body);
}

void json_set_column(struct jv *obj, const char *key, struct db *db, unsigned col)
{
    if (db_is_null(db, col))
        jv_set(obj, key, NULL);
    else
        jv_set_int(obj, key, db_i64(db, col));
}

enum store_rc group_tx(struct db *db, struct store_group *group, enum db_rc (*fn)(struct db *, void *),
                       int (*was_done)(struct db *, void *), void *arg)
{
    enum db_rc rc = DB_GONE;
    enum db_done how = db ? db_tx(db, fn, was_done, arg, &rc) : TX_NOT;
    bool is_down = how == TX_NOT && (rc == DB_GONE || rc == DB_NOT_HERE);
    for (unsigned i = 0; i < group->n; i++)
        group->is_apart[i] = !is_down && (how == TX_NOT || group->is_apart[i]);
    return how == TX_DONE ? STORE_OK : how == TX_NOT ? STORE_DOWN : STORE_UNKNOWN;
}

enum store_rc store_tx(struct db *db, enum db_rc (*fn)(struct db *, void *), int (*was_done)(struct db *, void *),
                       void *op)
{
    enum db_rc rc;
    if (!db)
        return STORE_DOWN;
    switch (db_tx(db, fn, was_done, op, &rc)) {
    case TX_DONE:
        return STORE_OK;
    case TX_NOT:
        return store_rc_of(rc);
    case TX_UNKNOWN:
        break;
    }
    return STORE_UNKNOWN;
}

void session_read(struct db *db, unsigned at, struct session_row *out)
{
    memset(out, 0, sizeof(*out));
    out->ref = db_u64(db, at);
    out->job_id = db_u64(db, at + 1);
    out->company_id = db_u64(db, at + 2);
    out->generation = (uint32_t)db_u64(db, at + 3);
    out->state = (enum session_state)(db_u64(db, at + 4) - 1); /* ENUM indexes count from 1 */
    out->epoch = db_u64(db, at + 5);
    out->robot_id = (uint32_t)db_u64(db, at + 6);
    out->migrating = db_u64(db, at + 7) != 0;
    out->remains = (enum session_remains)db_u64(db, at + 8);
    out->since_ms = db_i64(db, at + 9);
    out->started_ms = db_i64(db, at + 10);
    out->activity_ms = db_i64(db, at + 11);
    db_str_copy(db, at + 12, out->portal, sizeof(out->portal));
    db_str_copy(db, at + 13, out->session_id, sizeof(out->session_id));
    db_str_copy(db, at + 14, out->boot_id, sizeof(out->boot_id));
    db_str_copy(db, at + 15, out->reason, sizeof(out->reason));
    db_str_copy(db, at + 16, out->base_url, sizeof(out->base_url));
    db_str_copy(db, at + 17, out->viewer_url, sizeof(out->viewer_url));
    db_str_copy(db, at + 18, out->title, sizeof(out->title));
    db_str_copy(db, at + 20, out->job_uid, sizeof(out->job_uid));
    out->age_ms = db_i64(db, at + 21);
    out->is_rowless = db_u64(db, at + 22) != 0;
    if (!out->session_id[0] && out->state <= SESSION_CLOSING) /* one that moves is known by the id it had */
        db_str_copy(db, at + 19, out->session_id, sizeof(out->session_id));
}

enum db_rc session_by_ref(struct db *db, uint64_t ref, bool *found, struct session_row *out)
{
    *found = false;
    TRY(db_query(db, "SELECT " SESSION_COLUMNS SESSION_FROM "WHERE s.id = ?", "u", ref));
    if (db_next(db)) {
        *found = true;
        session_read(db, 0, out);
    }
    return DB_OK;
}

static const char *or_null(const char *s)
{
    return s && *s ? s : NULL;
}

enum db_rc event_add(struct db *db, uint64_t job_id, const char *event, const char *worker, const char *dispatcher,
                     const char *detail)
{
    return db_exec(db,
                   "INSERT INTO chasqui_job_events (job_id, at, event, worker, dispatcher, detail) VALUES "
                   "(?, NOW(6), ?, ?, ?, LEFT(?, 255))",
                   "ussss", job_id, event, or_null(worker), or_null(dispatcher), or_null(detail));
}

enum db_rc robot_words_write(struct db *db, uint64_t job_id, const struct attempt_end *a)
{
    return db_exec(db,
                   "UPDATE chasqui_jobs SET robot_status = ?, robot_error = ?, robot_message = ? WHERE job_id = ?",
                   "Nssu", (uint64_t)a->status, or_null(a->error), or_null(a->message), job_id);
}

enum db_rc event_add_attempt(struct db *db, uint64_t job_id, const char *event, const char *worker,
                             const char *detail, const struct attempt_end *a)
{
    if (a->outcome == OUTCOME_NONE)
        return event_add(db, job_id, event, worker, NULL, detail);
    TRY(db_exec(
        db,
        "INSERT INTO chasqui_job_events (job_id, at, event, worker, detail, attempt, outcome, queued_ms, robot_ms, robot_status, "
        "robot_error, robot_message) VALUES (?, NOW(6), ?, ?, LEFT(?, 255), ?, ?, IF(? < 0, NULL, ?), IF(? < 0, NULL, ?), ?, ?, ?)",
        "usssusiiiiNss", job_id, event, or_null(worker), or_null(detail), (uint64_t)a->n, outcome_name[a->outcome],
        a->queued_ms, a->queued_ms, a->robot_ms, a->robot_ms, (uint64_t)a->status, or_null(a->error),
        or_null(a->message)));
    return a->outcome == OUTCOME_DONE ? DB_OK : robot_words_write(db, job_id, a);
}

void refused_before_read(struct db *db, unsigned at, struct refused_before *out)
{
    out->set_us = db_u64(db, at);
    out->at_ms = db_i64(db, at + 1);
    db_str_copy(db, at + 2, out->error, sizeof(out->error));
}

/* An explicit number moves AUTO_INCREMENT behind it, and that stays when the row goes again with the transaction. */
enum db_rc job_numbers_lift(struct db *db, uint64_t job_id, uint64_t company_id, const char *portal,
                            const char *action)
{
    char uid[ID_JOB_UID_BYTES];
    TRY(db_query(
        db,
        "SELECT GREATEST(COALESCE((SELECT MAX(job_id) FROM chasqui_jobs), 0), COALESCE((SELECT MAX(job_id) FROM chasqui_sessions), 0))",
        ""));
    uint64_t highest = db_next(db) ? db_u64(db, 0) : 0;
    if (job_id > highest)
        return DB_OK;
    id_job_uid(uid);
    TRY(db_exec(
        db,
        "INSERT INTO portal_jobs (id, job_uid, company_id, portal, action, status, created_at, updated_at) VALUES (?, ?, ?, ?, ?, {new job.lift}, "
        "{now created_at}, {now updated_at})",
        "ususs", highest + 1, uid, company_id, portal, action));
    log_line(LOG_WARN, "job_numbers", "to", log_i((long long)highest + 1), "why", "portal_jobs began anew", NULL);
    return DB_RETRY;
}

enum db_rc audit_add(struct db *db, const char *actor, const char *peer, const char *request_id,
                     const char *action, const char *subject, const char *detail)
{
    if (!*actor)
        return DB_OK;
    char clean_subject[160 * 4 + 1], clean_detail[1000 * 4 + 1];
    text_clean(clean_subject, sizeof(clean_subject), subject, strlen(subject), 160);
    text_clean(clean_detail, sizeof(clean_detail), detail, detail ? strlen(detail) : 0, 1000);
    return db_exec(db,
                   "INSERT INTO chasqui_audit (at, actor, peer, request_id, action, subject, detail) VALUES "
                   "(NOW(6), ?, ?, ?, ?, ?, ?)",
                   "ssssss", actor, or_null(peer), or_null(request_id), action, clean_subject,
                   or_null(clean_detail));
}

enum db_rc audit_change(struct db *db, const struct audit *a, const char *before, const char *after,
                        const char *reason)
{
    struct buf detail = {0};
    const char *why = reason && *reason ? reason : a->by->why;
    buf_addf(&detail, "%s -> %s%s%s", before, after, *why ? ": " : "", why);
    enum db_rc rc = audit_add(db, a->by->name, a->by->peer, a->by->request_id, a->action, a->subject, detail.data);
    buf_free(&detail);
    return rc;
}

enum db_rc pause_read(struct db *db, struct pause *out)
{
    *out = (struct pause){0};
    TRY(db_query(
        db,
        "SELECT actor, reason, CAST(UNIX_TIMESTAMP(since) * 1000 AS INT), CAST(UNIX_TIMESTAMP(until_at) * 1000 AS INT) FROM "
        "chasqui_pause WHERE one = 1 AND (until_at IS NULL OR until_at > NOW(6))",
        ""));
    if (db_next(db))
        *out = (struct pause){true, db_str(db, 0, NULL), db_str(db, 1, NULL), db_i64(db, 2), db_i64(db, 3)};
    return DB_OK;
}

void begin_pattern(const char *begin, char out[BEGIN_PATTERN_ROOM])
{
    size_t n = 0;
    for (; *begin && n + 3 < BEGIN_PATTERN_ROOM; begin++) {
        if (*begin == '%' || *begin == '_' || *begin == '|')
            out[n++] = '|';
        out[n++] = *begin;
    }
    out[n++] = '%';
    out[n] = 0;
}

enum db_rc lease_insert(struct db *db, uint64_t job_id, const char *kind, uint64_t session_ref,
                        const struct lease *l)
{
    return db_exec(
        db,
        "INSERT INTO chasqui_leases (job_id, token, kind, session_ref, holder, boot_id, taken_at, limit_at, "
        "expires_at) VALUES (?, ?, ?, ?, ?, ?, NOW(6), NOW(6) + INTERVAL ? MICROSECOND, NOW(6) + INTERVAL ? "
        "MICROSECOND)",
        "ubsNssii", job_id, (const void *)l->token, (size_t)ID_TOKEN_BYTES, kind, session_ref, l->holder,
        l->boot_id, l->limit_ms * 1000, l->ttl_ms * 1000);
}

enum db_rc lease_end(struct db *db, uint64_t job_id, const uint8_t token[ID_TOKEN_BYTES], bool *held)
{
    TRY(db_exec(db, "DELETE FROM chasqui_leases WHERE job_id = ? AND token = ?", "ub", job_id, (const void *)token,
                (size_t)ID_TOKEN_BYTES));
    *held = db_affected(db) == 1;
    return DB_OK;
}

int lease_is_there(struct db *db, uint64_t job_id, const uint8_t token[ID_TOKEN_BYTES])
{
    if (db_query(db, "SELECT 1 FROM chasqui_leases WHERE job_id = ? AND token = ? LOCK IN SHARE MODE WAIT 3", "ub",
                 job_id, (const void *)token, (size_t)ID_TOKEN_BYTES))
        return -1;
    return db_next(db);
}

int session_is_there(struct db *db, uint64_t ref, uint64_t *epoch)
{
    if (db_query(db, "SELECT epoch FROM chasqui_sessions WHERE id = ? LOCK IN SHARE MODE WAIT 3", "u", ref))
        return -1;
    bool there = db_next(db);
    *epoch = there ? db_u64(db, 0) : 0;
    return there;
}

enum db_rc portal_row_lock(struct db *db, uint64_t job_id)
{
    return db_query(db, "SELECT 1 FROM portal_jobs WHERE id = ? FOR UPDATE NOWAIT", "u", job_id);
}

enum db_rc portal_rows_lock(struct db *db, const uint64_t *job_ids, unsigned n)
{
    return db_query_in_u64(
        db, "SELECT id FROM portal_jobs FORCE INDEX (PRIMARY) WHERE id IN (%s) FOR UPDATE SKIP LOCKED", job_ids, n,
        "");
}

enum db_rc epoch_lock(struct db *db, uint64_t company_id, const char *portal, uint64_t *epoch)
{
    for (int tries = 0; tries < 2; tries++) {
        TRY(db_query(db, "SELECT epoch FROM chasqui_epochs WHERE company_id = ? AND portal = ? FOR UPDATE", "us",
                     company_id, portal));
        if (db_next(db)) {
            *epoch = db_u64(db, 0);
            return DB_OK;
        }
        TRY(db_exec(db, "INSERT IGNORE INTO chasqui_epochs (company_id, portal, epoch) VALUES (?, ?, 0)", "us",
                    company_id, portal));
        if (db_affected(db) == 1) { /* it is ours by that */
            *epoch = 0;
            return DB_OK;
        }
    }
    return DB_FAIL;
}

enum db_rc epoch_set(struct db *db, uint64_t company_id, const char *portal, uint64_t epoch)
{
    return db_exec(db, "UPDATE chasqui_epochs SET epoch = ? WHERE company_id = ? AND portal = ?", "uus", epoch,
                   company_id, portal);
}

unsigned portal_next(const struct company_at *rows, unsigned n, unsigned i, bool *is_done, uint64_t *out)
{
    unsigned n_out = 0;
    for (unsigned k = i; k < n && !is_done[i]; k++)
        if (strcmp(rows[k].portal, rows[i].portal) == 0) {
            out[n_out++] = rows[k].company_id;
            is_done[k] = k != i;
        }
    return n_out;
}

enum db_rc epochs_raise(struct db *db, const struct company_at *rows, unsigned n)
{
    uint64_t companies[DB_LIST_MAX];
    bool is_done[DB_LIST_MAX] = {false};
    CHECK(n <= DB_LIST_MAX, "%u epochs", n);
    for (unsigned i = 0, n_here; i < n; i++)
        if ((n_here = portal_next(rows, n, i, is_done, companies)))
            TRY(db_exec_in_u64(
                db,
                "UPDATE chasqui_epochs FORCE INDEX (PRIMARY) SET epoch = epoch + 1 WHERE portal = ? AND company_id IN (%s)",
                companies, n_here, "s", rows[i].portal));
    return DB_OK;
}

enum db_rc item_end(struct db *db, const struct queued *item, const char *state)
{
    if (!item->is_set)
        return DB_OK;
    return db_exec(db, "UPDATE chasqui_items SET {become item.end ?} WHERE batch_id = ? AND idx = ?", "suu", state,
                   item->batch_id, item->idx);
}

/* ---- sessions ----------------------------------------------------------------------------------------------- */

const char *worker_name(struct db *db, uint32_t robot_id, char out[NAME_ROOM])
{
    out[0] = 0;
    if (robot_id &&
        db_query(db, "SELECT name FROM chasqui_robots WHERE id = ?", "u", (uint64_t)robot_id) == DB_OK &&
        db_next(db))
        db_str_copy(db, 0, out, NAME_ROOM);
    return out;
}

enum db_rc session_close_row(struct db *db, const char *event, uint64_t ref, enum session_state to,
                             const char *reason, enum place_fate fate)
{
    char sql[120];
    snprintf(sql, sizeof(sql), "UPDATE chasqui_sessions SET {become session.%s ?}, reason = ? WHERE id = ?",
             event);
    TRY(db_exec(db, sql, "ssu", session_state_name[to], or_null(reason), ref));
    return place_let_go(db, ref, fate);
}

enum db_rc job_session_lost(struct db *db, uint64_t job_id, enum session_state to, const char *reason)
{
    TRY(db_exec(db, "DELETE FROM chasqui_session_migrations WHERE job_id = ?", "u", job_id));
    if (to != SESSION_EXPIRED && to != SESSION_LOST)
        return DB_OK;
    struct job_end end = {"failed", to == SESSION_EXPIRED ? "session_expired" : "session_lost", reason};
    TRY(job_written(
        db, job_id, &end,
        db_exec(
            db,
            "UPDATE portal_jobs SET {become job.lose}, error = ?, message = {message ?}{result} WHERE id = ? AND "
            "{from job.lose}",
            "ssu", end.error, end.message, job_id)));
    return event_add(db, job_id, end.error, NULL, NULL, reason);
}
