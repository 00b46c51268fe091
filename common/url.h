/* SPDX-License-Identifier: MIT */
/* url.h - one form for robots' base URLs, so that Laravel's and ours compare equal. */
#ifndef CHASQUI_URL_H
#define CHASQUI_URL_H

#include "common/buf.h"

#include <stdbool.h>
#include <stddef.h>

/* Scheme and host lower-cased, default port and trailing slashes removed. http and https only; no user info, query,
 * fragment, control characters or spaces. false with a reason in *why (may be NULL) when it is not such a URL or does not fit. */
bool url_normalise(const char *in, char *out, size_t room, const char **why);

/* May a callback go to this URL? It must be http or https, hold no user info, fragment, backslash, dot segment or character that is not printable ASCII,
 * and begin with one of the comma list's prefixes, which ends where a part of the URL ends: "https://a.example" lets neither
 * "https://a.example.org" nor "https://a.example:444" through, "https://a.example:" lets every port. NULL or "" allows nothing. */
bool url_is_allowed(const char *comma_list, const char *url);

/* Percent-encodes one path segment or query value into b. */
void url_encode(struct buf *b, const char *s);

#endif
