/* SPDX-License-Identifier: MIT */
/* alert_text.c - alerts as those read them who are told. */
#include "dispatcher/queue/alert_text.h"

#include "common/id.h"
#include "common/jv.h"
#include "common/text.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TITLE_CHARACTERS 150
#define ENCODED_BYTES 39   /* of a text in one encoded word: 52 letters of base64, 64 with what is around them */
#define BODY_LINE_BYTES 57 /* 76 letters */

/* English, Spanish. */
static const char *const what_text[][2] = {
    {"", ""}, {"still: ", "sigue: "}, {"over: ", "terminó: "}, {"", ""}, {"", ""}};

static const char *of(const struct alert_message *m, const char *english, const char *spanish)
{
    return m->is_spanish && *spanish ? spanish : english;
}

static void duration_add(struct buf *out, int64_t ms)
{
    int64_t s = ms > 0 ? ms / 1000 : 0;
    if (s < 120)
        buf_addf(out, "%lld s", (long long)s);
    else if (s < 7200)
        buf_addf(out, "%lld min", (long long)(s / 60));
    else
        buf_addf(out, "%lld h", (long long)(s / 3600));
}

/* Adds a text as one line, at most so many characters. */
static void clean_add(struct buf *out, const char *text, size_t most)
{
    size_t len = strlen(text);
    char *clean = malloc(3 * len + 1); /* one that is not UTF-8 becomes three bytes */
    if (!clean)
        return;
    text_clean(clean, 3 * len + 1, text, len, most);
    buf_adds(out, clean);
    free(clean);
}

void alert_title(struct buf *out, const struct alert_message *m)
{
    struct buf text = {0};
    const struct alert_told *first = m->told;
    buf_adds(&text, "Chasqui: ");
    if (m->n + m->more > 1)
        buf_addf(&text, "%u %s: ", m->n + m->more, of(m, "alerts", "alertas"));
    if (m->n)
        buf_addf(&text, "%s%s", what_text[first->what][m->is_spanish],
                 of(m, first->said.text, first->said.text_es));
    clean_add(out, text.data, TITLE_CHARACTERS);
    buf_free(&text);
}

static void line_add(struct buf *out, const struct alert_message *m, const struct alert_told *t)
{
    const char *mark = t->what == ALERT_ENDED ? "\xe2\x9c\x85"
                       : t->said.is_bad       ? "\xf0\x9f\x94\xb4"
                                              : "\xf0\x9f\x9f\xa1";
    buf_addf(out, "%s %s", mark, what_text[t->what][m->is_spanish]);
    clean_add(out, of(m, t->said.text, t->said.text_es), ALERT_TEXT_MAX);
    if (t->what == ALERT_ENDED && t->ended_ms) {
        buf_adds(out, of(m, " It lasted ", " Duró "));
        duration_add(out, t->ended_ms - t->first_ms);
        buf_adds(out, ".");
    } else if (*t->said.todo) {
        buf_adds(out, " ");
        clean_add(out, of(m, t->said.todo, t->said.todo_es), ALERT_TODO_MAX);
    }
    if (t->what != ALERT_ENDED && t->id)
        buf_addf(out, " (chasqui alerts ack %llu)", (unsigned long long)t->id);
    buf_adds(out, "\n");
}

void alert_lines(struct buf *out, const struct alert_message *m)
{
    for (unsigned i = 0; i < m->n; i++)
        line_add(out, m, &m->told[i]);
    if (m->more)
        buf_addf(out, "%s %u %s.\n", of(m, "And", "Y"), m->more, of(m, "more", "más"));
    if (m->is_last_of_hour)
        buf_adds(out, of(m, "This is the last message of this hour (alerts.hour_max).\n",
                         "Es el último mensaje de esta hora (alerts.hour_max).\n"));
}

static struct jv *told_jv(const struct alert_told *t)
{
    struct jv *one = jv_new_object();
    jv_set_int(one, "id", (int64_t)t->id);
    jv_set_str(one, "what", alert_what_name[t->what]);
    jv_set_str(one, "level", t->said.is_bad ? "bad" : "warn");
    jv_set_str(one, "code", t->said.code);
    jv_set_str(one, "who", *t->said.who ? t->said.who : NULL);
    jv_set_str(one, "text", t->said.text);
    jv_set_str(one, "text_es", t->said.text_es);
    jv_set_str(one, "todo", t->said.todo);
    jv_set_str(one, "todo_es", t->said.todo_es);
    jv_set_time(one, "since", t->first_ms);
    jv_set_time(one, "ended_at", t->ended_ms);
    return one;
}

static void dump(struct buf *out, struct jv *body)
{
    size_t len;
    char *text = jv_dump(body, &len);
    buf_add(out, text, len);
    free(text);
    jv_free(body);
}

void alert_json(struct buf *out, const struct alert_message *m)
{
    struct jv *body = jv_new_object(), *list = jv_new_array();
    struct buf title = {0};
    alert_title(&title, m);
    jv_set_str(body, "event", "alerts");
    jv_set_str(body, "title", title.data);
    for (unsigned i = 0; i < m->n; i++)
        jv_push(list, told_jv(&m->told[i]));
    jv_set(body, "alerts", list);
    jv_set_int(body, "more", m->more);
    jv_set_bool(body, "last_of_hour", m->is_last_of_hour);
    buf_free(&title);
    dump(out, body);
}

/* Cut so that it has at most so many units of UTF-16, at a character. */
static void units_cut(struct buf *text, size_t most)
{
    size_t at = 0, units = 0;
    while (at < text->len) {
        size_t n = text_char(text->data + at, text->len - at);
        n = n ? n : 1;
        units += n == 4 ? 2 : 1;
        if (units > most)
            break;
        at += n;
    }
    text->data[at] = 0;
    text->len = at;
}

void alert_slack(struct buf *out, const struct alert_message *m)
{
    struct jv *body = jv_new_object();
    struct buf text = {0}, safe = {0};
    alert_lines(&text, m);
    units_cut(&text, SLACK_UNITS_MAX);
    for (const char *at = text.data; *at; at++)
        if (*at == '&' || *at == '<' || *at == '>')
            buf_adds(&safe, *at == '&' ? "&amp;" : *at == '<' ? "&lt;" : "&gt;");
        else
            buf_add(&safe, at, 1);
    jv_set_str(body, "text", safe.data);
    buf_free(&text);
    buf_free(&safe);
    dump(out, body);
}

void alert_telegram(struct buf *out, const struct alert_message *m, const char *chat)
{
    struct jv *body = jv_new_object(), *preview = jv_new_object();
    struct buf text = {0};
    alert_lines(&text, m);
    units_cut(&text, TELEGRAM_UNITS_MAX);
    jv_set_str(body, "chat_id", chat);
    jv_set_str(body, "text", text.data);
    jv_set_bool(preview, "is_disabled", true);
    jv_set(body, "link_preview_options", preview);
    buf_free(&text);
    dump(out, body);
}

/* ---- mail --------------------------------------------------------------------------------------------------- */

static void base64_add(struct buf *out, const char *data, size_t len)
{
    char word[BODY_LINE_BYTES / 3 * 4 + 5];
    sodium_bin2base64(word, sizeof(word), (const unsigned char *)data, len, sodium_base64_VARIANT_ORIGINAL);
    buf_adds(out, word);
}

/* An unstructured header's text as encoded words, each of whole characters, folded. */
static void encoded_add(struct buf *out, const char *text, size_t len)
{
    for (size_t at = 0, n; at < len; at += n) {
        for (n = 0; at + n < len;) {
            size_t one = text_char(text + at + n, len - at - n);
            one = one ? one : 1;
            if (n + one > ENCODED_BYTES)
                break;
            n += one;
        }
        buf_adds(out, at ? "\r\n =?UTF-8?B?" : "=?UTF-8?B?");
        base64_add(out, text + at, n);
        buf_adds(out, "?=");
    }
}

static void date_add(struct buf *out, int64_t now_ms)
{
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t t = (time_t)(now_ms / 1000);
    struct tm tm;
    gmtime_r(&t, &tm);
    buf_addf(out, "%s, %d %s %d %02d:%02d:%02d +0000", days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon],
             tm.tm_year + 1900, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* "a@x, b@y" folded after each. */
static void receivers_add(struct buf *out, const char *to)
{
    for (bool is_first = true; *to; is_first = false) {
        to += strspn(to, ", ");
        size_t n = strcspn(to, ", ");
        if (n)
            buf_addf(out, "%s%.*s", is_first ? "" : ",\r\n ", (int)n, to);
        to += n;
    }
}

void alert_mail(struct buf *out, const struct alert_message *m, const char *from, const char *to,
                const uint8_t id[ID_TOKEN_BYTES], int64_t now_ms)
{
    char hex[2 * ID_TOKEN_BYTES + 1];
    const char *domain = strrchr(from, '@');
    struct buf title = {0}, text = {0};
    id_hex(id, ID_TOKEN_BYTES, hex);
    alert_title(&title, m);
    buf_addf(out, "From: %s\r\nTo: ", from);
    receivers_add(out, to);
    buf_adds(out, "\r\nSubject: ");
    encoded_add(out, title.data, title.len);
    buf_adds(out, "\r\nDate: ");
    date_add(out, now_ms);
    buf_addf(
        out,
        "\r\nMessage-ID: <chasqui-%s@%s>\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        "Content-Transfer-Encoding: base64\r\n\r\n",
        hex, domain ? domain + 1 : "localhost");
    alert_lines(&text, m);
    for (size_t at = 0; at < text.len; at += BODY_LINE_BYTES) {
        base64_add(out, text.data + at, text.len - at < BODY_LINE_BYTES ? text.len - at : BODY_LINE_BYTES);
        buf_adds(out, "\r\n");
    }
    buf_free(&title);
    buf_free(&text);
}
