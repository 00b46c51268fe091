/*
 * batch_line.c - reads one line of a batch's body.
 *
 * Owns nothing. The plainest line, a company and nothing else, is read without
 * building a JSON value: a hundred thousand of them come in one upload. Fails
 * by saying which field is wrong, never by stopping: the other items go on.
 */
#include "dispatcher/batch_line.h"

#include "common/jv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    return rules->all ||
           (rules->n_companies && bsearch(&company_id, rules->companies, rules->n_companies, sizeof(company_id), by_number));
}

/* {"company_id":N} with spaces anywhere; false: read it the long way. */
static bool plain_read(const char *text, size_t len, uint64_t *company_id)
{
    static const char *const parts[] = {"{", "\"company_id\"", ":", "", "}"};
    size_t at = 0;
    uint64_t n = 0;
    for (unsigned i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        size_t want = strlen(parts[i]), digits = 0;
        while (at < len && is_space(text[at]))
            at++;
        if (want) {
            if (len - at < want || memcmp(text + at, parts[i], want) != 0)
                return false;
            at += want;
            continue;
        }
        for (; at < len && text[at] >= '0' && text[at] <= '9' && digits < 18; at++, digits++)
            n = n * 10 + (uint64_t)(text[at] - '0');
        if (!digits || n == 0 || text[at - digits] == '0')
            return false;
    }
    *company_id = n;
    return batch_line_is_blank(text + at, len - at);
}

static bool is_absent(const struct jv *v)
{
    return jv_type(v) == JV_ABSENT || jv_type(v) == JV_NULL;
}

static void company_read(struct batch_line *line, const struct jv *item)
{
    const struct jv *v = jv_get(item, "company_id");
    int64_t n = 0;
    if (is_absent(v))
        say(line, ERR_VALIDATION_FAILED, "company_id", "is needed");
    else if (!jv_int(v, &n) || n < 1)
        say(line, ERR_VALIDATION_FAILED, "company_id", why_company);
    else
        line->company_id = (uint64_t)n;
}

static void params_read(struct batch_line *line, const struct jv *item, const struct batch_rules *rules)
{
    static const char *const reserved[] = {"company_id", "portal", "job_uid", "epoch"};
    const struct jv *v = jv_get(item, "params");
    if (is_absent(v))
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
    if (len > BATCH_PARAMS_MAX)
        say(line, ERR_VALIDATION_FAILED, "params", "must be at most 16384 bytes");
    else if (!rules->may_have_params)
        say(line, ERR_VALIDATION_FAILED, "params", "cannot be kept: the dispatchers have no seal key");
    else
        buf_add(&line->params, text, len);
    explicit_bzero(text, len);
    free(text);
}

static void item_read(struct batch_line *line, const char *text, size_t len, const struct batch_rules *rules)
{
    enum jv_bad why;
    struct jv *item = jv_parse(text, len, &why);
    if (!item)
        say(line, why == JV_NUL || why == JV_RANGE ? ERR_VALIDATION_FAILED : ERR_BAD_REQUEST, "line", jv_bad_text(why));
    else if (jv_type(item) != JV_OBJECT)
        say(line, ERR_BAD_REQUEST, "line", "is not a JSON object");
    else {
        company_read(line, item);
        params_read(line, item, rules);
    }
    jv_wipe(item);
}

void batch_line_read(struct batch_line *line, const char *text, size_t len, const struct batch_rules *rules)
{
    line->company_id = 0;
    line->error = ERR_OK;
    line->errors = NULL;
    buf_clear(&line->params);
    if (len > BATCH_LINE_MAX)
        say(line, ERR_PAYLOAD_TOO_LARGE, "line", "is longer than 20480 bytes");
    else if (!plain_read(text, len, &line->company_id))
        item_read(line, text, len, rules);
    if (!line->error && !is_allowed(rules, line->company_id))
        say(line, ERR_COMPANY_FORBIDDEN, "company_id", "is not a company of this token");
}
