/* SPDX-License-Identifier: MIT */
/*
 * store_audit.c - the audit trail, page by page, newest first. Its rows are
 * written by whoever does what they tell, in the same transaction.
 */
#include "dispatcher/store/store_queue.h"
#include "dispatcher/store/store_sql.h"

#include "common/jv.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define JOBS_MAX 8    /* that the beginning of a session id may name */
#define BEGIN_LEAST 6 /* bytes of an id that are enough to look for it */
#define SUBJECTS_ROOM (JOBS_MAX * 32)
#define WINDOW 20000 /* rows that one search looks through */

static struct jv *audit_jv(struct db *db)
{
    static const char *const texts[] = {"actor", "peer", "request_id", "action", "subject", "detail"};
    struct jv *row = jv_new_object();
    jv_set_int(row, "id", db_i64(db, 0));
    jv_set_time(row, "at", db_i64(db, 1));
    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        jv_set_str(row, texts[i], db_str(db, 2 + i, NULL));
    return row;
}

static bool is_ascii(const char *text)
{
    while (*text && (unsigned char)*text < 0x80)
        text++;
    return !*text;
}

/* A session's or a job's own id, or the beginning of a session's: the trail knows them as jobs' numbers. "job:1,job:2", "" when it is no
 * such id. */
static enum db_rc subjects_of(struct db *db, const char *id, char out[SUBJECTS_ROOM])
{
    char pattern[BEGIN_PATTERN_ROOM];
    size_t len = 0;
    out[0] = 0;
    if (!*id || !is_ascii(id)) /* no such id, and nothing that its column could be compared with */
        return DB_OK;
    begin_pattern(id, pattern);
    if (strlen(id) < BEGIN_LEAST)
        pattern[strlen(pattern) - 1] = 0; /* the whole of it */
    TRY(db_query(
        db,
        "SELECT job_id FROM (SELECT job_id FROM chasqui_sessions FORCE INDEX (robot_session) WHERE robot_session_id LIKE ? ESCAPE '|' "
        "LIMIT ?) s UNION SELECT job_id FROM chasqui_jobs WHERE job_uid = ?",
        "sus", pattern, (uint64_t)JOBS_MAX - 1, id));
    while (db_next(db) && len + 32 < SUBJECTS_ROOM)
        len += (size_t)snprintf(out + len, SUBJECTS_ROOM - len, "%sjob:%llu", len ? "," : "",
                                (unsigned long long)db_u64(db, 0));
    return DB_OK;
}

/* The last row that is older than the filter's time; 0 = none. */
static enum db_rc older_find(struct db *db, const struct store_audit *op, uint64_t *id)
{
    *id = 0;
    if (op->since_ms)
        TRY(db_query(
            db,
            "SELECT id FROM chasqui_audit WHERE at < TIMESTAMP('1970-01-01') + INTERVAL ? * 1000 MICROSECOND ORDER BY at DESC, id DESC LIMIT 1",
            "i", op->since_ms));
    else if (op->for_ms)
        TRY(db_query(
            db,
            "SELECT id FROM chasqui_audit WHERE at < NOW(6) - INTERVAL ? * 1000 MICROSECOND ORDER BY at DESC, id DESC LIMIT 1",
            "i", op->for_ms));
    else
        return DB_OK;
    *id = db_next(db) ? db_u64(db, 0) : 0;
    return DB_OK;
}

static enum db_rc audit_read(struct db *db, struct store_audit *op)
{
    unsigned n = 0, limit = op->limit ? op->limit : 50;
    uint64_t below = op->cursor ? op->cursor : INT64_MAX, floor = 0, older, next = 0;
    char of_search[SUBJECTS_ROOM], of_subject[SUBJECTS_ROOM];
    TRY(subjects_of(db, op->search, of_search));
    TRY(subjects_of(db, op->subject, of_subject));
    TRY(older_find(db, op, &older));
    if (op->search[0] || op->actor[0] || op->action[0] ||
        op->subject[0]) { /* looks through a bounded part; the cursor goes on behind it */
        TRY(db_query(db, "SELECT id FROM chasqui_audit WHERE id < ? ORDER BY id DESC LIMIT 1 OFFSET ?", "uu",
                     below, (uint64_t)WINDOW));
        floor = db_next(db) ? db_u64(db, 0) : 0;
    }
    bool is_end = floor <= older;
    if (is_end)
        floor = older;
    TRY(db_query(
        db,
        "SELECT id, CAST(UNIX_TIMESTAMP(at) * 1000 AS INT), actor, peer, request_id, action, subject, detail FROM chasqui_audit WHERE id < ? "
        "AND id > ? AND (? = '' OR LOCATE(?, CONCAT_WS(' ', actor, action, subject, detail)) > 0 OR FIND_IN_SET(subject, ?) > 0) AND (? = '' OR LOCATE(?, "
        "actor) > 0) AND (? = '' OR LEFT(CONVERT(action USING utf8mb4), CHAR_LENGTH(?)) = ?) AND (? = '' OR subject = ? OR FIND_IN_SET(subject, ?) > 0 OR SUBSTRING_INDEX(subject, ':', "
        "-1) = ? OR (CHAR_LENGTH(?) >= 6 AND LOCATE(CONCAT('; session ', ?), detail) > 0)) ORDER BY id DESC LIMIT ?",
        "uu"
        "sss"
        "ss"
        "sss"
        "ssssss"
        "u",
        below, floor, op->search, op->search, of_search, op->actor, op->actor, op->action, op->action, op->action,
        op->subject, op->subject, of_subject, op->subject, op->subject, op->subject, (uint64_t)limit + 1));
    struct jv *list = jv_new_array(), *body = jv_new_object();
    while (n < limit && db_next(db)) {
        next = db_u64(db, 0);
        jv_push(list, audit_jv(db));
        n++;
    }
    bool more = n == limit && db_next(db);
    if (!more && !is_end) {
        more = true;
        next = floor + 1;
    }
    jv_set_bool(body, "ok", true);
    jv_set(body, "audit", list);
    if (more)
        jv_set_int(body, "next_cursor", (int64_t)next);
    else
        jv_set(body, "next_cursor", NULL);
    json_take(body, &op->json);
    return DB_OK;
}

void store_audit(struct db *db, void *arg)
{
    struct store_audit *op = arg;
    op->rc = store_rc_of(db ? audit_read(db, op) : DB_GONE);
}
