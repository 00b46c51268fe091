/* SPDX-License-Identifier: MIT */
/*
 * store_errors.c - what failed, by class: jobs that are failed, walked from the
 * newest down by one index, as many as one look may cost. Reads only.
 *
 * A class is an error, what the robot called it, and what it befell: a log-in,
 * an action, or a session that was lost after its log-in was done. Those are apart, since a batch counts the
 * outcome of its items and not what became of their sessions.
 */
#include "dispatcher/store/store_errors.h"

#include "dispatcher/store/store_refusal.h"

#include "common/clock.h"
#include "common/jv.h"

#include <string.h>

#define FAILED_AT "COALESCE({utc j.finished_at}, {utc j.updated_at}, {utc j.created_at})"
#define OF_SESSION JOB_ERROR " IN ('session_expired', 'session_closed', 'session_lost')"
#define KIND "CASE WHEN " OF_SESSION " THEN 'session' WHEN q.kind IS NULL THEN 'other' ELSE q.kind END"
/* What the robot said of the log-in says nothing about a session that was lost later. */
#define SAID "CASE WHEN " OF_SESSION " THEN NULL ELSE q.robot_error END"
/* The newest failed jobs, of one batch or of all. */
#define WALK(index, by)                                                                                           \
    "(SELECT j.id AS id, j.company_id AS company_id, j.portal AS portal, j.worker AS worker, COALESCE(" JOB_ERROR \
    ", '') AS error, " KIND " AS kind, " SAID " AS said, " FAILED_AT                                              \
    " AS at FROM portal_jobs j FORCE INDEX (" index ") LEFT JOIN chasqui_jobs q ON q.job_id = j.id" REFUSAL_JOIN  \
    "WHERE " by "j.status = {failed} AND j.deleted_at IS NULL ORDER BY j.id DESC LIMIT ?) f"
#define SINCE                                                                                                                               \
    "(? = 0 OR at >= TIMESTAMP('1970-01-01') + INTERVAL ? * 1000 MICROSECOND) AND (? = 0 OR at >= NOW(6) - INTERVAL ? * 1000 MICROSECOND) " \
    "AND (? = 0 OR at < TIMESTAMP('1970-01-01') + INTERVAL ? * 1000 MICROSECOND)"
/* How many failed in each twelfth of the time that is looked at, the newest first. */
#define BAR(i) "COUNT(CASE WHEN bar = " #i " THEN 1 END)"
#define BARS                                                                                                      \
    BAR(0)                                                                                                        \
    ", " BAR(1) ", " BAR(2) ", " BAR(3) ", " BAR(4) ", " BAR(5) ", " BAR(6) ", " BAR(7) ", " BAR(8) ", " BAR(     \
        9) ", " BAR(10) ", " BAR(11)
#define N_BARS 12
#define CLASSES(walk)                                                                                                                                    \
    "SELECT error, kind, COUNT(*), COUNT(DISTINCT company_id), CAST(UNIX_TIMESTAMP(MIN(at)) * 1000 AS INT), "                                            \
    "CAST(UNIX_TIMESTAMP(MAX(at)) * 1000 AS INT), MAX(id), COUNT(DISTINCT portal), MIN(portal), COUNT(DISTINCT worker), MIN(worker), said, " BARS        \
    " FROM (SELECT f.*, LEAST(11, GREATEST(0, "                                                                                                          \
    "TIMESTAMPDIFF(MICROSECOND, at, IF(? = 0, NOW(6), TIMESTAMP('1970-01-01') + INTERVAL ? * 1000 MICROSECOND)) DIV 1000 * 12 DIV ?)) AS bar FROM " walk \
    " WHERE (? = '' OR portal = ?) AND " SINCE                                                                                                           \
    ") c GROUP BY error, kind, said ORDER BY COUNT(*) DESC, error, said LIMIT ?"
#define LOOKED(walk) "SELECT COUNT(*), CAST(UNIX_TIMESTAMP(MIN(at)) * 1000 AS INT) FROM " walk
#define OF_ALL WALK("chasqui_status", "")
#define OF_BATCH WALK("chasqui_batch", "j.batch_id = ? AND ")
#define FILTER_TYPES "ssiiiiiiu"
#define FILTER(op)                                                                                                \
    (op)->portal, (op)->portal, (op)->since_ms, (op)->since_ms, (op)->for_ms, (op)->for_ms, (op)->until_ms,       \
        (op)->until_ms, (uint64_t)ERRORS_CLASSES_MAX

/* 0 = since ever, of which there is no curve. */
static int64_t span_ms(const struct store_errors *op)
{
    int64_t until_ms = op->until_ms ? op->until_ms : clock_unix_ms();
    int64_t span = op->for_ms ? op->for_ms : op->since_ms ? until_ms - op->since_ms : 0;
    return span > 0 ? span : 0;
}

static enum db_rc classes_query(struct db *db, const struct store_errors *op)
{
    int64_t span = span_ms(op) ? span_ms(op) : 1;
    if (op->batch_id)
        return db_query(db, CLASSES(OF_BATCH), "iiiuu" FILTER_TYPES, op->until_ms, op->until_ms, span,
                        op->batch_id, (uint64_t)ERRORS_LOOK_MAX, FILTER(op));
    return db_query(db, CLASSES(OF_ALL), "iiiu" FILTER_TYPES, op->until_ms, op->until_ms, span,
                    (uint64_t)ERRORS_LOOK_MAX, FILTER(op));
}

static enum db_rc looked_query(struct db *db, const struct store_errors *op)
{
    if (op->batch_id)
        return db_query(db, LOOKED(OF_BATCH), "uu", op->batch_id, (uint64_t)ERRORS_LOOK_MAX);
    return db_query(db, LOOKED(OF_ALL), "u", (uint64_t)ERRORS_LOOK_MAX);
}

/* Oldest first. */
static struct jv *curve_jv(struct db *db, unsigned at)
{
    struct jv *list = jv_new_array();
    for (unsigned i = N_BARS; i--;)
        jv_push_int(list, db_i64(db, at + i));
    return list;
}

static struct jv *class_jv(struct db *db, bool has_curve)
{
    struct jv *one = jv_new_object();
    const char *error = db_str(db, 0, NULL);
    jv_set_str(one, "error", *error ? error : NULL);
    jv_set_str(one, "robot_error", db_str(db, 11, NULL));
    jv_set_str(one, "kind", db_str(db, 1, NULL));
    jv_set_int(one, "n", db_i64(db, 2));
    jv_set_int(one, "companies", db_i64(db, 3));
    jv_set_time(one, "first_at", db_i64(db, 4));
    jv_set_time(one, "last_at", db_i64(db, 5));
    jv_set_int(one, "last_job_id", db_i64(db, 6));
    jv_set_str(one, "portal", db_i64(db, 7) == 1 ? db_str(db, 8, NULL) : NULL);
    jv_set_int(one, "workers", db_i64(db, 9));
    jv_set_str(one, "worker", db_i64(db, 9) == 1 ? db_str(db, 10, NULL) : NULL);
    jv_set(one, "message", NULL);
    jv_set(one, "curve", has_curve ? curve_jv(db, 12) : NULL);
    return one;
}

/* What the last one of each class said. */
static enum db_rc messages_read(struct db *db, struct jv *list)
{
    uint64_t ids[ERRORS_CLASSES_MAX];
    unsigned n = 0;
    int64_t id;
    for (size_t i = 0; i < jv_len(list) && n < ERRORS_CLASSES_MAX; i++)
        if (jv_int(jv_get(jv_at(list, i), "last_job_id"), &id))
            ids[n++] = (uint64_t)id;
    if (!n)
        return DB_OK;
    TRY(db_query_in_u64(
        db, "SELECT j.id, " JOB_MESSAGE ", j.company_id FROM portal_jobs j" REFUSAL_JOIN "WHERE j.id IN (%s)", ids,
        n, ""));
    while (db_next(db))
        for (size_t i = 0; i < jv_len(list); i++) {
            struct jv *one = jv_at(list, i);
            if (!jv_int(jv_get(one, "last_job_id"), &id) || (uint64_t)id != db_u64(db, 0))
                continue;
            jv_set_str(one, "message", db_str(db, 1, NULL));
            jv_set_int(one, "last_company_id", db_i64(db, 2));
        }
    return DB_OK;
}

static enum db_rc errors_read(struct db *db, struct store_errors *op, struct jv *body)
{
    struct jv *list = jv_new_array();
    jv_set_bool(body, "ok", true);
    jv_set(body, "errors", list);
    TRY(classes_query(db, op));
    while (db_next(db))
        jv_push(list, class_jv(db, span_ms(op) > 0));
    TRY(messages_read(db, list));
    TRY(looked_query(db, op));
    uint64_t looked = db_next(db) ? db_u64(db, 0) : 0;
    jv_set_int(body, "looked", (int64_t)looked);
    jv_set_bool(body, "capped", looked >= ERRORS_LOOK_MAX);
    jv_set_time(body, "looked_to", looked ? db_i64(db, 1) : 0);
    return DB_OK;
}

void store_errors(struct db *db, void *arg)
{
    struct store_errors *op = arg;
    struct jv *body = jv_new_object();
    op->rc = store_rc_of(db ? errors_read(db, op, body) : DB_GONE);
    json_take(body, &op->json);
}
