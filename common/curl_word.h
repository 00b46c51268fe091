/* SPDX-License-Identifier: MIT */
/*
 * curl_word.h - one word for how an HTTP call failed, for logs, verdicts and answers. Pure; calls no function of
 * curl.
 */
#ifndef CHASQUI_CURL_WORD_H
#define CHASQUI_CURL_WORD_H

#include <stdbool.h>

/* Returns the word of a CURLcode; "" for success. `verify` is CURLINFO_SSL_VERIFYRESULT. `text` is the content of
 * CURLOPT_ERRORBUFFER (may be ""). has_status: a status line was received. Words: refused, unresolvable, timeout,
 * reset, broken, tls_failed, and those of curl_word_text(). */
const char *curl_word(int code, long verify, const char *text, bool has_status);
/* Returns a sentence about a robot for a word about a certificate or TLS, else NULL. */
const char *curl_word_text(const char *word);
/* Whether the server's TLS refused us before its program saw the request. With TLS 1.3 the refusal may arrive
 * after the first bytes were sent. */
bool curl_word_is_tls_refusal(const char *word);

#endif
