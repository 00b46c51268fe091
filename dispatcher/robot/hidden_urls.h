/* SPDX-License-Identifier: MIT */
/*
 * hidden_urls.h - the robots' base URLs, which no text for people may show.
 */
#ifndef CHASQUI_HIDDEN_URLS_H
#define CHASQUI_HIDDEN_URLS_H

#include <stddef.h>

struct hidden_urls;

/* What a base URL is replaced by. Both strings are borrowed until hidden_urls_destroy(). */
struct hidden_url {
    const char *url, *name;
};

struct hidden_urls *hidden_urls_new(const struct hidden_url *rows, unsigned n);
void hidden_urls_destroy(struct hidden_urls **hp);
/* Replaces every base URL in text by its robot's name, in place (room includes the NUL); likewise a URL's host and
 * port alone when they are no bare word. The case of letters does not matter. h = NULL: there are none. */
void hidden_urls_replace(const struct hidden_urls *h, char *text, size_t room);

#endif
