/* SPDX-License-Identifier: MIT */
/*
 * store_alerts_look.c - alerts as operators see them, and what an operator wants of one: that somebody knows of it, that it is not told for a while.
 */
#include "dispatcher/store/store_alerts.h"

#include "dispatcher/store/store_sql.h"

#include "common/jv.h"

#include <stdio.h>
#include <string.h>

static const char *state_of(struct db *db)
{
    return db_u64(db, 8) ? "happened" : db_is_null(db, 11) ? "open" : "ended";
}

static struct jv *alert_jv(struct db *db)
{
    static const char *const texts[] = {"code", "who", "level", "text", "text_es", "todo", "todo_es"};
    struct jv *one = jv_new_object(), *told = jv_new_object();
    jv_set_int(one, "id", db_i64(db, 0));
    jv_set_str(one, "state", state_of(db));
    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        jv_set_str(one, texts[i], i == 1 && !*db_str(db, 2, NULL) ? NULL : db_str(db, 1 + i, NULL));
    jv_set_time(one, "first_at", db_i64(db, 9));
    jv_set_time(one, "seen_at", db_i64(db, 10));
    jv_set_int(one, "said_s_ago", db_i64(db, 18) > 0 ? db_i64(db, 18) : 0);
    jv_set_time(one, "ended_at", db_i64(db, 11));
    jv_set_str(one, "acked_by", db_str(db, 12, NULL));
    jv_set_time(one, "acked_at", db_i64(db, 13));
    jv_set_str(one, "ack_reason", db_str(db, 17, NULL));
    jv_set_time(one, "muted_until", db_i64(db, 14));
    jv_set_time(told, alert_channel_name[CHANNEL_WEBHOOK], db_i64(db, 15));
    jv_set_time(told, alert_channel_name[CHANNEL_MAIL], db_i64(db, 16));
    jv_set(one, "told", told);
    return one;
}

static enum db_rc alerts_read(struct db *db, unsigned limit, struct jv *list)
{
    TRY(db_query(
        db,
        "SELECT a.id, a.code, a.who, a.level, a.text, a.text_es, a.todo, a.todo_es, a.is_event, CAST(UNIX_TIMESTAMP(a.first_at) * 1000 AS INT), "
        "CAST(UNIX_TIMESTAMP(a.seen_at) * 1000 AS INT), CAST(UNIX_TIMESTAMP(a.ended_at) * 1000 AS INT), a.acked_by, CAST(UNIX_TIMESTAMP(a.acked_at) * 1000 AS INT), (SELECT "
        "CAST(UNIX_TIMESTAMP(MAX(m.until_at)) * 1000 AS INT) FROM chasqui_alert_mutes m WHERE m.code = a.code AND (m.who = '' OR m.who = a.who) AND m.until_at > NOW(6)), "
        "CAST(UNIX_TIMESTAMP(a.webhook_told_at) * 1000 AS INT), CAST(UNIX_TIMESTAMP(a.mail_told_at) * 1000 AS INT), " ALERT_ACK_REASON
        ", TIMESTAMPDIFF(SECOND, a.seen_at, NOW(6)) FROM chasqui_alerts a ORDER BY a.ended_at IS NOT NULL, "
        "a.ended_at DESC, a.level DESC, a.first_at LIMIT ?",
        "u", (uint64_t)limit));
    while (db_next(db))
        jv_push(list, alert_jv(db));
    return DB_OK;
}

static enum db_rc mutes_read(struct db *db, struct jv *list)
{
    TRY(db_query(
        db,
        "SELECT code, who, CAST(UNIX_TIMESTAMP(until_at) * 1000 AS INT), actor, reason FROM chasqui_alert_mutes WHERE until_at > NOW(6) ORDER BY until_at LIMIT ?",
        "u", (uint64_t)ALERT_MUTES_MAX));
    while (db_next(db)) {
        struct jv *one = jv_new_object();
        jv_set_str(one, "code", db_str(db, 0, NULL));
        jv_set_str(one, "who", *db_str(db, 1, NULL) ? db_str(db, 1, NULL) : NULL);
        jv_set_time(one, "until", db_i64(db, 2));
        jv_set_str(one, "by", db_str(db, 3, NULL));
        jv_set_str(one, "reason", db_str(db, 4, NULL));
        jv_push(list, one);
    }
    return DB_OK;
}

static enum db_rc channels_read(struct db *db, struct jv *list)
{
    TRY(db_query(
        db,
        "SELECT channel, CAST(UNIX_TIMESTAMP(told_at) * 1000 AS INT), IF(hour_at > NOW(6) - INTERVAL 1 HOUR, sent, 0), attempts, CAST(UNIX_TIMESTAMP(failed_at) * 1000 AS INT), "
        "last_error FROM chasqui_alert_channels ORDER BY channel",
        ""));
    while (db_next(db)) {
        struct jv *one = jv_new_object();
        jv_set_str(one, "channel", db_str(db, 0, NULL));
        jv_set_time(one, "told_at", db_i64(db, 1));
        jv_set_int(one, "sent_in_hour", db_i64(db, 2));
        jv_set_int(one, "attempts", db_i64(db, 3));
        jv_set_time(one, "failed_since", db_i64(db, 4));
        jv_set_str(one, "last_error", db_str(db, 5, NULL));
        jv_push(list, one);
    }
    return DB_OK;
}

static enum db_rc list_read(struct db *db, struct store_alerts_list *op)
{
    struct jv *body = jv_new_object(), *alerts = jv_new_array(), *mutes = jv_new_array(),
              *channels = jv_new_array();
    jv_set_bool(body, "ok", true);
    jv_set(body, "alerts", alerts);
    jv_set(body, "mutes", mutes);
    jv_set(body, "channels", channels);
    enum db_rc rc = alerts_read(db, op->limit ? op->limit : 50, alerts);
    rc = rc ? rc : mutes_read(db, mutes);
    rc = rc ? rc : channels_read(db, channels);
    json_take(body, &op->json);
    return rc;
}

void store_alerts_list(struct db *db, void *arg)
{
    struct store_alerts_list *op = arg;
    op->rc = store_rc_of(db ? list_read(db, op) : DB_GONE);
}

/* ---- what an operator wants --------------------------------------------------------------------------------- */

static enum db_rc ack(struct db *db, struct store_alert_set *op)
{
    TRY(db_query(
        db, "SELECT code, who, is_event = 0 AND ended_at IS NOT NULL FROM chasqui_alerts WHERE id = ? FOR UPDATE",
        "u", op->id));
    op->found = db_next(db);
    if (!op->found)
        return DB_OK;
    db_str_copy(db, 0, op->code, sizeof(op->code));
    db_str_copy(db, 1, op->who, sizeof(op->who));
    if (db_u64(db, 2)) {
        snprintf(op->refused, sizeof(op->refused), "It is over.");
        return DB_OK;
    }
    return db_exec(db, "UPDATE chasqui_alerts SET acked_at = NOW(6), acked_by = LEFT(?, 160) WHERE id = ?", "su",
                   op->by.name, op->id);
}

static enum db_rc mute(struct db *db, struct store_alert_set *op)
{
    TRY(db_query(db,
                 "SELECT COUNT(*) FROM chasqui_alert_mutes WHERE until_at > NOW(6) AND NOT (code = ? AND who = ?)",
                 "ss", op->code, op->who));
    op->found = true;
    if (db_next(db) && db_u64(db, 0) >= ALERT_MUTES_MAX) {
        snprintf(op->refused, sizeof(op->refused), "%d mutes hold already; end some.", ALERT_MUTES_MAX);
        return DB_OK;
    }
    TRY(db_exec(
        db,
        "INSERT INTO chasqui_alert_mutes (code, who, until_at, actor, reason, created_at) VALUES (?, ?, NOW(6) + INTERVAL ? SECOND, LEFT(?, 160), ?, NOW(6)) ON DUPLICATE KEY "
        "UPDATE until_at = VALUES(until_at), actor = VALUES(actor), reason = VALUES(reason), created_at = VALUES(created_at)",
        "ssiss", op->code, op->who, op->for_s, op->by.name, op->by.why[0] ? op->by.why : NULL));
    TRY(db_query(
        db,
        "SELECT CAST(UNIX_TIMESTAMP(until_at) * 1000 AS INT) FROM chasqui_alert_mutes WHERE code = ? AND who = ?",
        "ss", op->code, op->who));
    op->until_ms = db_next(db) ? db_i64(db, 0) : 0;
    return DB_OK;
}

static enum db_rc unmute(struct db *db, struct store_alert_set *op)
{
    TRY(db_exec(db, "DELETE FROM chasqui_alert_mutes WHERE code = ? AND who = ? AND until_at > NOW(6)", "ss",
                op->code, op->who));
    op->found = db_affected(db) > 0;
    return DB_OK;
}

static enum db_rc set_tx(struct db *db, void *arg)
{
    static const char *const words[] = {"alert_ack", "alert_mute", "alert_unmute"};
    static enum db_rc (*const steps[])(struct db *, struct store_alert_set *) = {ack, mute, unmute};
    struct store_alert_set *op = arg;
    char subject[ALERT_CODE_ROOM + ALERT_WHO_ROOM + 10], detail[260];
    op->refused[0] = 0;
    TRY(steps[op->wish](db, op));
    if (!op->found || op->refused[0])
        return DB_OK;
    snprintf(subject, sizeof(subject), "alert:%s%s%.100s", op->code, op->who[0] ? " " : "", op->who);
    if (op->wish == ALERT_MUTE)
        snprintf(detail, sizeof(detail), "for %lld s%s%s", (long long)op->for_s, op->by.why[0] ? ": " : "",
                 op->by.why);
    else
        snprintf(detail, sizeof(detail), "%s", op->by.why);
    return audit_add(db, op->by.name, op->by.peer, op->by.request_id, words[op->wish], subject,
                     detail[0] ? detail : NULL);
}

void store_alert_set(struct db *db, void *arg)
{
    struct store_alert_set *op = arg;
    op->rc = store_tx(db, set_tx, NULL, op);
}
