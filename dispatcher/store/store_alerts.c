/* SPDX-License-Identifier: MIT */
/*
 * store_alerts.c - current faults, and whom they were reported to. A code and its subject are one row, whichever
 * brokers report it and however often it comes back. A fault that comes back soon keeps its acknowledgement. From the
 * third time on it is over only when it has been away for long, so that a fault that flaps is reported once. The
 * dispatcher that sends locks the channel's row. What it sends is marked once the channel took it, not before.
 */
#include "dispatcher/store/store_alerts.h"

#include "dispatcher/store/store_sql.h"

#include "common/jv.h"

#include <stdio.h>
#include <string.h>

#define SOON "INTERVAL 15 MINUTE" /* it comes back within this: it flaps */
#define FLAPS "3"
#define FLAPPING_AWAY_S "900"
#define KEPT_MAX 2000 /* rows */
#define PRUNED_MAX 500
#define OPEN_TOLD_MAX 200

const char *const alert_channel_name[CHANNEL_COUNT] = {"webhook", "mail"};
const char *const alert_what_name[] = {"begun", "again", "ended", "happened", "test"};

#define MUTED                                                                                                     \
    "EXISTS (SELECT 1 FROM chasqui_alert_mutes m WHERE m.code = a.code AND (m.who = '' OR m.who = a.who) AND m.until_at > NOW(6))"
#define MUTED_UNTIL                                                                                                                            \
    "(SELECT CAST(UNIX_TIMESTAMP(MAX(m.until_at)) * 1000 AS INT) FROM chasqui_alert_mutes m WHERE m.code = a.code AND (m.who = '' OR m.who = " \
    "a.who) AND m.until_at > NOW(6))"

/* ---- what brokers say --------------------------------------------------------------------------------------- */

static void said_fill(void *arg, unsigned row, struct db_cell *cells)
{
    const struct alert_said *one = &((const struct store_alerts_said *)arg)->one[row];
    const char *const texts[] = {one->code, one->who,    one->is_bad ? "bad" : "warn", one->text, one->text_es,
                                 one->todo, one->todo_es};
    for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        cells[i].data = texts[i];
}

static enum db_rc said_tx(struct db *db, void *arg)
{
    struct store_alerts_said *op = arg;
    TRY(db_exec(
        db,
        "INSERT INTO chasqui_alerts_heard (one, at, since) VALUES (1, NOW(6), NOW(6)) ON DUPLICATE KEY UPDATE since = IF(at < NOW(6) - INTERVAL 60 "
        "SECOND, NOW(6), since), at = NOW(6)",
        ""));
    if (!op->n)
        return DB_OK;
    /* The assignments are made in this order, each sees those before it: ended_at comes last. */
    return db_bulk(
        db,
        "INSERT INTO chasqui_alerts (code, who, level, text, text_es, todo, todo_es, first_at, seen_at) VALUES (?, ?, ?, ?, ?, ?, ?, NOW(6), NOW(6)) ON "
        "DUPLICATE KEY UPDATE flaps = IF(ended_at IS NULL, flaps, IF(ended_at > NOW(6) - " SOON
        ", flaps + 1, 0)), acked_by = IF(ended_at <= NOW(6) - " SOON
        ", NULL, acked_by), acked_at = IF(ended_at <= NOW(6) - " SOON
        ", NULL, acked_at), webhook_told = IF(ended_at <= NOW(6) - " SOON
        ", 0, webhook_told), mail_told = IF(ended_at <= NOW(6) - " SOON
        ", 0, mail_told), first_at = IF(ended_at IS NULL, first_at, NOW(6)), level = VALUES(level), is_event = 0, text = VALUES(text), text_es = "
        "VALUES(text_es), todo = VALUES(todo), todo_es = VALUES(todo_es), seen_at = NOW(6), ended_at = NULL",
        "sssssss", op->n, said_fill, op);
}

static enum db_rc open_read(struct db *db, struct jv *list)
{
    TRY(db_query(db,
                 "SELECT a.id, a.code, a.who, a.acked_by, " MUTED_UNTIL ", " ALERT_ACK_REASON
                 " FROM chasqui_alerts a WHERE a.ended_at IS NULL ORDER BY a.level DESC, a.first_at LIMIT ?",
                 "u", (uint64_t)OPEN_TOLD_MAX));
    while (db_next(db)) {
        struct jv *one = jv_new_object();
        jv_set_int(one, "id", db_i64(db, 0));
        jv_set_str(one, "code", db_str(db, 1, NULL));
        jv_set_str(one, "who", db_str(db, 2, NULL));
        jv_set_str(one, "acked_by", db_str(db, 3, NULL));
        jv_set_time(one, "muted_until", db_i64(db, 4));
        jv_set_str(one, "ack_reason", db_str(db, 5, NULL));
        jv_push(list, one);
    }
    return DB_OK;
}

/* Channels whose last tries failed; one that was taken out of the configuration is left out. */
static enum db_rc failing_read(struct db *db, struct jv *list)
{
    TRY(db_query(
        db,
        "SELECT channel, last_error, TIMESTAMPDIFF(SECOND, failed_at, NOW(6)), attempts FROM chasqui_alert_channels WHERE failed_at IS NOT NULL AND due_at > NOW(6) - " SOON,
        ""));
    while (db_next(db)) {
        struct jv *one = jv_new_object();
        jv_set_str(one, "channel", db_str(db, 0, NULL));
        jv_set_str(one, "error", db_str(db, 1, NULL));
        jv_set_int(one, "for_s", db_i64(db, 2));
        jv_set_int(one, "attempts", db_i64(db, 3));
        jv_push(list, one);
    }
    return DB_OK;
}

void store_alerts_said(struct db *db, void *arg)
{
    struct store_alerts_said *op = arg;
    op->rc = store_tx(db, said_tx, NULL, op);
    if (op->rc != STORE_OK)
        return;
    struct jv *body = jv_new_object(), *open = jv_new_array(), *failing = jv_new_array();
    jv_set_bool(body, "ok", true);
    jv_set(body, "alerts", open);
    jv_set(body, "channels", failing);
    enum db_rc rc = open_read(db, open);
    op->rc = store_rc_of(rc ? rc : failing_read(db, failing));
    json_take(body, &op->json);
}

/* ---- what ends, and what is forgotten ----------------------------------------------------------------------- */

static enum db_rc ended_write(struct db *db, int64_t gone_s)
{
    TRY(db_query(
        db,
        "SELECT EXISTS (SELECT 1 FROM chasqui_alerts a JOIN chasqui_alerts_heard h ON h.one = 1 WHERE a.ended_at IS NULL AND GREATEST(a.seen_at, h.since) < h.at - "
        "INTERVAL IF(a.flaps >= " FLAPS ", " FLAPPING_AWAY_S ", ?) SECOND)",
        "i", gone_s));
    if (!db_next(db) || !db_u64(db, 0))
        return DB_OK;
    return db_exec(
        db,
        "UPDATE chasqui_alerts a JOIN chasqui_alerts_heard h ON h.one = 1 SET a.ended_at = NOW(6) WHERE a.ended_at IS NULL AND GREATEST(a.seen_at, h.since) < h.at - "
        "INTERVAL IF(a.flaps >= " FLAPS ", " FLAPPING_AWAY_S ", ?) SECOND",
        "i", gone_s);
}

static enum db_rc old_forget(struct db *db)
{
    TRY(db_exec(db, "DELETE FROM chasqui_alert_mutes WHERE until_at < NOW(6) - INTERVAL 1 DAY", ""));
    TRY(db_exec(db,
                "DELETE FROM chasqui_alerts WHERE ended_at < NOW(6) - INTERVAL 30 DAY ORDER BY ended_at LIMIT ?",
                "u", (uint64_t)PRUNED_MAX));
    TRY(db_query(db, "SELECT COUNT(*) FROM chasqui_alerts", ""));
    if (!db_next(db) || db_u64(db, 0) <= KEPT_MAX)
        return DB_OK;
    return db_exec(db, "DELETE FROM chasqui_alerts WHERE ended_at IS NOT NULL ORDER BY ended_at LIMIT ?", "u",
                   (uint64_t)PRUNED_MAX);
}

static enum db_rc sweep_tx(struct db *db, void *arg)
{
    struct store_alerts_sweep *op = arg;
    TRY(ended_write(db, op->gone_s));
    return old_forget(db);
}

static enum db_rc rules_tx(struct db *db, void *arg)
{
    return alert_rules_look(db, ((struct store_alerts_sweep *)arg)->batch_failed_percent);
}

void store_alerts_sweep(struct db *db, void *arg)
{
    struct store_alerts_sweep *op = arg;
    op->rc = store_tx(db, sweep_tx, NULL, op);
    if (op->rc == STORE_OK)
        op->rc = store_tx(db, rules_tx, NULL, op);
}

/* ---- what is told ------------------------------------------------------------------------------------------- */

/* What a channel has not told yet. Parameters: after_s, repeat_s, repeat_s, is_only_bad, the channel. */
#define DUE(told)                                                                                                 \
    " FROM chasqui_alerts a WHERE ((a.is_event = 0 AND a.ended_at IS NULL AND a.acked_at IS NULL AND ((a." told   \
    "_told = 0 AND a.first_at <= NOW(6) - INTERVAL ? SECOND) "                                                    \
    "OR (a." told "_told = 1 AND ? > 0 AND a." told                                                               \
    "_told_at <= NOW(6) - INTERVAL ? SECOND))) OR (a.is_event = 0 AND a.ended_at IS NOT NULL AND a." told         \
    "_told = 1) OR "                                                                                              \
    "(a.is_event = 1 AND a.acked_at IS NULL AND a." told                                                          \
    "_told = 0 AND a.first_at > NOW(6) - INTERVAL 1 DAY)) AND (? = 0 OR a.level = 'bad') AND NOT (a.code = "      \
    "'alerts_not_sent' AND a.who = ?) AND NOT " MUTED
#define DUE_TYPES "iiius"
#define TOLD_COLUMNS(told)                                                                                                                \
    "SELECT a.id, a.code, a.who, a.level = 'bad', a.text, a.text_es, a.todo, a.todo_es, CAST(UNIX_TIMESTAMP(a.first_at) * 1000 AS INT), " \
    "CAST(UNIX_TIMESTAMP(a.ended_at) * 1000 AS INT), a.is_event, a." told "_told"

static const struct {
    const char *any, *all, *open, *over;
} sql_of[CHANNEL_COUNT] = {
#define SQL_OF(told)                                                                                              \
    {                                                                                                             \
        "SELECT EXISTS (SELECT 1" DUE(told) ")",                                                                  \
            TOLD_COLUMNS(told) DUE(told) " ORDER BY a.ended_at IS NOT NULL, a.level DESC, a.first_at LIMIT ?",    \
            "UPDATE chasqui_alerts SET " told "_told = 1, " told "_told_at = NOW(6) WHERE id = ?",                \
            "UPDATE chasqui_alerts SET " told "_told = 0, " told "_told_at = NOW(6) WHERE id = ?"                 \
    }
    SQL_OF("webhook"), SQL_OF("mail")};

static enum alert_what what_of(struct db *db)
{
    bool is_event = db_u64(db, 10), was_told = db_u64(db, 11);
    return is_event ? ALERT_HAPPENED : !db_is_null(db, 9) ? ALERT_ENDED : was_told ? ALERT_AGAIN : ALERT_BEGUN;
}

static void told_read(struct db *db, struct alert_told *t)
{
    *t = (struct alert_told){
        .id = db_u64(db, 0), .what = what_of(db), .first_ms = db_i64(db, 8), .ended_ms = db_i64(db, 9)};
    db_str_copy(db, 1, t->said.code, sizeof(t->said.code));
    db_str_copy(db, 2, t->said.who, sizeof(t->said.who));
    t->said.is_bad = db_u64(db, 3);
    db_str_copy(db, 4, t->said.text, sizeof(t->said.text));
    db_str_copy(db, 5, t->said.text_es, sizeof(t->said.text_es));
    db_str_copy(db, 6, t->said.todo, sizeof(t->said.todo));
    db_str_copy(db, 7, t->said.todo_es, sizeof(t->said.todo_es));
}

static enum db_rc is_any(struct db *db, const struct store_alerts_claim *op, bool *any)
{
    TRY(db_query(db, sql_of[op->channel].any, DUE_TYPES, op->after_s, op->repeat_s, op->repeat_s,
                 (uint64_t)op->is_only_bad, alert_channel_name[op->channel]));
    *any = db_next(db) && db_u64(db, 0);
    return DB_OK;
}

/* The channel's row, made when it is missing. *is_ours: no other dispatcher has it, and its time has come. */
static enum db_rc channel_lock(struct db *db, struct store_alerts_claim *op, bool *is_ours, uint64_t *sent)
{
    const char *name = alert_channel_name[op->channel];
    size_t len;
    TRY(db_exec(db,
                "INSERT IGNORE INTO chasqui_alert_channels (channel, due_at, hour_at) VALUES (?, NOW(6), NOW(6))",
                "s", name));
    TRY(db_query(
        db,
        "SELECT attempts, IF(hour_at > NOW(6) - INTERVAL 1 HOUR, sent, 0), delivery FROM chasqui_alert_channels WHERE channel = ? AND due_at <= NOW(6) FOR UPDATE SKIP LOCKED",
        "s", name));
    *is_ours = db_next(db);
    if (!*is_ours)
        return DB_OK;
    op->attempts = (unsigned)db_u64(db, 0) + 1;
    *sent = db_u64(db, 1);
    const char *delivery = db_str(db, 2, &len);
    if (delivery && len == ID_TOKEN_BYTES)
        memcpy(op->delivery, delivery, ID_TOKEN_BYTES);
    else
        id_random(op->delivery, ID_TOKEN_BYTES);
    return DB_OK;
}

static enum db_rc claim_tx(struct db *db, void *arg)
{
    struct store_alerts_claim *op = arg;
    const char *name = alert_channel_name[op->channel];
    bool is_ours;
    uint64_t sent = 0;
    op->n = op->more = 0;
    TRY(channel_lock(db, op, &is_ours, &sent));
    if (!is_ours)
        return DB_OK;
    if (sent >= (uint64_t)op->hour_max) /* what is due waits for the next hour, and is one message then */
        return db_exec(db,
                       "UPDATE chasqui_alert_channels SET due_at = hour_at + INTERVAL 1 HOUR WHERE channel = ?",
                       "s", name);
    op->is_last_of_hour = sent + 1 == (uint64_t)op->hour_max;
    TRY(db_query(db, sql_of[op->channel].all, DUE_TYPES "u", op->after_s, op->repeat_s, op->repeat_s,
                 (uint64_t)op->is_only_bad, name, UINT64_C(1000)));
    while (db_next(db))
        if (op->n < ALERTS_TOLD_MAX)
            told_read(db, &op->got[op->n++]);
        else
            op->more++;
    if (!op->n)
        return DB_OK;
    id_random(op->token, sizeof(op->token));
    return db_exec(
        db,
        "UPDATE chasqui_alert_channels SET attempts = ?, token = ?, delivery = ?, due_at = NOW(6) + INTERVAL ? MICROSECOND, sent = IF(hour_at > NOW(6) - INTERVAL 1 HOUR, sent, 0), "
        "hour_at = IF(hour_at > NOW(6) - INTERVAL 1 HOUR, hour_at, NOW(6)) WHERE channel = ?",
        "ubbis", (uint64_t)op->attempts, (const void *)op->token, sizeof(op->token), (const void *)op->delivery,
        sizeof(op->delivery), op->lease_ms * 1000, name);
}

void store_alerts_claim(struct db *db, void *arg)
{
    struct store_alerts_claim *op = arg;
    bool any = false;
    op->n = 0;
    op->rc =
        store_rc_of(db ? is_any(db, op, &any) : DB_GONE); /* mostly nothing is: one query and no transaction */
    if (op->rc == STORE_OK && any)
        op->rc = store_tx(db, claim_tx, NULL, op);
    if (op->rc != STORE_OK)
        op->n = 0;
}

static enum db_rc end_tx(struct db *db, void *arg)
{
    struct store_alerts_end *op = arg;
    bool is_taken = !op->error[0];
    const char *name = alert_channel_name[op->channel];
    TRY(db_exec(
        db,
        "UPDATE chasqui_alert_channels SET token = NULL, delivery = IF(?, NULL, delivery), attempts = IF(?, 0, attempts), failed_at = IF(?, NULL, COALESCE(failed_at, NOW(6))), "
        "last_error = IF(?, NULL, LEFT(?, 200)), told_at = IF(?, NOW(6), told_at), sent = sent + ?, due_at = NOW(6) + INTERVAL ? MICROSECOND WHERE channel = ? AND token = ?",
        "uuuusuuisb", (uint64_t)is_taken, (uint64_t)is_taken, (uint64_t)is_taken, (uint64_t)is_taken, op->error,
        (uint64_t)is_taken, (uint64_t)is_taken, op->again_ms * 1000, name, (const void *)op->token,
        (size_t)ID_TOKEN_BYTES));
    if (!db_affected(db) || !is_taken)
        return DB_OK;
    for (unsigned i = 0; i < op->n; i++)
        TRY(db_exec(db, op->told[i].what == ALERT_ENDED ? sql_of[op->channel].over : sql_of[op->channel].open, "u",
                    op->told[i].id));
    return DB_OK;
}

void store_alerts_end(struct db *db, void *arg)
{
    struct store_alerts_end *op = arg;
    op->rc = store_tx(db, end_tx, NULL, op);
}
