/*
 * http.c - requests to a broker. No redirects, no proxy, no cookies, no
 * decoding, bounded time and size; the token goes into its header and nowhere
 * else.
 */
#include "ctl/http.h"

#include "ctl/ctl.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#define BODY_BYTES_MAX (16 << 20)
#define CONNECT_MS 3000L
#define TOTAL_MS 45000L /* above the broker's own deadline */

static size_t body_take(char *data, size_t one, size_t n, void *arg)
{
    struct buf *body = arg;
    if (body->len + one * n > BODY_BYTES_MAX)
        return 0;
    buf_add(body, data, one * n);
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

static struct curl_slist *headers_make(const struct ctl *c, bool post)
{
    struct curl_slist *list = curl_slist_append(NULL, "Accept: application/json");
    struct buf token = {0};
    if (post)
        list = curl_slist_append(list, "Content-Type: application/json");
    list = curl_slist_append(list, "Expect:");
    if (c->conf->ctl_token) {
        buf_addf(&token, "Authorization: Bearer %s", c->conf->ctl_token);
        list = curl_slist_append(list, token.data);
        buf_wipe(&token);
    }
    return list;
}

static void options_set(CURL *curl, bool post)
{
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, TOTAL_MS);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "chasqui/" CHASQUI_VERSION);
    if (post) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "{}");
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, 2L);
    }
}

void http_ask(struct ctl *c, bool post, const char *base_url, const char *path, struct http_answer *answer)
{
    size_t len = strlen(base_url);
    struct buf body = {0}, url = {0};
    char reason[CURL_ERROR_SIZE] = "";
    enum jv_bad bad;
    memset(answer, 0, sizeof(*answer));
    while (len && base_url[len - 1] == '/')
        len--;
    buf_addf(&url, "%.*s%s", (int)len, base_url, path);
    snprintf(answer->url, sizeof(answer->url), "%s", url.data);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    CURL *curl = curl_easy_init();
    struct curl_slist *headers = headers_make(c, post);
    options_set(curl, post);
    curl_easy_setopt(curl, CURLOPT_URL, url.data);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, body_take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
    CURLcode rc = curl_easy_perform(curl);
    long status = 0;
    if (rc == CURLE_OK)
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    else
        snprintf(answer->why, sizeof(answer->why), "%s", *reason ? reason : curl_easy_strerror(rc));
    answer->status = (int)status;
    if (body.len)
        answer->body = jv_parse(body.data, body.len, &bad);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    buf_free(&body);
    buf_free(&url);
}
