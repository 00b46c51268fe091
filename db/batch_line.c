/* SPDX-License-Identifier: MIT */
/*
 * batch_line.c - reads one line of a batch's body.
 *
 * Owns nothing. Plain lines are read without building a JSON value, because one upload holds up to a hundred
 * thousand of them. A bad line is reported by naming the wrong field; it never stops the upload, and the other
 * items go on.
 */
#include "db/batch_line.h"

#include "common/jv.h"
#include "proto/proto.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const reserved[] = {"company_id", "portal", "job_uid",
                                       "epoch"}; /* set by the login call itself */

static const char why_company[] = "must be an integer of 1 or more";

static void say(struct batch_line *line, enum err error, const char *field, const char *why)
{
    if (!line->errors)
        line->errors = jv_new_object();
    struct jv *list = jv_get(line->errors, field);
    if (!list) {
        jv_set(line->errors, field, jv_new_array());
        list = jv_get(line->errors, field);
    }
    jv_push_str(list, why);
    line->error = error;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

bool batch_line_is_blank(const char *text, size_t len)
{
    while (len && is_space(text[len - 1]))
        len--;
    return len == 0;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

void batch_companies_sort(uint64_t *companies, unsigned n)
{
    if (n)
        qsort(companies, n, sizeof(*companies), by_number);
}

static bool is_allowed(const struct batch_rules *rules, uint64_t company_id)
{
    return rules->all || (rules->n_companies && bsearch(&company_id, rules->companies, rules->n_companies,
                                                        sizeof(company_id), by_number));
}

/* ---- the short way ------------------------------------------------------------------------------------------ */

/* Reads {"company_id":N,"params":{...}} where params is flat and holds only the simplest values: numbers without a
 * fraction, true, false, null, printable ASCII without escapes. Any other line takes the slow path. A line that
 * both paths accept is read and written identically by both. */
struct quick {
    const char *p, *end;
    struct buf *params;
    struct str name[16]; /* names in params so far */
    unsigned n_names;
};

static void spaces_skip(struct quick *q)
{
    while (q->p < q->end && is_space(*q->p))
        q->p++;
}

static bool is_next(struct quick *q, const char *word)
{
    size_t len = strlen(word);
    spaces_skip(q);
    if ((size_t)(q->end - q->p) < len || memcmp(q->p, word, len) != 0)
        return false;
    q->p += len;
    return true;
}

/* Reads a string. *out includes the quotes. */
static bool quick_string(struct quick *q, struct str *out)
{
    spaces_skip(q);
    const char *from = q->p;
    if (from == q->end || *from != '"')
        return false;
    for (q->p++; q->p < q->end && *q->p != '"'; q->p++)
        if (*q->p < ' ' || *q->p > '~' || *q->p == '\\')
            return false;
    if (q->p == q->end)
        return false;
    q->p++;
    *out = (struct str){from, (uint32_t)(q->p - from)};
    return true;
}

/* Reads a number of at most 18 digits, as JSON writes it. */
static bool quick_number(struct quick *q, struct str *out)
{
    spaces_skip(q);
    const char *from = q->p;
    bool negative = q->p < q->end && *q->p == '-';
    q->p += negative;
    const char *digits = q->p;
    while (q->p < q->end && *q->p >= '0' && *q->p <= '9')
        q->p++;
    size_t n = (size_t)(q->p - digits);
    bool is_part = q->p < q->end && (*q->p == '.' || *q->p == 'e' || *q->p == 'E');
    *out = (struct str){from, (uint32_t)(q->p - from)};
    return n >= 1 && n <= 18 && !is_part && (*digits != '0' || (n == 1 && !negative));
}

static bool quick_value(struct quick *q)
{
    static const char *const words[] = {"true", "false", "null"};
    struct str value;
    spaces_skip(q);
    if (q->p < q->end && *q->p == '"') {
        if (!quick_string(q, &value))
            return false;
        buf_add(q->params, value.p, value.len);
        return true;
    }
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if (is_next(q, words[i])) {
            buf_adds(q->params, words[i]);
            return true;
        }
    if (!quick_number(q, &value))
        return false;
    buf_add(q->params, value.p, value.len);
    return true;
}

/* Reads one member. Its name must be new and not reserved. */
static bool quick_member(struct quick *q)
{
    struct str *name = &q->name[q->n_names];
    if (q->n_names == sizeof(q->name) / sizeof(q->name[0]) || !quick_string(q, name) || !is_next(q, ":"))
        return false;
    for (unsigned i = 0; i < q->n_names; i++)
        if (q->name[i].len == name->len && memcmp(q->name[i].p, name->p, name->len) == 0)
            return false;
    for (unsigned i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
        if (name->len == strlen(reserved[i]) + 2 && memcmp(name->p + 1, reserved[i], name->len - 2) == 0)
            return false;
    buf_adds(q->params, q->n_names++ ? "," : "{");
    buf_add(q->params, name->p, name->len);
    buf_adds(q->params, ":");
    return quick_value(q);
}

static bool quick_params(struct quick *q)
{
    if (!is_next(q, "{"))
        return false;
    do
        if (!quick_member(q))
            return false;
    while (is_next(q, ","));
    buf_adds(q->params, "}");
    return is_next(q, "}");
}

static bool quick_company(struct quick *q, uint64_t *company_id)
{
    struct str digits;
    if (!is_next(q, ":") || !quick_number(q, &digits) || *digits.p == '-')
        return false;
    *company_id = 0;
    for (uint32_t i = 0; i < digits.len; i++)
        *company_id = *company_id * 10 + (uint64_t)(digits.p[i] - '0');
    return *company_id != 0;
}

static bool quick_read(struct batch_line *line, const char *text, size_t len)
{
    struct quick q = {.p = text, .end = text + len, .params = &line->params};
    bool has_company = false, has_params = false;
    if (!is_next(&q, "{"))
        return false;
    do {
        if (!has_company && is_next(&q, "\"company_id\"")) {
            if (!quick_company(&q, &line->company_id))
                return false;
            has_company = true;
        } else {
            if (has_params || !is_next(&q, "\"params\"") || !is_next(&q, ":") || !quick_params(&q))
                return false;
            has_params = true;
        }
    } while (is_next(&q, ","));
    return has_company && is_next(&q, "}") && batch_line_is_blank(q.p, (size_t)(q.end - q.p));
}

/* ---- the long way ------------------------------------------------------------------------------------------- */

static bool is_absent(const struct jv *v)
{
    return jv_type(v) == JV_ABSENT || jv_type(v) == JV_NULL;
}

static void company_read(struct batch_line *line, const struct jv *item)
{
    const struct jv *v = jv_get(item, "company_id");
    if (is_absent(v))
        say(line, ERR_VALIDATION_FAILED, "company_id", "is needed");
    else if (!jv_id(v, &line->company_id))
        say(line, ERR_VALIDATION_FAILED, "company_id", why_company);
}

static void params_read(struct batch_line *line, const struct jv *item)
{
    const struct jv *v = jv_get(item, "params");
    if (is_absent(v) || jv_is_empty_array(v))
        return;
    if (jv_type(v) != JV_OBJECT) {
        say(line, ERR_VALIDATION_FAILED, "params", "must be an object");
        return;
    }
    for (unsigned i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++) {
        char field[32];
        snprintf(field, sizeof(field), "params.%s", reserved[i]);
        if (jv_get(v, reserved[i]))
            say(line, ERR_VALIDATION_FAILED, field, "is a name that is set here");
    }
    if (!jv_len(v) || line->error)
        return;
    size_t len;
    char *text = jv_dump(v, &len);
    buf_add(&line->params, text, len);
    explicit_bzero(text, len);
    free(text);
}

static void item_read(struct batch_line *line, const char *text, size_t len)
{
    enum jv_bad why;
    struct jv *item = jv_parse(text, len, &why);
    if (!item)
        say(line, why == JV_NUL ? ERR_VALIDATION_FAILED : ERR_BAD_REQUEST, "line", jv_bad_text(why));
    else if (jv_type(item) != JV_OBJECT)
        say(line, ERR_BAD_REQUEST, "line", "is not a JSON object");
    else {
        company_read(line, item);
        params_read(line, item);
    }
    jv_wipe(item);
}

static void params_check(struct batch_line *line, const struct batch_rules *rules)
{
    if (line->params.len > BATCH_PARAMS_MAX)
        say(line, ERR_VALIDATION_FAILED, "params", "must be at most 16384 bytes");
    else if (line->params.len && !rules->may_have_params)
        say(line, ERR_VALIDATION_FAILED, "params", "cannot be kept: the dispatchers have no seal key");
}

void batch_line_read(struct batch_line *line, const char *text, size_t len, const struct batch_rules *rules)
{
    line->company_id = 0;
    line->error = ERR_OK;
    line->errors = NULL;
    buf_clear(&line->params);
    if (len > BATCH_LINE_MAX) {
        say(line, ERR_PAYLOAD_TOO_LARGE, "line", "is longer than 20480 bytes");
        return;
    }
    if (!quick_read(line, text, len)) {
        line->company_id = 0;
        buf_clear(&line->params);
        item_read(line, text, len);
    }
    params_check(line, rules);
    if (!line->error && !is_allowed(rules, line->company_id))
        say(line, ERR_COMPANY_FORBIDDEN, "company_id", "is not a company of this token");
    if (line->error)
        buf_clear(&line->params);
}
