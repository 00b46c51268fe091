/* SPDX-License-Identifier: MIT */
/*
 * robot_url.h - robots' base URLs, taken apart once: they are few and come again and again.
 */
#ifndef CHASQUI_ROBOT_URL_H
#define CHASQUI_ROBOT_URL_H

#include <curl/curl.h>
#include <stdint.h>

struct robot_url { /* read only for others, `loaded` aside */
    char *text;
    const char *path;  /* in text: what comes before every path, mostly "" */
    CURLU *parts;      /* NULL = curl cannot read it */
    char *host, *port; /* NULL = needs no look-up */
    uint64_t loaded;   /* generation (resolver.h) of the addresses that curl has; 0 = none */
};

struct robot_urls;

struct robot_urls *robot_urls_new(void);
void robot_urls_destroy(struct robot_urls **up); /* no easy handle may hold one of them any more */
/* The row of a base URL, made at its first use; lives as long as the table. */
struct robot_url *robot_url_of(struct robot_urls *u, const char *base_url);
/* Where a call goes: the base URL and a path below it. A URL that curl cannot read makes the call fail with curl's own words. */
void robot_url_set(const struct robot_url *u, CURL *easy, const char *path);

#endif
