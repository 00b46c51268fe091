/* SPDX-License-Identifier: MIT */
/*
 * openapi.c - the machine-readable description of the API, made from routes.def, fields.def, answers.def and
 * errors.def. Pure, except for the answer itself.
 */
#include "broker/openapi.h"
#include "broker/exchange.h"
#include "broker/reply.h"
#include "broker/route.h"

#include <stdio.h>
#include <string.h>

static const struct field {
    void (*handle)(struct exchange *x);
    enum field_where where;
    const char *name;
    bool is_needed;
    const char *schema, *doc;
} fields[] = {
#define FIELD(handler, where, name, is_needed, schema, doc) {handler, FIELD_##where, name, is_needed, schema, doc},
#include "broker/fields.def"
#undef FIELD
};

static const struct schema {
    const char *name, *schema;
} schemas[] = {
#define SCHEMA(name, schema) {name, schema},
#define ANSWER(handler, status, type, schema)
#include "broker/answers.def"
#undef SCHEMA
#undef ANSWER
};

static const struct answer_row {
    void (*handle)(struct exchange *x);
    int status;
    const char *type, *schema;
} answers[] = {
#define SCHEMA(name, schema)
#define ANSWER(handler, status, type, schema) {handler, status, type, schema},
#include "broker/answers.def"
#undef SCHEMA
#undef ANSWER
};

static const struct error_row {
    const char *code;
    int status;
    const char *text;
} errors[] = {
#define ERR(symbol, code, status, retry, text) {code, status, text},
#include "common/errors.def"
#undef ERR
};

static const char *const docs[] = {
#define ROUTE(listener, method, path, ability, counts, takes, handler, doc) doc,
#include "broker/routes.def"
#undef ROUTE
};

static const char *const names[] = {
/* of handlers */
#define ROUTE(listener, method, path, ability, counts, takes, handler, doc) #handler,
#include "broker/routes.def"
#undef ROUTE
};

#define N(table) (sizeof(table) / sizeof((table)[0]))

bool field_is_known(void (*handle)(struct exchange *x), enum field_where where, const char *name)
{
    for (unsigned i = 0; i < N(fields); i++)
        if (fields[i].handle == handle && fields[i].where == where && strcmp(fields[i].name, name) == 0)
            return true;
    return false;
}

bool openapi_field(unsigned route, unsigned i, struct field_text *out)
{
    static const char *const where[] = {
        [FIELD_PATH] = "path", [FIELD_QUERY] = "query", [FIELD_BODY] = "body", [FIELD_HEADER] = "header"};
    for (unsigned k = 0; k < N(fields); k++) {
        const struct field *f = &fields[k];
        if (f->handle != route_at(route)->handle || i--)
            continue;
        *out = (struct field_text){where[f->where], f->name, f->doc, f->is_needed};
        return true;
    }
    return false;
}

/* ---- pieces ------------------------------------------------------------------------------------------------- */

static void text(struct buf *out, const char *s)
{
    buf_adds(out, "\"");
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            buf_adds(out, "\\");
        buf_add(out, s, 1);
    }
    buf_adds(out, "\"");
}

static void member(struct buf *out, bool *is_first, const char *name)
{
    buf_adds(out, *is_first ? "" : ",");
    *is_first = false;
    text(out, name);
    buf_adds(out, ":");
}

/* Writes the path as it is described: each placeholder is named after a field, in their order. */
static void path_name(const struct route *r, struct buf *out)
{
    unsigned at = 0;
    for (const char *p = r->path; *p; p++) {
        if (*p != '{') {
            buf_add(out, p, 1);
            continue;
        }
        while (at < N(fields) && (fields[at].handle != r->handle || fields[at].where != FIELD_PATH))
            at++;
        buf_addf(out, "{%s}", at < N(fields) ? fields[at++].name : "id");
        p = strchr(p, '}');
    }
}

static void parameters(const struct route *r, struct buf *out)
{
    static const char *const in[] = {[FIELD_PATH] = "path", [FIELD_QUERY] = "query", [FIELD_HEADER] = "header"};
    bool is_first = true;
    buf_adds(out, "\"parameters\":[");
    for (unsigned i = 0; i < N(fields); i++) {
        const struct field *f = &fields[i];
        if (f->handle != r->handle || f->where == FIELD_BODY)
            continue;
        buf_addf(out, "%s{\"name\":\"%s\",\"in\":\"%s\",\"required\":%s,\"schema\":%s,\"description\":",
                 is_first ? "" : ",", f->name, in[f->where], f->is_needed ? "true" : "false", f->schema);
        text(out, f->doc);
        buf_adds(out, "}");
        is_first = false;
    }
    if (r->listener == LISTENER_APP && r->ability != ABILITY_NONE)
        buf_addf(out, "%s{\"$ref\":\"#/components/parameters/Deadline\"}", is_first ? "" : ",");
    buf_adds(out, "]");
}

static void body_schema(const struct route *r, struct buf *out)
{
    bool is_first = true,
         takes_reason = r->listener == LISTENER_OPS && r->handle != web_login && r->handle != web_logout;
    buf_adds(out, "{\"type\":\"object\",\"required\":[");
    for (unsigned i = 0, n = 0; i < N(fields); i++)
        if (fields[i].handle == r->handle && fields[i].where == FIELD_BODY && fields[i].is_needed)
            buf_addf(out, "%s\"%s\"", n++ ? "," : "", fields[i].name);
    buf_adds(out, r->handle == ops_queue_pause ? "\"reason\"],\"properties\":{" : "],\"properties\":{");
    for (unsigned i = 0; i < N(fields); i++)
        if (fields[i].handle == r->handle && fields[i].where == FIELD_BODY) {
            member(out, &is_first, fields[i].name);
            buf_addf(out, "{\"allOf\":[%s],\"description\":", fields[i].schema);
            text(out, fields[i].doc);
            buf_adds(out, "}");
        }
    if (takes_reason) {
        member(out, &is_first, "reason");
        buf_adds(
            out,
            "{\"type\":\"string\",\"maxLength\":200,\"description\":\"Why, for the audit trail.\",\"examples\":[\"maintenance\"]}");
    }
    buf_adds(out, takes_reason ? "},\"additionalProperties\":false}" : "}}");
}

static void request_body(const struct route *r, struct buf *out)
{
    if (r->takes == TAKES_NOTHING)
        return;
    bool is_any = r->takes == TAKES_ANYTHING;
    buf_addf(out, ",\"requestBody\":{\"required\":%s,\"content\":{\"%s\":{\"schema\":",
             r->takes == TAKES_JSON || r->takes == TAKES_BATCH ? "true" : "false",
             is_any ? "*/*" : "application/json");
    if (is_any)
        buf_adds(out, "{}");
    else
        body_schema(r, out);
    if (r->takes == TAKES_BATCH)
        buf_adds(out, "},\"application/x-ndjson\":{\"schema\":{\"$ref\":\"#/components/schemas/NewItem\"}");
    buf_adds(out, "}}}");
}

static void responses(const struct route *r, struct buf *out)
{
    bool is_first = true;
    buf_adds(out, ",\"responses\":{");
    for (unsigned i = 0; i < N(answers); i++) {
        char status[12];
        if (answers[i].handle != r->handle)
            continue;
        snprintf(status, sizeof status, "%d", answers[i].status);
        member(out, &is_first, status);
        buf_addf(out, "{\"description\":\"Done.\",\"content\":{\"%s\":{\"schema\":%s}}}", answers[i].type,
                 answers[i].schema);
    }
    if (is_first) {
        member(out, &is_first, "200");
        buf_adds(
            out,
            "{\"description\":\"Done.\",\"content\":{\"application/json\":{\"schema\":{\"type\":\"object\",\"required\":[\"ok\"],"
            "\"properties\":{\"ok\":{\"type\":\"boolean\",\"examples\":[true]}}}}}}");
    }
    buf_adds(out, ",\"default\":{\"$ref\":\"#/components/responses/Error\"}}");
}

static void operation(const struct route *r, const char *method, struct buf *out)
{
    static const char *const need[] = {
        [ABILITY_APP] = "app", [ABILITY_OPS_READ] = "ops:read", [ABILITY_OPS] = "ops"};
    char small[8] = "";
    for (unsigned i = 0; method[i] && i + 1 < sizeof small; i++)
        small[i] = (char)(method[i] | 0x20);
    buf_addf(out, "\"%s\":{\"operationId\":\"%s_%s_%s\",\"tags\":[\"%s\"],\"summary\":", small,
             names[route_index(r)], small, r->listener == LISTENER_APP ? "app" : "ops",
             r->listener == LISTENER_APP ? "app" : "ops");
    text(out, docs[route_index(r)]);
    if (r->ability == ABILITY_NONE)
        buf_adds(out, ",\"security\":[]");
    else
        buf_addf(out, ",\"description\":\"Needs a token with ability %s.\"", need[r->ability]);
    buf_adds(out, ",");
    parameters(r, out);
    request_body(r, out);
    responses(r, out);
    buf_adds(out, "}");
}

static void operations(const struct route *r, struct buf *out)
{
    static const char *const any[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
    if (strcmp(r->method, "ANY") != 0)
        operation(r, r->method, out);
    for (unsigned i = 0; i < N(any) && strcmp(r->method, "ANY") == 0; i++) {
        buf_adds(out, i ? "," : "");
        operation(r, any[i], out);
    }
}

static bool is_first_of_path(unsigned i)
{
    for (unsigned k = 0; k < i; k++)
        if (strcmp(route_at(k)->path, route_at(i)->path) == 0)
            return false;
    return true;
}

static void paths(struct buf *out)
{
    bool is_first = true;
    buf_adds(out, ",\"paths\":{");
    for (unsigned i = 0; i < route_count(); i++) {
        struct buf path = {0};
        const struct route *r = route_at(i);
        if (!is_first_of_path(i))
            continue;
        path_name(r, &path);
        member(out, &is_first, path.data);
        buf_free(&path);
        buf_addf(out, "{\"servers\":[{\"url\":\"http://127.0.0.1:%s\",\"description\":\"%s\"}]",
                 r->listener == LISTENER_APP ? "8080" : "8081",
                 r->listener == LISTENER_APP ? "broker.http" : "broker.ops");
        for (unsigned k = i; k < route_count(); k++)
            if (strcmp(route_at(k)->path, r->path) == 0 && (k == i || route_at(k)->listener == r->listener)) {
                buf_adds(out, ",");
                operations(route_at(k), out);
            }
        buf_adds(out, "}");
    }
    buf_adds(out, "}");
}

static bool is_first_of_code(unsigned i)
{
    for (unsigned k = 0; k < i; k++)
        if (strcmp(errors[k].code, errors[i].code) == 0)
            return false;
    return true;
}

static void components(struct buf *out)
{
    bool is_first = true;
    buf_adds(
        out,
        ",\"components\":{\"securitySchemes\":{\"token\":{\"type\":\"http\",\"scheme\":\"bearer\",\"bearerFormat\":\"id|secret\"}},"
        "\"parameters\":{\"Deadline\":{\"name\":\"X-Deadline-Ms\",\"in\":\"header\",\"required\":false,\"description\":\"How long the answer may take.\","
        "\"schema\":{\"type\":\"integer\",\"minimum\":100,\"maximum\":150000,\"examples\":[28000]}}},\"responses\":{\"Error\":{\"description\":");
    struct buf codes = {0};
    for (unsigned i = 0; i < N(errors); i++)
        buf_addf(&codes, "%s%d %s: %s", i ? " " : "", errors[i].status, errors[i].code, errors[i].text);
    text(out, codes.data);
    buf_free(&codes);
    buf_adds(
        out,
        ",\"headers\":{\"X-Request-Id\":{\"schema\":{\"type\":\"string\"}},\"Retry-After\":{\"schema\":{\"type\":\"integer\"}}},"
        "\"content\":{\"application/json\":{\"schema\":{\"$ref\":\"#/components/schemas/Error\"}}}}},\"schemas\":{");
    member(out, &is_first, "ErrorCode");
    buf_adds(out, "{\"type\":\"string\",\"examples\":[\"session_not_found\"],\"enum\":[");
    for (unsigned i = 0, n = 0; i < N(errors); i++)
        if (is_first_of_code(i))
            buf_addf(out, "%s\"%s\"", n++ ? "," : "", errors[i].code);
    buf_adds(out, "]}");
    for (unsigned i = 0; i < N(schemas); i++) {
        member(out, &is_first, schemas[i].name);
        buf_adds(out, schemas[i].schema);
    }
    buf_adds(out, "}}");
}

void openapi_write(struct buf *out)
{
    buf_adds(
        out,
        "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"Chasqui\",\"version\":\"" CHASQUI_VERSION
        "\",\"license\":{\"name\":\"MIT\",\"identifier\":\"MIT\"},"
        "\"description\":\"Sticky sessions of browser robots. Times are RFC 3339 in UTC. Every answer carries X-Request-Id.\"},"
        "\"servers\":[{\"url\":\"http://127.0.0.1:8080\",\"description\":\"broker.http\"}],\"security\":[{\"token\":[]}],"
        "\"tags\":[{\"name\":\"app\",\"description\":\"For backends; listener broker.http.\"},{\"name\":\"ops\",\"description\":\"For operators; listener broker.ops.\"}]");
    paths(out);
    components(out);
    buf_adds(out, "}");
}

void openapi_get(struct exchange *x)
{
    struct buf body = {0};
    openapi_write(&body);
    reply_text(x, 200, "application/json", &body);
}
