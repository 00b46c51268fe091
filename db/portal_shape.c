/* SPDX-License-Identifier: MIT */
/*
 * portal_shape.c - see the header. A zone is parsed each time it is needed: once every few seconds per connection.
 * A configuration with an invalid zone does not start.
 */
#include "db/portal_shape.h"

#include "common/check.h"
#include "common/zone.h"
#include "db/state.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const times[SHAPE_TIMES] = {"created_at", "updated_at", "available_at", "started_at",
                                               "finished_at"};
static const char *const statuses[STATUS_WORDS] = {"queued", "retrying", "running", "done", "failed", "cancelled"};
static const char *const fills[SHAPE_FILLS] = {"payload", "result", "user_id"};
static const char deleted_at[] = ".deleted_at";
#define MESSAGE "{message "
#define STATUS "{status "
#define WORD "{word "
#define MESSAGE_CHARS 1000
#define CHAR_BYTES_MAX 4

void shape_begin(struct portal_shape *s)
{
    memset(s, 0, sizeof(*s));
    strcpy(s->message_set, "utf8mb4");
    s->message_chars = MESSAGE_CHARS;
}

static bool is_word(const char *text)
{
    size_t n = strlen(text);
    return n && n < 32 && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == n;
}

/* A text type's length is in bytes. */
static void message_shape(struct portal_shape *s, const char *data_type, const char *charset, const char *length)
{
    unsigned long long chars = length ? strtoull(length, NULL, 10) : 0;
    if (strcasestr(data_type, "text"))
        chars /= CHAR_BYTES_MAX;
    if (chars && chars < MESSAGE_CHARS)
        s->message_chars = (unsigned)chars;
    if (charset && is_word(charset))
        strcpy(s->message_set, charset);
}

/* conf.c ensures that a word holds no quotation mark. */
static const char *word_of(const struct portal_shape *s, unsigned status)
{
    return s->word[status] ? s->word[status] : statuses[status];
}

bool shape_enum_has(const char *type, const char *value)
{
    size_t len = strlen(value);
    for (const char *p = strchr(type, '\''); p; p = strchr(p, '\'')) {
        const char *from = ++p;
        for (; *p && (*p != '\'' || p[1] == '\''); p++)
            p += *p == '\'';
        if ((size_t)(p - from) == len && strncasecmp(from, value, len) == 0)
            return true;
        if (*p)
            p++;
    }
    return false;
}

/* Whether the word is in the comma-separated list. */
static bool is_listed(const char *list, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = list; at && *at; at += strcspn(at, ", "), at += strspn(at, ", "))
        if (strcspn(at, ", ") == len && strncmp(at, word, len) == 0)
            return true;
    return false;
}

static void status_look(struct portal_shape *s, const char *type)
{
    for (unsigned i = 0; i < STATUS_WORDS && strncasecmp(type, "enum(", 5) == 0; i++)
        if (!*s->lacks && !shape_enum_has(type, word_of(s, i)))
            snprintf(s->lacks, sizeof(s->lacks), "%.20s", word_of(s, i));
}

static bool is_text(const char *data_type)
{
    return strcasestr(data_type, "text") || strcasecmp(data_type, "json") == 0;
}

static bool is_integer(const char *data_type)
{
    static const char *const integers[] = {"tinyint", "smallint", "mediumint", "int", "bigint"};
    bool is_one = false;
    for (unsigned i = 0; i < sizeof(integers) / sizeof(*integers); i++)
        is_one |= strcasecmp(data_type, integers[i]) == 0;
    return is_one;
}

void shape_row(struct portal_shape *s, const char *column, const char *data_type, const char *charset,
               const char *length)
{
    s->has_deleted_at |= strcasecmp(column, "deleted_at") == 0;
    for (unsigned i = 0; i < SHAPE_TIMES; i++)
        if (strcasecmp(column, times[i]) == 0)
            s->is_timestamp[i] = strcasecmp(data_type, "timestamp") == 0;
    if (strcasecmp(column, "message") == 0)
        message_shape(s, data_type, charset, length);
    if (strcasecmp(column, "status") == 0)
        status_look(s, data_type);
    for (unsigned i = 0; i < SHAPE_FILLS; i++)
        if (strcasecmp(column, fills[i]) == 0)
            s->fills[i] =
                is_listed(s->columns, fills[i]) && (i == FILL_USER ? is_integer(data_type) : is_text(data_type));
}

static int64_t offset_of(const char *name, int64_t unix_s)
{
    const char *why;
    struct zone *z = name && *name ? zone_new(name, &why) : NULL;
    int64_t s = z ? zone_offset_s(z, unix_s) : 0;
    zone_destroy(&z);
    return s;
}

/* A DATETIME holds wall time unchanged. A TIMESTAMP holds wall time as converted by the server from the zone of
 * Laravel's connection. */
void shape_zones(struct portal_shape *s, const struct conf *conf, int64_t unix_s)
{
    int64_t wall = offset_of(conf->laravel_time_zone, unix_s),
            connection = offset_of(conf->laravel_connection_time_zone, unix_s);
    for (unsigned i = 0; i < SHAPE_TIMES; i++)
        s->wall_s[i] = s->is_timestamp[i] ? wall - connection : wall;
}

bool shape_fills_user(const struct portal_shape *s)
{
    return s->fills[FILL_USER];
}

bool shape_concerns(const char *sql)
{
    return strchr(sql, '{') || strstr(sql, deleted_at);
}

static int64_t wall_of(const struct portal_shape *s, const char *column)
{
    for (unsigned i = 0; i < SHAPE_TIMES; i++)
        if (strcmp(column, times[i]) == 0)
            return s->wall_s[i];
    CHECK(false, "no time column %s", column);
    return 0;
}

static void shifted(struct buf *out, const char *sql, char sign, int64_t seconds)
{
    if (seconds)
        buf_addf(out, "(%s %c INTERVAL %lld SECOND)", sql, sign, (long long)seconds);
    else
        buf_adds(out, sql);
}

/* The last code point that the character set is certain to hold. CONVERT() of a later one is refused (1977). NULL
 * = all. */
static const char *last_of(const char *charset)
{
    static const char *const sets[][2] = {
        {"utf8mb4", NULL}, {"utf8mb3", "FFFF"}, {"utf8", "FFFF"}, {"latin1", "FF"}};
    for (unsigned i = 0; i < sizeof(sets) / sizeof(*sets); i++)
        if (strcmp(sets[i][0], charset) == 0)
            return sets[i][1];
    return "7F";
}

static size_t message_write(const struct portal_shape *s, const char *at, struct buf *out)
{
    const char *sql = at + strlen(MESSAGE), *end = strchr(sql, '}');
    CHECK(end, "token %.40s", at);
    const char *last = last_of(s->message_set);
    buf_adds(out, "LEFT(CONVERT(");
    if (last)
        buf_addf(out, "REGEXP_REPLACE(%.*s, '[^\\\\x{1}-\\\\x{%s}]', '?')", (int)(end - sql), sql, last);
    else
        buf_add(out, sql, (size_t)(end - sql));
    buf_addf(out, " USING %s), %u)", s->message_set, s->message_chars);
    return (size_t)(end - at) + 1;
}

void shape_words(struct portal_shape *s, const struct conf *conf)
{
    const char *const words[STATUS_WORDS] = {conf->laravel_status_queued,  conf->laravel_status_retrying,
                                             conf->laravel_status_running, conf->laravel_status_done,
                                             conf->laravel_status_failed,  conf->laravel_status_cancelled};
    s->columns = conf->laravel_columns;
    for (unsigned i = 0; i < STATUS_WORDS; i++)
        s->word[i] = words[i] && strcmp(words[i], statuses[i]) != 0 ? words[i] : NULL;
}

static bool is_translated(const struct portal_shape *s)
{
    for (unsigned i = 0; i < STATUS_WORDS; i++)
        if (s->word[i])
            return true;
    return false;
}

const char *shape_word(const struct portal_shape *s, const char *status)
{
    for (unsigned i = 0; i < STATUS_WORDS; i++)
        if (strcmp(statuses[i], status) == 0)
            return word_of(s, i);
    return status;
}

/* Writes {queued}. Returns its length in bytes; 0 = it is another token. */
static size_t literal_write(const struct portal_shape *s, const char *at, struct buf *out)
{
    for (unsigned i = 0; i < STATUS_WORDS; i++) {
        size_t len = strlen(statuses[i]);
        if (strncmp(at + 1, statuses[i], len) == 0 && at[1 + len] == '}') {
            buf_addf(out, "'%s'", word_of(s, i));
            return len + 2;
        }
    }
    return 0;
}

/* Whether an earlier status has the same word. When two statuses share a word, the first one is read. */
static bool is_shared(const struct portal_shape *s, unsigned status)
{
    for (unsigned i = 0; i < status; i++)
        if (strcasecmp(word_of(s, i), word_of(s, status)) == 0)
            return true;
    return false;
}

/* `sql` is written exactly once, because it may be a parameter. */
static size_t status_write(const struct portal_shape *s, const char *at, bool is_read, struct buf *out)
{
    const char *sql = strchr(at, ' ') + 1, *end = strchr(sql, '}');
    CHECK(end, "token %.40s", at);
    int len = (int)(end - sql);
    if (is_translated(s)) {
        buf_addf(out, "(CASE %.*s", len, sql);
        for (unsigned i = 0; i < STATUS_WORDS; i++)
            if (!is_read)
                buf_addf(out, " WHEN '%s' THEN '%s'", statuses[i], word_of(s, i));
            else if (!is_shared(s, i))
                buf_addf(out, " WHEN '%s' THEN '%s'", word_of(s, i), statuses[i]);
        if (is_read)
            buf_addf(out, " ELSE %.*s", len, sql);
        buf_adds(out, " END)");
    } else {
        buf_add(out, sql, (size_t)len);
    }
    return (size_t)(end - at) + 1;
}

/* The body of execute without params, which hold credentials. Written after the columns that it names. */
static const char payload_sql[] =
    ", JSON_OBJECT('company_id', company_id, 'portal', portal, 'action', action, 'priority', priority, 'job_uid', job_uid)";

/* The answer of execute, for a row that has ended; NULL for any other row. An assignment sees the ones before it.
 * `p`: the row's table, with its dot. */
static void result_write(const struct portal_shape *s, const char *p, struct buf *out)
{
    buf_addf(
        out,
        ", %sresult = CASE WHEN %sstatus = '%s' THEN JSON_OBJECT('ok', true, 'job_id', %sid, 'job_uid', %sjob_uid, 'session_id', "
        "%srobot_session_id, 'worker', %sworker)",
        p, p, word_of(s, STATUS_DONE), p, p, p, p);
    buf_addf(
        out,
        " WHEN %sstatus IN ('%s', '%s') THEN JSON_OBJECT('ok', false, 'job_id', %sid, 'job_uid', %sjob_uid, 'error', COALESCE(%serror, "
        "'wrong_state'), 'message', COALESCE(%smessage, IF(%serror IS NULL, 'The job was cancelled.', NULL))) END",
        p, word_of(s, STATUS_FAILED), word_of(s, STATUS_CANCELLED), p, p, p, p, p);
}

/* Writes {payload}, {payload value}, {user}, {user value}, {result} or {result j}. Returns its length in bytes; 0
 * = it is another token. */
static size_t fill_write(const struct portal_shape *s, const char *at, struct buf *out)
{
    char word[10] = "", of[10] = "", p[12] = "";
    int n = 0, more = 0;
    if (sscanf(at, "{%9[a-z]%n %9[a-z]%n", word, &n, of, &more) < 1 || at[more ? more : n] != '}')
        return 0;
    bool is_payload = strcmp(word, fills[FILL_PAYLOAD]) == 0, is_user = strcmp(word, "user") == 0;
    if (!is_payload && !is_user && strcmp(word, fills[FILL_RESULT]) != 0)
        return 0;
    snprintf(p, sizeof(p), "%s%s", of, *of ? "." : "");
    if (is_payload && s->fills[FILL_PAYLOAD])
        buf_adds(out, *of ? payload_sql : ", payload");
    else if (is_user && s->fills[FILL_USER])
        buf_adds(out, *of ? ", ?" : ", user_id");
    else if (!is_payload && !is_user && s->fills[FILL_RESULT])
        result_write(s, p, out);
    return (size_t)(more ? more : n) + 1;
}

/* Writes the SQL of an event of state.def, which itself holds tokens. */
static void event_write(const struct portal_shape *s, const char *word, const char *event, const char *more,
                        struct buf *out)
{
    struct buf sql = {0};
    state_write(word, event, more, &sql);
    shape_text(s, sql.data, out);
    buf_free(&sql);
}

/* Writes a token with words: {word column} or {word column SQL}. Returns its length in bytes. */
static size_t token_write(const struct portal_shape *s, const char *at, struct buf *out)
{
    char word[8], name[64], sql[120] = "";
    int n = 0;
    if (strncmp(at, MESSAGE, strlen(MESSAGE)) == 0)
        return message_write(s, at, out);
    if (strncmp(at, STATUS, strlen(STATUS)) == 0 || strncmp(at, WORD, strlen(WORD)) == 0)
        return status_write(s, at, at[1] == STATUS[1], out);
    size_t literal = literal_write(s, at, out);
    if (!literal)
        literal = fill_write(s, at, out);
    if (literal)
        return literal;
    CHECK(sscanf(at, "{%7[a-z] %63[a-z_.]%n", word, name, &n) == 2 && n, "token %.40s", at);
    const char *dot = strchr(name, '.'), *column = dot ? dot + 1 : name;
    if (at[n] == ' ') {
        int more = 0;
        CHECK(sscanf(at + n, " %119[^}]%n", sql, &more) == 1, "token %.40s", at);
        n += more;
    }
    CHECK(at[n] == '}', "token %.40s", at);
    if (state_is_word(word))
        event_write(s, word, name, sql, out);
    else if (strcmp(word, "now") == 0)
        shifted(out, "NOW(3)", '+', wall_of(s, column));
    else if (strcmp(word, "wall") == 0)
        shifted(out, sql, '+', wall_of(s, column));
    else
        shifted(out, name, '-', wall_of(s, column));
    return (size_t)n + 1;
}

void shape_text(const struct portal_shape *s, const char *sql, struct buf *out)
{
    buf_adds(out, "");
    while (*sql) {
        if (*sql == '{' && islower((unsigned char)sql[1])) { /* {1,64} belongs to a regular expression */
            sql += token_write(s, sql, out);
        } else if (!s->has_deleted_at && strncmp(sql, deleted_at, sizeof(deleted_at) - 1) == 0) {
            while (out->len && (isalnum((unsigned char)out->data[out->len - 1]) || out->data[out->len - 1] == '_'))
                out->len--; /* removes the dot behind the table's name */
            buf_adds(out, "NULL");
            sql += sizeof(deleted_at) - 1;
        } else {
            buf_add(out, sql++, 1);
        }
    }
}
