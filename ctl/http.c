/*
 * http.c - requests to a broker. No redirects, no proxy, no cookies, no
 * decoding, bounded time and size (an upload may last as long as it moves); the
 * token goes into its header and nowhere else.
 */
#include "ctl/http.h"

#include "ctl/ctl.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define BODY_BYTES_MAX (16 << 20)
#define CONNECT_MS 3000L
#define TOTAL_MS 45000L     /* above the broker's own deadline */
#define SILENT_S 180L       /* an upload that does not move for so long is broken off */
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
    }
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
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, TOTAL_MS);
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
