/* SPDX-License-Identifier: MIT */
/*
 * curl_word.h - one word for how a call over HTTP failed, for logs, verdicts and answers. Pure; calls nothing of curl.
 */
#ifndef CHASQUI_CURL_WORD_H
#define CHASQUI_CURL_WORD_H

#include <stdbool.h>

/* The word of a CURLcode; "" for none. `verify` is CURLINFO_SSL_VERIFYRESULT, `text` what CURLOPT_ERRORBUFFER holds (may be ""), has_status says
 * whether a status line came. Words: refused, unresolvable, timeout, reset, broken, tls_failed, and those of curl_word_text(). */
const char *curl_word(int code, long verify, const char *text, bool has_status);
/* The word as a sentence about a robot when it is about a certificate or TLS, else NULL. */
const char *curl_word_text(const char *word);
/* Did the server's TLS refuse us before its program saw the request? With TLS 1.3 that comes after the first bytes were sent. */
bool curl_word_is_tls_refusal(const char *word);

#endif
