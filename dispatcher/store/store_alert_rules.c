/* SPDX-License-Identifier: MIT */
/*
 * store_alert_rules.c - alerts of facts that only the database knows: a batch that ended with many failed items, a
 * schedule's times that were missed, a schedule that is not done when it should be. Each happened once: it is
 * reported, and never reported as over. Every dispatcher looks, and all of them write the same row. What happens anew
 * is reported anew.
 */
#include "dispatcher/store/store_alerts.h"

#include "common/cron.h"
#include "dispatcher/store/store_sql.h"

#include <stdio.h>
#include <string.h>

#define ROWS_MAX 50 /* of one look; the next one takes the next ones */
#define WORDS_ROOM 300

struct happened {
    const char *code;
    char who[ALERT_WHO_ROOM], at[27]; /* at: as the database writes it */
    char text[WORDS_ROOM], text_es[WORDS_ROOM], todo[WORDS_ROOM], todo_es[WORDS_ROOM];
};

#define IS_NEW(new_value, column) #column " = IF(first_at < VALUES(first_at), " new_value ", " #column "), "

static enum db_rc happened_write(struct db *db, const struct happened *h)
{
    return db_exec(
        db,
        "INSERT INTO chasqui_alerts (code, who, level, is_event, text, text_es, todo, todo_es, first_at, seen_at, ended_at) VALUES (?, ?, 'warn', 1, ?, ?, ?, ?, ?, ?, ?) ON "
        "DUPLICATE KEY UPDATE " IS_NEW("NULL", acked_by) IS_NEW("NULL", acked_at) IS_NEW("0", webhook_told) IS_NEW(
            "0",
            mail_told) "text = VALUES(text), text_es = VALUES(text_es), todo = VALUES(todo), todo_es = VALUES(todo_es), first_at = VALUES(first_at), seen_at = VALUES(seen_at), "
                       "ended_at = VALUES(ended_at)",
        "sssssssss", h->code, h->who, h->text, h->text_es, h->todo, h->todo_es, h->at, h->at, h->at);
}

static enum db_rc all_write(struct db *db, const struct happened *rows, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        TRY(happened_write(db, &rows[i]));
    return DB_OK;
}

static enum db_rc batches_look(struct db *db, int64_t percent, struct happened *rows)
{
    unsigned n = 0;
    TRY(db_query(
        db,
        "SELECT b.id, b.portal, b.failed, b.total, b.finished_at FROM chasqui_batches b WHERE b.finished_at > NOW(6) - INTERVAL 1 HOUR AND b.total > 0 AND b.failed * 100 > "
        "b.total * ? AND NOT EXISTS (SELECT 1 FROM chasqui_alerts a WHERE a.code = 'batch_failed' AND a.who = CONCAT('batch ', b.id) AND a.first_at >= b.finished_at) ORDER BY b.id "
        "LIMIT ?",
        "iu", percent, (uint64_t)ROWS_MAX));
    while (n < ROWS_MAX && db_next(db)) {
        struct happened *h = &rows[n++];
        unsigned long long id = db_u64(db, 0), failed = db_u64(db, 2), total = db_u64(db, 3);
        const char *portal = db_str(db, 1, NULL);
        h->code = "batch_failed";
        snprintf(h->who, sizeof(h->who), "batch %llu", id);
        db_str_copy(db, 4, h->at, sizeof(h->at));
        snprintf(h->text, sizeof(h->text), "Batch %llu (%s) ended with %llu of %llu failed.", id, portal, failed,
                 total);
        snprintf(h->text_es, sizeof(h->text_es), "El lote %llu (%s) terminó con %llu de %llu fallidos.", id,
                 portal, failed, total);
        snprintf(h->todo, sizeof(h->todo), "chasqui errors --batch %llu says why.", id);
        snprintf(h->todo_es, sizeof(h->todo_es), "chasqui errors --batch %llu dice por qué.", id);
    }
    return all_write(db, rows, n);
}

static enum db_rc missed_look(struct db *db, struct happened *rows)
{
    unsigned n = 0;
    TRY(db_query(
        db,
        "SELECT s.name, SUM(r.missed), MAX(r.made_at) FROM chasqui_schedule_runs r JOIN chasqui_schedules s ON s.id = r.schedule_id WHERE r.run_at > NOW(6) - INTERVAL 31 DAY AND "
        "r.missed > 0 AND r.made_at > NOW(6) - INTERVAL 1 HOUR GROUP BY s.id, s.name ORDER BY s.name LIMIT ?",
        "u", (uint64_t)ROWS_MAX));
    while (n < ROWS_MAX && db_next(db)) {
        struct happened *h = &rows[n++];
        long long times = db_i64(db, 1);
        h->code = "schedule_missed";
        db_str_copy(db, 0, h->who, sizeof(h->who));
        db_str_copy(db, 2, h->at, sizeof(h->at));
        snprintf(h->text, sizeof(h->text), "Schedule %s was missed: no dispatcher ran (%lld %s).", h->who, times,
                 times == 1 ? "time" : "times");
        snprintf(h->text_es, sizeof(h->text_es), "El horario %s se perdió: no había dispatcher (%lld %s).", h->who,
                 times, times == 1 ? "vez" : "veces");
        snprintf(h->todo, sizeof(h->todo), "chasqui schedule run %s makes it up.", h->who);
        snprintf(h->todo_es, sizeof(h->todo_es), "chasqui schedule run %s lo recupera.", h->who);
    }
    return all_write(db, rows, n);
}

struct late {
    char name[NAME_ROOM], zone[61], done_by[6];
    int64_t run_s, now_s;
    uint64_t batch_id;
};

/* The first HH:MM by the schedule's own clocks after it began; 0 = its zone or time is not good. */
static int64_t deadline_of(const struct late *l)
{
    char text[32];
    struct cron cron;
    const char *why;
    struct zone *z = l->zone[0] ? zone_new(l->zone, &why) : NULL;
    if (strlen(l->done_by) != 5 || (l->zone[0] && !z))
        return 0;
    snprintf(text, sizeof(text), "%.2s %.2s * * *", l->done_by + 3, l->done_by);
    int64_t at_s = cron_parse(text, &cron, &why) ? cron_next_in(&cron, z, l->run_s) : 0;
    zone_destroy(&z);
    return at_s;
}

static enum db_rc late_write(struct db *db, const struct late *l, int64_t at_s, struct happened *h)
{
    const char *zone = l->zone[0] ? l->zone : "UTC";
    unsigned long long batch = (unsigned long long)l->batch_id;
    *h = (struct happened){.code = "schedule_late"};
    strcpy(h->who, l->name);
    TRY(db_query(db, "SELECT FROM_UNIXTIME(?)", "i", at_s));
    if (db_next(db))
        db_str_copy(db, 0, h->at, sizeof(h->at));
    snprintf(h->text, sizeof(h->text), "Schedule %s was not done by %s (%s): batch %llu goes on.", l->name,
             l->done_by, zone, batch);
    snprintf(h->text_es, sizeof(h->text_es), "El horario %s no terminó a las %s (%s): el lote %llu sigue.",
             l->name, l->done_by, zone, batch);
    snprintf(h->todo, sizeof(h->todo), "chasqui batch status %llu says how far it is.", batch);
    snprintf(h->todo_es, sizeof(h->todo_es), "chasqui batch status %llu dice cuánto falta.", batch);
    return happened_write(db, h);
}

static enum db_rc late_look(struct db *db, struct happened *room)
{
    struct late found[ROWS_MAX];
    unsigned n = 0;
    TRY(db_query(
        db,
        "SELECT s.name, COALESCE(s.zone, ''), s.done_by, UNIX_TIMESTAMP(r.run_at) DIV 1, UNIX_TIMESTAMP(NOW(6)) DIV 1, r.batch_id FROM chasqui_schedules s JOIN "
        "chasqui_schedule_runs r ON r.schedule_id = s.id JOIN chasqui_batches b ON b.id = r.batch_id WHERE s.done_by IS NOT NULL AND r.run_at > NOW(6) - "
        "INTERVAL 25 HOUR AND b.finished_at IS NULL ORDER BY r.run_at DESC LIMIT ?",
        "u", (uint64_t)ROWS_MAX));
    while (n < ROWS_MAX && db_next(db)) {
        struct late *l = &found[n++];
        db_str_copy(db, 0, l->name, sizeof(l->name));
        db_str_copy(db, 1, l->zone, sizeof(l->zone));
        db_str_copy(db, 2, l->done_by, sizeof(l->done_by));
        l->run_s = db_i64(db, 3);
        l->now_s = db_i64(db, 4);
        l->batch_id = db_u64(db, 5);
    }
    for (unsigned i = n; i-- > 0;) { /* the eldest first: the last one that is late stays */
        int64_t at_s = deadline_of(&found[i]);
        if (at_s && at_s <= found[i].now_s)
            TRY(late_write(db, &found[i], at_s, room));
    }
    return DB_OK;
}

enum db_rc alert_rules_look(struct db *db, int64_t batch_failed_percent)
{
    struct happened rows[ROWS_MAX];
    if (batch_failed_percent)
        TRY(batches_look(db, batch_failed_percent, rows));
    TRY(missed_look(db, rows));
    return late_look(db, rows);
}
