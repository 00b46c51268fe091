/* SPDX-License-Identifier: MIT */
/* url.h - one normal form for robots' base URLs, so that Laravel's and ours compare equal. */
#ifndef CHASQUI_URL_H
#define CHASQUI_URL_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>

/* Normalises a base URL: scheme and host in lower case, default port and trailing slashes removed. Accepts http
 * and https only; no user info, query, fragment, control characters or spaces. Returns false with a reason in *why
 * (may be NULL) when it is not such a URL or does not fit. */
bool url_normalise(const char *in, char *out, size_t room, const char **why);

/* Whether a callback may go to this URL. It must be http or https, and hold no user info, fragment, backslash, dot
 * segment or character that is not printable ASCII. It must also begin with one of the prefixes in the comma list,
 * and the prefix must end where a part of the URL ends: "https://a.example" admits neither "https://a.example.org"
 * nor "https://a.example:444"; "https://a.example:" admits every port. NULL or "" allows nothing. */
bool url_is_allowed(const char *comma_list, const char *url);

/* Percent-encodes one path segment or query value into b. */
void url_encode(struct buf *b, const char *s);

#endif
