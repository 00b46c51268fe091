/* SPDX-License-Identifier: MIT */
/*
 * robot_url.h - robots' base URLs, each parsed once: there are few, used repeatedly.
 */
#ifndef CHASQUI_ROBOT_URL_H
#define CHASQUI_ROBOT_URL_H

#include <curl/curl.h>
#include <stdint.h>

struct robot_url {  /* read-only for other files, except `loaded` and `hasty_ms` */
    uint32_t index; /* in the order of their first use */
    char *text;
    const char *path;  /* points into text: the prefix of every path, mostly "" */
    CURLU *parts;      /* NULL = curl cannot parse it */
    char *host, *port; /* NULL = needs no look-up */
    uint64_t loaded;   /* generation (resolver.h) of the addresses that curl holds; 0 = none */
    uint64_t hasty_ms; /* of robot_sockets.h */
};

struct robot_urls;

struct robot_urls *robot_urls_new(void);
void robot_urls_destroy(struct robot_urls **up); /* no easy handle may hold one of them any more */
/* Returns the row of a base URL, made at its first use. It lives as long as the table. */
struct robot_url *robot_url_of(struct robot_urls *u, const char *base_url);
/* Sets a call's URL: the base URL and a path below it. A URL that curl cannot parse makes the call fail with
 * curl's own message. */
void robot_url_set(const struct robot_url *u, CURL *easy, const char *path);

#endif
