/* SPDX-License-Identifier: MIT */
/*
 * params_token.c - bodies that create a token, or store credentials. Pure. Must never answer with a client's text.
 */
#include "broker/params_token.h"
#include "broker/params.h"
#include "broker/ratelimit.h"

#include "common/clock.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_CHARACTERS_MAX 100
#define RATE_MAX 10000000
#define EXPIRES_S_MAX (36600ll * 86400) /* 100 years */

static bool is_absent(const struct jv *v)
{
    return jv_type(v) == JV_ABSENT || jv_type(v) == JV_NULL;
}

/* ---- abilities and companies -------------------------------------------------------------------------------- */

static const char *const abilities[] = {"app", "ops:read", "ops"};
#define N_ABILITIES (sizeof abilities / sizeof abilities[0])

static bool ability_take(bool has[N_ABILITIES], const char *word, size_t len)
{
    for (unsigned i = 0; word && i < N_ABILITIES; i++)
        if (strlen(abilities[i]) == len && memcmp(abilities[i], word, len) == 0)
            return has[i] = true;
    return false;
}

/* Reads an array of words, or a comma list. */
static bool abilities_take(const struct jv *v, bool has[N_ABILITIES])
{
    bool is_good = true;
    for (size_t i = 0; i < jv_len(v) && is_good; i++)
        is_good = ability_take(has, jv_str(jv_at(v, i)), jv_str_len(jv_at(v, i)));
    for (const char *at = jv_str(v); at && is_good;) {
        size_t len = strcspn(at, ",");
        is_good = ability_take(has, at, len);
        at = at[len] ? at + len + 1 : NULL;
    }
    return is_good && (has[0] || has[1] || has[2]);
}

static bool abilities_read(const struct jv *body, bool has[N_ABILITIES], char out[32], struct jv **errors)
{
    const struct jv *v = jv_get(body, "abilities");
    *out = '\0';
    if (!abilities_take(v, has)) {
        errors_add(errors, "abilities", is_absent(v) ? "is needed" : "must be some of app, ops:read and ops");
        return false;
    }
    for (unsigned i = 0; i < N_ABILITIES; i++)
        if (has[i])
            snprintf(out + strlen(out), 32 - strlen(out), "%s%s", *out ? "," : "", abilities[i]);
    return true;
}

static bool is_star(const struct jv *v)
{
    const char *text = jv_str(v);
    return text && strcmp(text, "*") == 0;
}

/* Reads a list of ids into out; "*" = all. Returns false when it is neither. */
static bool companies_take(const struct jv *v, struct jv *out, bool *all)
{
    if (is_star(v) || (jv_type(v) == JV_ARRAY && jv_len(v) == 1 && is_star(jv_at(v, 0))))
        return *all = true;
    bool is_good = jv_type(v) == JV_ARRAY && jv_len(v) >= 1 && jv_len(v) <= PROTO_COMPANIES_MAX;
    for (size_t i = 0; is_good && i < jv_len(v); i++) {
        uint64_t id;
        is_good = jv_id(jv_at(v, i), &id);
        if (is_good)
            jv_push_int(out, (int64_t)id);
    }
    return is_good;
}

static struct jv *companies_read(const struct jv *body, bool *all, struct jv **errors)
{
    static const char why[] = "must be a list of 1 to 1000 companies' ids, or \"*\" for all";
    const struct jv *list = jv_get(body, "companies"), *one = jv_get(body, "company_id");
    struct jv *out = jv_new_array();
    uint64_t id;
    *all = false;
    if (!is_absent(jv_get(body, "all_companies")) && !jv_bool(jv_get(body, "all_companies"), all))
        errors_add(errors, "all_companies", "must be true or false");
    bool was_all = *all;
    if (!is_absent(list) && !companies_take(list, out, all) && !(was_all && jv_is_empty_array(list)))
        errors_add(errors, "companies", why);
    if (is_star(one))
        *all = true;
    else if (!is_absent(one) && jv_id(one, &id))
        jv_push_int(out, (int64_t)id);
    else if (!is_absent(one))
        errors_add(errors, "company_id", "must be an integer of 1 or more");
    if (is_absent(list) && is_absent(one) && !*all)
        errors_add(errors, "companies", "is needed");
    else if (*all && jv_len(out))
        errors_add(errors, "companies", "has no use beside all companies");
    return out;
}

/* ---- the rest of a token ------------------------------------------------------------------------------------ */

/* Whether the text is one line of at most 100 characters. */
static bool name_ok(const char *text, size_t len)
{
    unsigned n = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && i + 1 < len && (unsigned char)text[i + 1] < 0xa0))
            return false;
        n += (c & 0xc0) != 0x80;
    }
    return n <= NAME_CHARACTERS_MAX;
}

static void name_read(const struct jv *body, const struct jv *companies, bool all, struct jv *out,
                      struct jv **errors)
{
    const struct jv *v = jv_get(body, "name");
    char name[64];
    int64_t id = 0;
    if (!is_absent(v) && (jv_type(v) != JV_STRING || !name_ok(jv_str(v), jv_str_len(v))))
        errors_add(errors, "name", "must be a text of one line, at most 100 characters");
    if (jv_type(v) == JV_STRING && jv_str_len(v)) {
        jv_set_strn(out, "name", jv_str(v), jv_str_len(v));
        return;
    }
    jv_int(jv_at(companies, 0), &id);
    if (all)
        snprintf(name, sizeof name, "all companies");
    else if (jv_len(companies) == 1)
        snprintf(name, sizeof name, "company %lld", (long long)id);
    else
        snprintf(name, sizeof name, "%zu companies", jv_len(companies));
    jv_set_str(out, "name", name);
}

static void expiry_read(const struct jv *body, int64_t now_unix_ms, struct jv *out, struct jv **errors)
{
    const struct jv *at = jv_get(body, "expires_at"), *in = jv_get(body, "expires_s");
    int64_t ms, s;
    if (!is_absent(at) && !is_absent(in)) {
        errors_add(errors, "expires_at", "does not go with expires_s");
    } else if (!is_absent(at)) {
        if (jv_type(at) != JV_STRING || !clock_read(jv_str(at), jv_str_len(at), &ms))
            errors_add(errors, "expires_at", "must be a time in UTC like 2026-01-31T06:00:00Z");
        else if (ms <= now_unix_ms || ms > now_unix_ms + EXPIRES_S_MAX * 1000)
            errors_add(errors, "expires_at", "must lie in the next hundred years");
        else
            jv_set_int(out, "expires_at_ms", ms);
    } else if (!is_absent(in)) {
        if (!jv_int(in, &s) || s < 1 || s > EXPIRES_S_MAX)
            errors_add(errors, "expires_s", "must be an integer of 1 to 3162240000");
        else
            jv_set_int(out, "expires_s", s);
    }
}

struct jv *params_token(const struct jv *body, int64_t now_unix_ms, struct jv **errors)
{
    struct jv *out = jv_new_object();
    bool has[N_ABILITIES] = {false}, all;
    char words[32];
    int64_t rate;
    const struct jv *limit = jv_get(body, "rate_per_minute");
    struct jv *companies = companies_read(body, &all, errors);
    if (abilities_read(body, has, words, errors) && (has[1] || has[2]) && !all)
        errors_add(errors, "abilities", "ops and ops:read see every company: they need companies \"*\"");
    name_read(body, companies, all, out, errors);
    jv_set_str(out, "abilities", words);
    jv_set_bool(out, "all", all);
    jv_set(out, "companies", companies);
    if (!is_absent(limit) && (!jv_int(limit, &rate) || rate < 0 || rate > RATE_MAX))
        errors_add(errors, "rate_per_minute", "must be an integer of 0 to 10000000");
    else if (!is_absent(limit))
        jv_set_int(out, "rate_per_minute", rate);
    expiry_read(body, now_unix_ms, out, errors);
    return out;
}

/* ---- credentials -------------------------------------------------------------------------------------------- */

void params_whose(const struct jv *body, const struct query *q, struct msg_REQUEST *r, struct jv **errors)
{
    const struct jv *company = jv_get(body, "company_id"), *portal = jv_get(body, "portal");
    struct str name = {jv_str(portal), (uint32_t)jv_str_len(portal)};
    if (!body) {
        params_active(q, r, errors);
        return;
    }
    if (is_absent(company))
        errors_add(errors, "company_id", "is needed");
    else if (!jv_id(company, &r->company_id))
        errors_add(errors, "company_id", "must be an integer of 1 or more");
    if (is_absent(portal))
        errors_add(errors, "portal", "is needed");
    else if (!name.p || !portal_ok(name))
        errors_add(errors, "portal", "must be 1 to 64 of a-z, 0-9 and _");
    else
        r->portal = name;
}

void params_credentials(const struct jv *body, struct jv **errors)
{
    static const char *const reserved[] = {"company_id", "portal", "job_uid", "epoch"};
    const struct jv *v = jv_get(body, "credentials");
    if (is_absent(v)) {
        errors_add(errors, "credentials", "is needed");
    } else if (jv_type(v) != JV_OBJECT || !jv_len(v)) {
        errors_add(errors, "credentials", "must be an object with at least one member");
    } else {
        for (unsigned i = 0; i < sizeof reserved / sizeof reserved[0]; i++) {
            char field[40];
            snprintf(field, sizeof field, "credentials.%s", reserved[i]);
            if (jv_get(v, reserved[i]))
                errors_add(errors, field, "is a name that is set here");
        }
    }
}
