/* SPDX-License-Identifier: MIT */
/*
 * robot_easy.c - the common settings of every curl easy handle that calls a robot, in the dispatcher and in
 * healthd.
 *
 * Must never let curl wait for a name. curl_multi_remove_handle() joins curl's threaded resolver, which takes many
 * seconds when a name server is silent. Our resolver looks names up, and curl is given the addresses
 * (CURLOPT_RESOLVE). CURLOPT_QUICK_EXIT is set as a second safeguard.
 */
#include "common/curl/robot_easy.h"

#include "common/check.h"
#include "common/resolver.h"

#include <stdlib.h>

#define CA_CACHE_S 60 /* a replaced CA file is read again after this */

void easy_prepare(CURL *easy)
{
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*"); /* else curl looks into the environment at each call */
    curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_HTTP09_ALLOWED, 0L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    /* Our resolver knows when an address is old. Otherwise curl would walk its whole cache after each call; with a
     * thousand robots that is most of a call's cost. */
    curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, -1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
}

void easy_prepare_tls(CURL *easy, const struct conf *conf)
{
    if (conf->robot_ca_file) { /* instead of the system's CAs */
        curl_easy_setopt(easy, CURLOPT_CAINFO, conf->robot_ca_file);
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
        curl_easy_setopt(easy, CURLOPT_CA_CACHE_TIMEOUT, (long)CA_CACHE_S);
    }
    if (conf->robot_cert_file)
        curl_easy_setopt(easy, CURLOPT_SSLCERT, conf->robot_cert_file);
    if (conf->robot_key_file)
        curl_easy_setopt(easy, CURLOPT_SSLKEY, conf->robot_key_file);
}

static char *part_of(CURLU *url, CURLUPart what, unsigned flags)
{
    char *text = NULL, *copy;
    if (!url || curl_url_get(url, what, &text, flags) != CURLUE_OK)
        return NULL;
    copy = xstrdup(text);
    curl_free(text);
    return copy;
}

void easy_named_host(CURLU *url, char **host, char **port)
{
    *host = part_of(url, CURLUPART_HOST, 0);
    *port = *host && !resolver_is_needless(*host) ? part_of(url, CURLUPART_PORT, CURLU_DEFAULT_PORT) : NULL;
    if (!*port) {
        free(*host);
        *host = NULL;
    }
}
