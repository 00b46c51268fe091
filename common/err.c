/* SPDX-License-Identifier: MIT */
/* err.c - errors.def as functions. */
#include "common/err.h"

#include "common/check.h"
#include <string.h>

struct err_row {
    const char *code;
    int http, retry_after_s;
    const char *text;
};

static const struct err_row rows[ERR_COUNT] = {
    [ERR_OK] = {"ok", 200, 0, "Done."},
#define ERR(sym, code, http, retry, text) [ERR_##sym] = {code, http, retry, text},
#include "common/errors.def"
#undef ERR
};

static const struct err_row *row(enum err e)
{
    CHECK((unsigned)e < ERR_COUNT, "err=%d", (int)e);
    return &rows[e];
}

const char *err_code(enum err e)
{
    return row(e)->code;
}

int err_http(enum err e)
{
    return row(e)->http;
}

int err_retry_after_s(enum err e)
{
    return row(e)->retry_after_s;
}

const char *err_text(enum err e)
{
    return row(e)->text;
}

enum err err_from_answer(const char *code, unsigned len, unsigned http)
{
    for (int e = 0; e < ERR_COUNT; e++)
        if ((unsigned)rows[e].http == http && strlen(rows[e].code) == len && memcmp(rows[e].code, code, len) == 0)
            return (enum err)e;
    return err_from_code(code, len);
}

enum err err_from_code(const char *code, unsigned len)
{
    for (int e = 0; e < ERR_COUNT; e++)
        if (strlen(rows[e].code) == len && memcmp(rows[e].code, code, len) == 0)
            return (enum err)e;
    return ERR_COUNT;
}
