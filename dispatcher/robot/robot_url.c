/* SPDX-License-Identifier: MIT */
/*
 * robot_url.c - robots' base URLs, each parsed once.
 *
 * Owns: the rows, found by their text. A row is never removed, because curl's handles point into it.
 */
#include "dispatcher/robot/robot_url.h"
#include "dispatcher/robot/robots.h"

#include "common/buf.h"
#include "common/check.h"
#include "common/names.h"
#include "common/curl/robot_easy.h"

#include <stdlib.h>
#include <string.h>

struct robot_urls {
    struct names by_text; /* base URL -> index of its row */
    struct robot_url **rows;
    uint32_t n;
};

struct robot_urls *robot_urls_new(void)
{
    return xcalloc(1, sizeof(struct robot_urls));
}

void robot_urls_destroy(struct robot_urls **up)
{
    struct robot_urls *u = *up;
    if (!u)
        return;
    for (uint32_t i = 0; i < u->n; i++) {
        curl_url_cleanup(u->rows[i]->parts);
        free(u->rows[i]->host);
        free(u->rows[i]->port);
        free(u->rows[i]->text);
        free(u->rows[i]);
    }
    free(u->rows);
    names_clear(&u->by_text);
    free(u);
    *up = NULL;
}

static struct robot_url *row_new(const char *base_url)
{
    struct robot_url *row = xcalloc(1, sizeof(*row));
    row->text = xstrdup(base_url);
    char *host = strstr(row->text, "://"), *path = host ? strchr(host + 3, '/') : NULL;
    row->path = path ? path : "";
    row->parts = curl_url();
    CHECK(row->parts, "curl_url");
    if (curl_url_set(row->parts, CURLUPART_URL, base_url, 0) != CURLUE_OK) {
        curl_url_cleanup(row->parts);
        row->parts = NULL;
    }
    easy_named_host(row->parts, &row->host, &row->port);
    return row;
}

struct robot_url *robot_url_of(struct robot_urls *u, const char *base_url)
{
    uint32_t at = names_find(&u->by_text, base_url);
    if (at != NAMES_NONE)
        return u->rows[at];
    struct robot_url *row = row_new(base_url);
    u->rows = xrealloc(u->rows, (u->n + 1) * sizeof(struct robot_url *));
    u->rows[u->n] = row;
    row->index = u->n;
    names_add(&u->by_text, row->text, u->n++);
    return row;
}

void robot_url_set(const struct robot_url *u, CURL *easy, const char *path)
{
    struct buf target = {0};
    curl_easy_setopt(easy, CURLOPT_CURLU, u->parts);
    if (!u->parts)
        curl_easy_setopt(easy, CURLOPT_URL, u->text);
    if (*u->path) {
        buf_adds(&target, u->path);
        buf_adds(&target, path);
        path = target.data;
    }
    curl_easy_setopt(easy, CURLOPT_REQUEST_TARGET, path);
    buf_free(&target);
}
