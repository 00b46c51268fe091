/* SPDX-License-Identifier: MIT */
/*
 * http.c - requests to a broker. No redirects, no proxy, no cookies, no
 * decoding, bounded time and size (an upload may last as long as it moves); the
 * token goes into its header and nowhere else.
 */
#include "ctl/http.h"

#include "common/check.h"
#include "ctl/ctl.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BODY_BYTES_MAX (16 << 20)
#define CONNECT_MS 3000L
#define TOTAL_MS 45000L /* above the broker's own deadline */
#define SILENT_S 180L   /* an upload that does not move for so long is broken off */
#define FOLLOW_SILENT_S 60L
#define UPLOAD_BYTES 65536L /* asked of an upload at a time */

struct taking {
    CURL *curl;
    const struct http_request *request;
    struct buf body;
};

static size_t body_take(char *data, size_t one, size_t n, void *arg)
{
    struct taking *t = arg;
    long status = 0;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    if (t->request->follow && status == 200)
        return t->request->follow(t->request->follow_arg, data, one * n) ? one * n : 0;
    if (t->body.len + one * n > BODY_BYTES_MAX)
        return 0;
    buf_add(&t->body, data, one * n);
    return one * n;
}

void http_escape(struct buf *out, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if (isalnum(*p) || strchr("-._~", *p))
            buf_add(out, p, 1);
        else
            buf_addf(out, "%%%02X", *p);
}

static struct curl_slist *headers_make(const struct ctl *c, const struct http_request *r)
{
    struct curl_slist *list = curl_slist_append(NULL, "Accept: application/json");
    struct buf line = {0};
    if (r->ndjson)
        list = curl_slist_append(list, "Content-Type: application/x-ndjson");
    else if (strcmp(r->method, "POST") == 0)
        list = curl_slist_append(list, "Content-Type: application/json");
    list = curl_slist_append(list, "Expect:");
    if (r->idempotency_key) {
        buf_addf(&line, "Idempotency-Key: %s", r->idempotency_key);
        list = curl_slist_append(list, line.data);
        buf_clear(&line);
    }
    if (c->conf->ctl_token) {
        buf_addf(&line, "Authorization: Bearer %s", c->conf->ctl_token);
        list = curl_slist_append(list, line.data);
        buf_wipe(&line);
    }
    buf_addf(&line, "X-Chasqui-Actor: %s", c->actor); /* as in the rows that we write ourselves */
    list = curl_slist_append(list, line.data);
    buf_wipe(&line);
    return list;
}

static size_t body_give(char *out, size_t one, size_t n, void *arg)
{
    const struct http_request *r = arg;
    long len = r->ndjson(r->ndjson_arg, out, one * n);
    return len < 0 ? CURL_READFUNC_ABORT : (size_t)len;
}

static size_t header_take(char *line, size_t one, size_t n, void *arg)
{
    static const char replayed[] = "idempotency-replayed: true";
    struct http_answer *answer = arg;
    answer->replayed |= one * n >= sizeof(replayed) - 1 && strncasecmp(line, replayed, sizeof(replayed) - 1) == 0;
    return one * n;
}

static void method_set(CURL *curl, const struct http_request *r)
{
    if (r->ndjson) {
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_READFUNCTION, body_give);
        curl_easy_setopt(curl, CURLOPT_READDATA, (void *)(uintptr_t)r);
        curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BYTES);
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, SILENT_S);
        return;
    }
    if (r->follow) { /* a comment comes every 15 s */
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, FOLLOW_SILENT_S);
        return;
    }
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, r->total_ms ? r->total_ms : TOTAL_MS);
    if (strcmp(r->method, "POST") == 0) {
        const char *json = r->json ? r->json : "{}";
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(json));
        curl_easy_setopt(curl, CURLOPT_COPYPOSTFIELDS, json);
    } else if (strcmp(r->method, "GET") != 0) {
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, r->method);
    }
}

static void options_set(CURL *curl, struct http_answer *answer)
{
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "chasqui/" CHASQUI_VERSION);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, header_take);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, answer);
}

void http_ask(struct ctl *c, const struct http_request *request, struct http_answer *answer)
{
    size_t len = strlen(request->base_url);
    struct taking taking = {.request = request};
    struct buf url = {0};
    char reason[CURL_ERROR_SIZE] = "";
    enum jv_bad bad;
    memset(answer, 0, sizeof(*answer));
    while (len && request->base_url[len - 1] == '/')
        len--;
    buf_addf(&url, "%.*s%s", (int)len, request->base_url, request->path);
    snprintf(answer->url, sizeof(answer->url), "%s", url.data);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    CURL *curl = taking.curl = curl_easy_init();
    struct curl_slist *headers = headers_make(c, request);
    options_set(curl, answer);
    method_set(curl, request);
    curl_easy_setopt(curl, CURLOPT_URL, url.data);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, body_take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &taking);
    CURLcode rc = curl_easy_perform(curl);
    long status = 0;
    if (rc == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    else
        snprintf(answer->why, sizeof(answer->why), "%s", *reason ? reason : curl_easy_strerror(rc));
    answer->status = (int)status;
    if (taking.body.len)
        answer->body = jv_parse(taking.body.data, taking.body.len, &bad);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    buf_free(&taking.body);
    buf_free(&url);
}

/* ---- robots ------------------------------------------------------------------------------------------------- */

struct http_line {
    CURL *curl;
    char base_url[256];
};

struct http_line *http_line_new(const char *base_url)
{
    struct http_line *line = xcalloc(1, sizeof(*line));
    curl_global_init(CURL_GLOBAL_DEFAULT);
    line->curl = curl_easy_init();
    snprintf(line->base_url, sizeof(line->base_url), "%s", base_url);
    return line;
}

void http_line_free(struct http_line **lp)
{
    if (*lp)
        curl_easy_cleanup((*lp)->curl);
    free(*lp);
    *lp = NULL;
}

static size_t call_body_take(char *data, size_t one, size_t n, void *arg)
{
    struct http_call *call = arg;
    if (call->body.len + one * n > BODY_BYTES_MAX)
        return 0;
    buf_add(&call->body, data, one * n);
    return one * n;
}

/* The value of a header line, if it is that header. */
static void head_copy(const char *line, size_t len, const char *name, char *out, size_t room)
{
    size_t at = strlen(name), n = 0;
    if (len <= at || strncasecmp(line, name, at) != 0)
        return;
    while (at < len && strchr(" \t", line[at]))
        at++;
    while (at + n < len && !strchr("\r\n;", line[at + n]) && n + 1 < room)
        n++;
    memcpy(out, line + at, n);
    out[n] = 0;
}

static size_t call_head_take(char *line, size_t one, size_t n, void *arg)
{
    struct http_call *call = arg;
    head_copy(line, one * n, "content-type:", call->type, sizeof(call->type));
    head_copy(line, one * n, "x-robot-boot:", call->boot, sizeof(call->boot));
    head_copy(line, one * n, "x-request-id:", call->echoed, sizeof(call->echoed));
    return one * n;
}

static struct curl_slist *call_headers(const struct http_call *call)
{
    char text[200];
    struct curl_slist *list = curl_slist_append(NULL, "Accept: application/json, */*");
    list = curl_slist_append(list, "Expect:");
    if (call->json)
        list = curl_slist_append(list, "Content-Type: application/json");
    if (call->idempotency_key) {
        snprintf(text, sizeof(text), "Idempotency-Key: %s", call->idempotency_key);
        list = curl_slist_append(list, text);
    }
    if (call->request_id) {
        snprintf(text, sizeof(text), "X-Request-Id: %s", call->request_id);
        list = curl_slist_append(list, text);
    }
    return list;
}

/* Sets the call up on the line's handle; the headers are the caller's to free after the call. */
static struct curl_slist *call_set(struct http_line *line, struct http_call *call, char reason[CURL_ERROR_SIZE])
{
    struct buf url = {0};
    struct curl_slist *headers = call_headers(call);
    call->status = 0;
    call->type[0] = call->boot[0] = call->echoed[0] = call->why[0] = 0;
    curl_easy_reset(line->curl);
    options_set(line->curl, NULL);
    buf_addf(&url, "%s%s", line->base_url, call->path);
    curl_easy_setopt(line->curl, CURLOPT_URL, url.data);
    curl_easy_setopt(line->curl, CURLOPT_HEADERFUNCTION, call_head_take);
    curl_easy_setopt(line->curl, CURLOPT_HEADERDATA, call);
    curl_easy_setopt(line->curl, CURLOPT_WRITEFUNCTION, call_body_take);
    curl_easy_setopt(line->curl, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(line->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(line->curl, CURLOPT_ERRORBUFFER, reason);
    curl_easy_setopt(line->curl, CURLOPT_TIMEOUT_MS, call->timeout_ms);
    if (strcmp(call->method, "HEAD") == 0) {
        curl_easy_setopt(line->curl, CURLOPT_NOBODY, 1L);
    } else if (call->json) {
        curl_easy_setopt(line->curl, CURLOPT_COPYPOSTFIELDS, call->json);
    } else if (strcmp(call->method, "GET") != 0) {
        curl_easy_setopt(line->curl, CURLOPT_CUSTOMREQUEST, call->method);
    }
    buf_free(&url);
    return headers;
}

static void call_ended(struct http_line *line, struct http_call *call, CURLcode rc, const char *reason)
{
    long status = 0, connects = 0;
    double took_s = 0;
    curl_easy_getinfo(line->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(line->curl, CURLINFO_NUM_CONNECTS, &connects);
    curl_easy_getinfo(line->curl, CURLINFO_TOTAL_TIME, &took_s);
    call->status = rc == CURLE_OK ? (int)status : 0;
    call->is_reused = rc == CURLE_OK && connects == 0;
    call->ms = (long)(took_s * 1000);
    if (rc != CURLE_OK)
        snprintf(call->why, sizeof(call->why), "%s", *reason ? reason : curl_easy_strerror(rc));
}

void http_line_call(struct http_line *line, struct http_call *call)
{
    char reason[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = call_set(line, call, reason);
    call_ended(line, call, curl_easy_perform(line->curl), reason);
    curl_slist_free_all(headers);
}

static void busy_ask(struct http_line *beside, struct http_busy *busy)
{
    struct http_call call = {.method = "GET", .path = busy->path, .timeout_ms = busy->timeout_ms};
    http_line_call(beside, &call);
    buf_free(&call.body);
    if (call.status == 200)
        busy->n++;
    else
        busy->n_failed++;
    if (call.ms > busy->slowest_ms)
        busy->slowest_ms = call.ms;
}

void http_line_call_busy(struct http_line *line, struct http_call *call, struct http_line *beside,
                         struct http_busy *busy)
{
    char reason[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = call_set(line, call, reason);
    CURLM *multi = curl_multi_init();
    CURLcode rc = CURLE_FAILED_INIT;
    int running = 1, left;
    curl_multi_add_handle(multi, line->curl);
    while (running && curl_multi_perform(multi, &running) == CURLM_OK && running &&
           curl_multi_poll(multi, NULL, 0, busy->every_ms, NULL) == CURLM_OK &&
           curl_multi_perform(multi, &running) == CURLM_OK && running)
        busy_ask(beside, busy);
    for (CURLMsg *m; (m = curl_multi_info_read(multi, &left));)
        rc = m->data.result;
    call_ended(line, call, rc, reason);
    curl_multi_remove_handle(multi, line->curl);
    curl_multi_cleanup(multi);
    curl_slist_free_all(headers);
}
