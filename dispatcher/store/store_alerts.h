/* SPDX-License-Identifier: MIT */
/*
 * store_alerts.h - what is wrong, as brokers say it, and whom it was told to, in the database. As in store.h each op travels to a database
 * thread and back.
 */
#ifndef CHASQUI_STORE_ALERTS_H
#define CHASQUI_STORE_ALERTS_H

#include "dispatcher/store/store.h"

#include "common/buf.h"

#define ALERT_CODE_ROOM 41
#define ALERT_WHO_ROOM 161
/* Of a row a: the reason of its acknowledgement is in the audit trail, written within the same transaction. */
#define ALERT_ACK_REASON                                                                                          \
    "(SELECT u.detail FROM chasqui_audit u WHERE u.at >= a.acked_at AND u.at < a.acked_at + INTERVAL 10 SECOND "  \
    "AND u.action = 'alert_ack' AND u.subject = CONCAT('alert:', a.code, IF(a.who = '', '', ' '), LEFT(a.who, "   \
    "100)) ORDER BY u.at LIMIT 1)"
#define ALERT_WHO_MAX 160 /* characters; bytes, too */
#define ALERT_TEXT_ROOM 2001
#define ALERT_TEXT_MAX 500 /* characters */
#define ALERT_TODO_ROOM 1601
#define ALERT_TODO_MAX 400
#define ALERTS_SAID_MAX 64 /* of one broker at a time */
#define ALERTS_TOLD_MAX 20 /* in one message */
#define ALERT_MUTES_MAX 200

enum alert_channel { CHANNEL_WEBHOOK, CHANNEL_MAIL, CHANNEL_COUNT };
extern const char *const alert_channel_name[CHANNEL_COUNT];

struct alert_said {
    char code[ALERT_CODE_ROOM], who[ALERT_WHO_ROOM]; /* who "" = it is about the whole */
    bool is_bad;
    char text[ALERT_TEXT_ROOM], text_es[ALERT_TEXT_ROOM], todo[ALERT_TODO_ROOM], todo_es[ALERT_TODO_ROOM];
};
struct
    store_alerts_said { /* all that a broker says now; those that it said before and does not any more end by themselves */
    unsigned n;
    struct alert_said *one; /* owned by the caller; by code and who, so that two brokers lock them in one order */
    struct buf
        json; /* out: {ok,alerts:[{id,code,who,acked_by,ack_reason,muted_until}],channels:[{channel,error,for_s,attempts}]} of what goes on, and of
                             * channels that take nothing; freed by the caller */
    enum store_rc rc;
};
void store_alerts_said(struct db *db, void *op);

struct
    store_alerts_sweep { /* ends alerts that are not reported any more, writes those of the database, forgets old ones */
    int64_t gone_s;               /* it ends when it was not reported for so long */
    int64_t batch_failed_percent; /* 0 = off */
    enum store_rc rc;
};
void store_alerts_sweep(struct db *db, void *op);
/* Part of a transaction of it: alerts of what brokers do not know: batches that failed, schedules that were missed or are late. */
enum db_rc alert_rules_look(struct db *db, int64_t batch_failed_percent);

enum alert_what { ALERT_BEGUN, ALERT_AGAIN, ALERT_ENDED, ALERT_HAPPENED, ALERT_TEST };
extern const char *const alert_what_name[];
struct alert_told {
    uint64_t id;
    enum alert_what what;
    struct alert_said said;
    int64_t first_ms, ended_ms; /* unix; ended 0 = it goes on */
};
struct store_alerts_claim { /* what is to be told by a channel now, as one message */
    enum alert_channel channel;
    bool is_only_bad;
    int64_t after_s, repeat_s, hour_max, lease_ms;
    /* out */
    unsigned n, more; /* more: they wait for the next message */
    struct alert_told got[ALERTS_TOLD_MAX];
    bool is_last_of_hour;
    unsigned attempts; /* this one counted */
    uint8_t token[ID_TOKEN_BYTES], delivery[ID_TOKEN_BYTES];
    enum store_rc rc;
};
void store_alerts_claim(struct db *db, void *op);

struct store_alerts_end { /* of one message; no-op when the token does not hold any more */
    enum alert_channel channel;
    uint8_t token[ID_TOKEN_BYTES];
    unsigned n;
    struct {
        uint64_t id;
        enum alert_what what;
    } told[ALERTS_TOLD_MAX];
    char error[201];  /* "" = it was taken */
    int64_t again_ms; /* until the next message, or try */
    enum store_rc rc;
};
void store_alerts_end(struct db *db, void *op);

struct store_alerts_list { /* those that go on first, then the newest that are over */
    unsigned limit;
    struct buf json; /* out; freed by the caller */
    enum store_rc rc;
};
void store_alerts_list(struct db *db, void *op);

struct store_alert_set {
    enum { ALERT_ACK, ALERT_MUTE, ALERT_UNMUTE } wish;
    uint64_t id;                                     /* ACK */
    char code[ALERT_CODE_ROOM], who[ALERT_WHO_ROOM]; /* MUTE, UNMUTE; who "" = whomever it is about */
    int64_t for_s;                                   /* MUTE */
    struct actor by;
    /* out */
    bool found;
    char refused[100]; /* "" = done */
    int64_t until_ms;  /* MUTE: unix */
    enum store_rc rc;
};
void store_alert_set(struct db *db, void *op); /* audited */

#endif
