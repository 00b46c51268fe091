/* SPDX-License-Identifier: MIT */
/*
 * alerts.c - tells people what is wrong. Owns the channels' secrets (a URL of Slack or Telegram is one), and the messages under way, one a channel.
 * Must never write a URL, a password or an answer's text to the log. What is not taken is tried again with twice the wait, at random within its
 * upper half, five minutes at most, for as long as it goes on: it is one message then, however much there is to tell. More than alerts.hour_max
 * messages an hour are never sent.
 */
#include "dispatcher/queue/alerts.h"
#include "dispatcher/queue/alert_text.h"
#include "dispatcher/queue/mail.h"
#include "dispatcher/queue/webhook.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/secret_file.h"
#include "common/text.h"
#include "dispatcher/dispatcher.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_MS 2000
#define SWEEP_MS 10000
#define GAP_MS 5000    /* between two messages: what comes at once is one */
#define SPARE_MS 15000 /* what a message's lease lasts beyond its limit */
#define WAIT_MS_MAX 300000
#define ANSWER_BYTES_MAX 65536
#define SECRET_ROOM 1025
#define MAIL_TO_MAX 20
#define ASIDES_MAX 4
#define DOWN_AGAIN_MS 60000

struct message { /* what is under way by a channel */
    struct alerts *all;
    enum alert_channel channel;
    bool is_on; /* the channel is configured */
    bool is_busy;
    uint64_t look_at_ms;
    struct store_alerts_claim *claim; /* what it tells; NULL = nothing */
    struct mail_post *post;
};

struct aside { /* a message that the database knows nothing of: a test, or that the database is gone */
    struct alerts *all;
    struct aside *next;
    struct alert_told told;
    uint64_t key;
    alerts_tested_fn *fn;
    unsigned left;
    char why[CHANNEL_COUNT][300]; /* "" = taken */
    struct mail_post *post;
};

struct gone { /* the database is gone: told by each dispatcher for itself, since none can know of the others */
    uint64_t since_ms; /* 0 = it is there */
    uint64_t again_ms;
    bool is_told;
    struct alert_told told;
};

struct alerts {
    struct dispatcher *d;
    struct gone gone;
    struct message by[CHANNEL_COUNT];
    char *url, *password; /* secrets; NULL = none */
    uint64_t sweep_at_ms;
    bool is_sweeping;
    unsigned n_asides;
    struct aside *asides;
};

/* ---- what is sent ------------------------------------------------------------------------------------------- */

static void body_write(const struct alerts *a, const struct alert_message *m, struct buf *out)
{
    const char *format = a->d->conf->alerts_format;
    if (strcmp(format, "slack") == 0)
        alert_slack(out, m);
    else if (strcmp(format, "telegram") == 0)
        alert_telegram(out, m, a->d->conf->alerts_telegram_chat);
    else
        alert_json(out, m);
}

static void hook_post(struct alerts *a, const struct alert_message *m, const uint8_t delivery[ID_TOKEN_BYTES],
                      void (*done)(void *, struct call_answer *), void *arg)
{
    struct dispatcher *d = a->d;
    struct buf body = {0};
    body_write(a, m, &body);
    if (strcmp(d->conf->alerts_format, "json") == 0 && webhook_can_post(d)) {
        webhook_post(d, a->url, &body, delivery, done, arg);
    } else {
        struct call_spec call = {.method = "POST",
                                 .url = a->url,
                                 .body = body.data,
                                 .body_len = body.len,
                                 .connect_ms = d->conf->webhook_timeout_ms,
                                 .total_ms = d->conf->webhook_timeout_ms,
                                 .max_bytes = ANSWER_BYTES_MAX,
                                 .done = done,
                                 .arg = arg};
        call_start(d->robot_http, &call);
    }
    buf_free(&body);
}

static struct mail_post *mail_post(struct alerts *a, const struct alert_message *m,
                                   const uint8_t delivery[ID_TOKEN_BYTES], mail_done_fn *fn, void *arg)
{
    const struct conf *conf = a->d->conf;
    const struct mail_server server = {.url = conf->alerts_smtp_url,
                                       .user = conf->alerts_smtp_user,
                                       .password = a->password,
                                       .from = conf->alerts_mail_from,
                                       .to = conf->alerts_mail_to,
                                       .total_ms = (long)conf->webhook_timeout_ms};
    struct buf text = {0};
    alert_mail(&text, m, conf->alerts_mail_from, conf->alerts_mail_to, delivery, clock_unix_ms());
    struct mail_post *post = mail_send(a->d->loop, &server, &text, fn, arg);
    buf_free(&text);
    return post;
}

/* NULL = it was taken. In our words: an answer's may hold the URL. */
static const char *hook_wrong(const struct call_answer *answer, char why[100])
{
    if (answer->status >= 200 && answer->status < 300 &&
        (answer->result == CALL_ANSWERED || answer->result == CALL_TOO_BIG))
        return NULL;
    if (answer->status)
        snprintf(why, 100,
                 answer->status >= 300 && answer->status < 400 ? "it answered %d; redirects are not followed"
                                                               : "it answered %d",
                 answer->status);
    else
        snprintf(why, 100, "%s",
                 answer->result == CALL_NOT_SENT  ? "it cannot be reached"
                 : answer->result == CALL_TIMEOUT ? "no answer in time"
                                                  : "the connection broke");
    return why;
}

/* ---- a message ---------------------------------------------------------------------------------------------- */

static void ended(void *arg, void *op_)
{
    struct message *m = arg;
    free(op_);
    m->is_busy = false;
    m->look_at_ms = 0;
}

static int64_t wait_ms(const struct alerts *a, unsigned attempts)
{
    int64_t ms = webhook_wait_ms(a->d, attempts);
    return ms < WAIT_MS_MAX ? ms : WAIT_MS_MAX;
}

/* why NULL = it was taken. */
static void settle(struct message *m, const char *why)
{
    struct store_alerts_end *op = xcalloc(1, sizeof(*op));
    const struct store_alerts_claim *claim = m->claim;
    int64_t gap_ms = m->all->d->conf->alerts_after_s * 1000;
    op->channel = m->channel;
    memcpy(op->token, claim->token, sizeof(op->token));
    for (op->n = 0; op->n < claim->n; op->n++) {
        op->told[op->n].id = claim->got[op->n].id;
        op->told[op->n].what = claim->got[op->n].what;
    }
    if (why)
        stat_inc(alerts_failed_total);
    else
        stat_inc(alerts_sent_total);
    snprintf(op->error, sizeof(op->error), "%s", why ? why : "");
    op->again_ms = why ? wait_ms(m->all, claim->attempts) : claim->more ? 0 : gap_ms < GAP_MS ? gap_ms : GAP_MS;
    log_line(why ? LOG_WARN : LOG_INFO, why ? "alerts_not_sent" : "alerts_sent", "by",
             alert_channel_name[m->channel], "alerts", log_i(claim->n), "attempt", log_i(claim->attempts),
             why ? "why" : NULL, why, NULL);
    free(m->claim);
    m->claim = NULL;
    store_submit(m->all->d->store, store_alerts_end, op, ended, m);
}

static void hook_answered(void *arg, struct call_answer *answer)
{
    char why[100];
    settle(arg, hook_wrong(answer, why));
}

static void mail_ended(void *arg, const char *why)
{
    struct message *m = arg;
    m->post = NULL;
    settle(m, why);
}

static void claimed(void *arg, void *op_)
{
    struct message *m = arg;
    struct alerts *a = m->all;
    struct store_alerts_claim *op = op_;
    if (op->rc != STORE_OK || !op->n ||
        a->d->draining) { /* a claim that is not used is due again when its lease ends */
        free(op);
        m->is_busy = false;
        return;
    }
    m->claim = op;
    struct alert_message message = {.told = op->got,
                                    .n = op->n,
                                    .more = op->more,
                                    .is_last_of_hour = op->is_last_of_hour,
                                    .is_spanish = strcmp(a->d->conf->alerts_language, "es") == 0};
    if (m->channel == CHANNEL_WEBHOOK)
        hook_post(a, &message, op->delivery, hook_answered, m);
    else if (!(m->post = mail_post(a, &message, op->delivery, mail_ended, m)))
        settle(m, "no thread could be started");
}

static void look(struct message *m)
{
    const struct conf *conf = m->all->d->conf;
    struct store_alerts_claim *op = xcalloc(1, sizeof(*op));
    m->is_busy = true;
    m->look_at_ms = clock_ms() + LOOK_MS;
    op->channel = m->channel;
    op->is_only_bad = strcmp(conf->alerts_level, "bad") == 0;
    op->after_s = conf->alerts_after_s;
    op->repeat_s = conf->alerts_repeat_s;
    op->hour_max = conf->alerts_hour_max;
    op->lease_ms = conf->webhook_timeout_ms + SPARE_MS;
    store_submit(m->all->d->store, store_alerts_claim, op, claimed, m);
}

/* ---- the tick ----------------------------------------------------------------------------------------------- */

static void swept(void *arg, void *op_)
{
    ((struct alerts *)arg)->is_sweeping = false;
    free(op_);
}

static void sweep(struct alerts *a)
{
    const struct conf *conf = a->d->conf;
    struct store_alerts_sweep *op = xcalloc(1, sizeof(*op));
    int64_t every_ms = conf->alerts_gone_s * 1000 / 2;
    a->is_sweeping = true;
    a->sweep_at_ms = clock_ms() + (uint64_t)(every_ms < SWEEP_MS ? every_ms : SWEEP_MS);
    op->gone_s = conf->alerts_gone_s;
    op->batch_failed_percent = conf->alerts_batch_failed_percent;
    store_submit(a->d->store, store_alerts_sweep, op, swept, a);
}

void alerts_tick(struct dispatcher *d)
{
    struct alerts *a = d->alerts;
    uint64_t now = clock_ms();
    if (d->draining)
        return;
    if (!a->is_sweeping && now >= a->sweep_at_ms)
        sweep(a);
    for (unsigned i = 0; i < CHANNEL_COUNT; i++)
        if (a->by[i].is_on && !a->by[i].is_busy && now >= a->by[i].look_at_ms)
            look(&a->by[i]);
}

void alerts_soon(struct dispatcher *d)
{
    for (unsigned i = 0; i < CHANNEL_COUNT; i++)
        d->alerts->by[i].look_at_ms = 0;
}

/* ---- besides the database ----------------------------------------------------------------------------------- */

static void aside_end(struct aside *t)
{
    struct alerts *a = t->all;
    if (--t->left)
        return;
    struct jv *list = jv_new_array();
    for (unsigned i = 0; i < CHANNEL_COUNT; i++)
        if (a->by[i].is_on) {
            struct jv *one = jv_new_object();
            jv_set_str(one, "channel", alert_channel_name[i]);
            jv_set_bool(one, "ok", !t->why[i][0]);
            jv_set_str(one, "why", t->why[i][0] ? t->why[i] : NULL);
            jv_push(list, one);
        }
    for (struct aside **link = &a->asides; *link; link = &(*link)->next)
        if (*link == t) {
            *link = t->next;
            break;
        }
    a->n_asides--;
    t->fn(a->d, t->key, list);
    free(t);
}

/* The receiver's words help to set a channel up. Words that repeat our URL are not shown. */
static void words_add(const struct alerts *a, const struct buf *body, char *why, size_t room)
{
    const char *host = strstr(a->url, "://"), *path = host ? strchr(host + 3, '/') : NULL;
    char clean[150 * 4 + 1];
    size_t len = strlen(why);
    if (!body->len || !body->data || (path && strlen(path) > 1 && strstr(body->data, path)) ||
        strstr(body->data, a->url))
        return;
    text_clean(clean, sizeof(clean), body->data, body->len, 150);
    snprintf(why + len, room - len, ": %.150s", clean);
    text_clean_in_place(why, room, 250);
}

static void aside_answered(void *arg, struct call_answer *answer)
{
    struct aside *t = arg;
    char why[100];
    if (hook_wrong(answer, why)) {
        snprintf(t->why[CHANNEL_WEBHOOK], sizeof(t->why[0]), "%s", why);
        words_add(t->all, answer->body, t->why[CHANNEL_WEBHOOK], sizeof(t->why[0]));
    }
    aside_end(t);
}

static void aside_mailed(void *arg, const char *why)
{
    struct aside *t = arg;
    t->post = NULL;
    snprintf(t->why[CHANNEL_MAIL], sizeof(t->why[0]), "%s", why ? why : "");
    aside_end(t);
}

static void aside_begin(struct aside *t)
{
    struct alerts *a = t->all;
    struct alert_message message = {
        .told = &t->told, .n = 1, .is_spanish = strcmp(a->d->conf->alerts_language, "es") == 0};
    uint8_t delivery[ID_TOKEN_BYTES];
    id_random(delivery, sizeof(delivery));
    if (a->by[CHANNEL_WEBHOOK].is_on) {
        t->left++;
        hook_post(a, &message, delivery, aside_answered, t);
    }
    if (a->by[CHANNEL_MAIL].is_on && (t->post = mail_post(a, &message, delivery, aside_mailed, t)))
        t->left++;
    else if (a->by[CHANNEL_MAIL].is_on)
        snprintf(t->why[CHANNEL_MAIL], sizeof(t->why[0]), "no thread could be started");
}

static bool aside_tell(struct alerts *a, const struct alert_told *told, uint64_t key, alerts_tested_fn *fn)
{
    if (a->n_asides == ASIDES_MAX)
        return false;
    struct aside *t = xcalloc(1, sizeof(*t));
    *t = (struct aside){.all = a, .told = *told, .key = key, .fn = fn, .next = a->asides, .left = 1};
    a->asides = t;
    a->n_asides++;
    aside_begin(t);
    aside_end(t); /* our own reference: the last one ends it when there is no channel */
    return true;
}

bool alerts_test(struct dispatcher *d, uint64_t key, alerts_tested_fn *fn)
{
    static const struct alert_told told = {.what = ALERT_TEST,
                                           .said = {.code = "test",
                                                    .text = "This is a test: alerts arrive.",
                                                    .text_es = "Esto es una prueba: las alertas llegan."}};
    return aside_tell(d->alerts, &told, key, fn);
}

/* ---- the database is gone ----------------------------------------------------------------------------------- */

static void down_ended(struct dispatcher *d, uint64_t key, struct jv *channels)
{
    (void)d, (void)key;
    jv_free(channels);
}

static void down_told(struct dispatcher *d, uint64_t key, struct jv *channels)
{
    struct gone *gone = &d->alerts->gone;
    bool is_taken = false, ok;
    (void)key;
    for (size_t i = 0; i < jv_len(channels); i++)
        is_taken |= jv_bool(jv_get(jv_at(channels, i), "ok"), &ok) && ok;
    jv_free(channels);
    log_line(is_taken ? LOG_INFO : LOG_WARN, "alerts_database", "taken", is_taken ? "yes" : "no", NULL);
    if (!is_taken)
        gone->again_ms = clock_ms() + DOWN_AGAIN_MS;
    gone->is_told |= is_taken;
}

void alerts_unwritten(struct dispatcher *d, const struct alert_said *said, unsigned n)
{
    struct gone *gone = &d->alerts->gone;
    const struct conf *conf = d->conf;
    uint64_t now = clock_ms();
    unsigned i = 0;
    while (i < n && !(said[i].is_bad && strncmp(said[i].code, "database_", 9) == 0))
        i++;
    if (i == n || d->draining)
        return;
    if (!gone->since_ms) {
        *gone = (struct gone){.since_ms = now, .again_ms = now + (uint64_t)conf->alerts_after_s * 1000};
        gone->told.first_ms = clock_unix_ms();
    }
    if (now < gone->again_ms || (gone->is_told && !conf->alerts_repeat_s))
        return;
    gone->again_ms = now + (uint64_t)conf->alerts_repeat_s * 1000;
    gone->told.said = said[i];
    gone->told.what = gone->is_told ? ALERT_AGAIN : ALERT_BEGUN;
    aside_tell(d->alerts, &gone->told, 0, down_told);
}

void alerts_written(struct dispatcher *d)
{
    struct gone *gone = &d->alerts->gone;
    bool was_told = gone->is_told;
    gone->since_ms = 0;
    gone->is_told = false;
    if (!was_told || d->draining)
        return;
    gone->told.what = ALERT_ENDED;
    gone->told.ended_ms = clock_unix_ms();
    aside_tell(d->alerts, &gone->told, 0, down_ended);
}

/* ---- start and stop ----------------------------------------------------------------------------------------- */

static void refuse(const char *key, const char *why)
{
    log_line(LOG_ERROR, "alerts_refused", "key", key, "why", why, NULL);
}

/* The first line of a file that only we reach. NULL after saying why. */
static char *secret_read(const char *key, const char *path)
{
    char text[SECRET_ROOM];
    const char *why = NULL;
    ssize_t len = secret_file_read(path, text, sizeof(text) - 1, &why);
    if (len >= 0) {
        text[len] = 0;
        text[strcspn(text, "\r\n")] = 0;
        if (!text[0] || len == (ssize_t)sizeof(text) - 1)
            why = "its first line must hold 1 to 1000 bytes";
    }
    char *secret = why ? NULL : xstrdup(text);
    explicit_bzero(text, sizeof(text));
    if (why)
        refuse(key, why);
    return secret;
}

static bool is_url(const char *url, const char *scheme)
{
    size_t n = strlen(scheme);
    if (strncmp(url, scheme, n) != 0 || !url[n])
        return false;
    for (const char *at = url; *at; at++)
        if (*at <= ' ' || *at > '~')
            return false;
    return true;
}

static bool is_address(const char *text, size_t len)
{
    unsigned ats = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] <= ' ' || text[i] > '~' || strchr("<>()[]\\\",:;", text[i]))
            return false;
        ats += text[i] == '@';
    }
    return len >= 3 && len <= 254 && ats == 1 && text[0] != '@' && text[len - 1] != '@';
}

static bool addresses_ok(const char *list)
{
    unsigned n = 0;
    while (*list) {
        list += strspn(list, ", ");
        size_t len = strcspn(list, ", ");
        if (len && (!is_address(list, len) || ++n > MAIL_TO_MAX))
            return false;
        list += len;
    }
    return n > 0;
}

static bool hook_open(struct alerts *a)
{
    const struct conf *conf = a->d->conf;
    if (conf->alerts_url_file && !(a->url = secret_read("alerts.url_file", conf->alerts_url_file)))
        return false;
    if (!a->url && conf->alerts_url)
        a->url = xstrdup(conf->alerts_url);
    a->by[CHANNEL_WEBHOOK].is_on = a->url != NULL;
    if (a->url && !is_url(a->url, "https://") && !is_url(a->url, "http://")) {
        refuse("alerts.url", "it must be an http or https URL");
        return false;
    }
    if (a->url && strcmp(conf->alerts_format, "telegram") == 0 && !conf->alerts_telegram_chat) {
        refuse("alerts.telegram_chat", "the format telegram needs it");
        return false;
    }
    return true;
}

static bool mail_open(struct alerts *a)
{
    const struct conf *conf = a->d->conf;
    if (!conf->alerts_smtp_url)
        return true;
    if (conf->alerts_smtp_password_file &&
        !(a->password = secret_read("alerts.smtp_password_file", conf->alerts_smtp_password_file)))
        return false;
    if (!is_url(conf->alerts_smtp_url, "smtp://") && !is_url(conf->alerts_smtp_url, "smtps://"))
        refuse("alerts.smtp_url", "it must be like smtp://host:587 or smtps://host:465");
    else if (strchr(conf->alerts_smtp_url, '@'))
        refuse("alerts.smtp_url", "user and password belong to alerts.smtp_user and alerts.smtp_password_file");
    else if (!conf->alerts_mail_from || !is_address(conf->alerts_mail_from, strlen(conf->alerts_mail_from)))
        refuse("alerts.mail_from", "it must be one mail address, like chasqui@example.com");
    else if (!conf->alerts_mail_to || !addresses_ok(conf->alerts_mail_to))
        refuse("alerts.mail_to", "it must be a comma list of 1 to 20 mail addresses");
    else
        return a->by[CHANNEL_MAIL].is_on = true;
    return false;
}

struct alerts *alerts_new(struct dispatcher *d)
{
    struct alerts *a = xcalloc(1, sizeof(*a));
    a->d = d;
    for (unsigned i = 0; i < CHANNEL_COUNT; i++) {
        a->by[i].all = a;
        a->by[i].channel = (enum alert_channel)i;
    }
    if (!hook_open(a) || !mail_open(a))
        alerts_destroy(&a);
    return a;
}

static void secret_free(char *secret)
{
    if (secret)
        explicit_bzero(secret, strlen(secret));
    free(secret);
}

/* After the calls have ended or were dropped. */
void alerts_destroy(struct alerts **ap)
{
    struct alerts *a = *ap;
    if (!a)
        return;
    for (unsigned i = 0; i < CHANNEL_COUNT; i++) {
        free(a->by[i].claim);
        mail_forget(&a->by[i].post);
    }
    while (a->asides) {
        struct aside *t = a->asides;
        a->asides = t->next;
        mail_forget(&t->post);
        free(t);
    }
    secret_free(a->url);
    secret_free(a->password);
    free(a);
    *ap = NULL;
}
