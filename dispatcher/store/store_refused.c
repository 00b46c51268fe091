/* SPDX-License-Identifier: MIT */
/*
 * store_refused.c - stored credentials that a robot refused, for operators: the
 * list of them, and one that is used again as it is.
 */
#include "dispatcher/store/store_credentials.h"

#include "dispatcher/store/store_sql.h"

#include "common/jv.h"

#include <stdio.h>

#define PORTALS_MORE 200 /* rows beyond a page, so that it ends behind a whole company */

static struct jv *refused_jv(struct db *db)
{
    struct jv *one = jv_new_object();
    jv_set_int(one, "company_id", db_i64(db, 0));
    jv_set_str(one, "portal", db_str(db, 1, NULL));
    jv_set_time(one, "refused_at", db_i64(db, 2));
    json_set_column(one, "robot_status", db, 3);
    jv_set_str(one, "robot_error", db_str(db, 4, NULL));
    jv_set_str(one, "robot_message", db_str(db, 5, NULL));
    json_set_column(one, "job_id", db, 6);
    jv_set_time(one, "updated_at", db_i64(db, 7));
    return one;
}

static enum db_rc list_read(struct db *db, struct store_refused_list *op, struct jv *body)
{
    unsigned n = 0, limit = op->limit ? op->limit : 50;
    uint64_t last = 0;
    bool is_more = false;
    struct jv *list = jv_new_array();
    jv_set_bool(body, "ok", true);
    jv_set(body, "refused", list);
    jv_set(body, "next_cursor", NULL);
    TRY(db_query(
        db,
        "SELECT r.company_id, r.portal, CAST(UNIX_TIMESTAMP(r.at) * 1000 AS INT), r.robot_status, r.robot_error, r.robot_message, r.job_id, "
        "CAST(UNIX_TIMESTAMP(c.updated_at) * 1000 AS INT) FROM chasqui_refused r JOIN chasqui_credentials c ON c.company_id = r.company_id "
        "AND c.portal = r.portal AND c.updated_at = r.credentials_at WHERE (? = 0 OR r.company_id = ?) AND (? = '' OR r.portal = ?) AND "
        "r.company_id > ? ORDER BY r.company_id, r.portal LIMIT ?",
        "uussuu", op->company_id, op->company_id, op->portal, op->portal, op->cursor,
        (uint64_t)limit + PORTALS_MORE));
    while (db_next(db)) {
        is_more = n++ >= limit && db_u64(db, 0) != last;
        if (is_more)
            break;
        last = db_u64(db, 0);
        jv_push(list, refused_jv(db));
    }
    if (is_more)
        jv_set_int(body, "next_cursor", (int64_t)last);
    return DB_OK;
}

void store_refused_list(struct db *db, void *arg)
{
    struct store_refused_list *op = arg;
    struct jv *body = jv_new_object();
    op->rc = store_rc_of(db ? list_read(db, op, body) : DB_GONE);
    json_take(body, &op->json);
}

static enum db_rc lift_tx(struct db *db, void *arg)
{
    struct store_refused_lift *op = arg;
    char subject[120];
    TRY(db_exec(db, "DELETE FROM chasqui_refused WHERE company_id = ? AND portal = ?", "us", op->company_id,
                op->portal));
    op->found = db_affected(db) == 1;
    snprintf(subject, sizeof(subject), "company:%llu/%s", (unsigned long long)op->company_id, op->portal);
    if (!op->found)
        return DB_OK;
    return audit_add(db, op->by.name, op->by.peer, op->by.request_id, "credentials_lift", subject,
                     op->by.why[0] ? op->by.why : NULL);
}

void store_refused_lift(struct db *db, void *arg)
{
    struct store_refused_lift *op = arg;
    op->rc = store_tx(db, lift_tx, NULL, op);
}
