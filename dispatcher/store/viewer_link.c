/* SPDX-License-Identifier: MIT */
/*
 * viewer_link.c - signs viewer links: hex HMAC-SHA256(key, session id, until, rights; joined by line feeds).
 *
 * Owns the key, which is written once before the threads start and only read from then on.
 */
#include "dispatcher/store/viewer_link.h"

#include "common/log.h"
#include "common/secret_file.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define KEY_BYTES_MAX 1024
#define SIGNATURE_BYTES crypto_auth_hmacsha256_BYTES

static struct {
    char key[KEY_BYTES_MAX + 1];
    size_t key_len; /* 0 = links are not signed */
    int64_t good_for_s;
    const char *rights;
} link_;

bool viewer_link_open(const struct conf *conf)
{
    const char *why;
    link_.key_len = 0;
    if (!conf->viewer_key_file)
        return true;
    ssize_t len = secret_file_read(conf->viewer_key_file, link_.key, KEY_BYTES_MAX + 1, &why);
    while (len > 0 && strchr("\r\n", link_.key[len - 1]))
        len--;
    if (len < 16 || len > KEY_BYTES_MAX) {
        log_line(LOG_ERROR, "viewer_key_refused", "file", conf->viewer_key_file, "why",
                 len < 0 ? why : "it must hold 16 to 1024 bytes", NULL);
        return false;
    }
    link_.key_len = (size_t)len;
    link_.good_for_s = conf->viewer_link_s;
    link_.rights = conf->viewer_rights;
    return true;
}

void viewer_link_close(void)
{
    sodium_memzero(link_.key, sizeof(link_.key));
    link_.key_len = 0;
}

void viewer_link_add(struct buf *out, const char *base, const char *session_id, int64_t now_s)
{
    crypto_auth_hmacsha256_state state;
    uint8_t mac[SIGNATURE_BYTES];
    char hex[2 * SIGNATURE_BYTES + 1], claim[200];
    size_t n = strlen(base);
    while (n && base[n - 1] == '/')
        n--;
    buf_add(out, base, n);
    buf_addf(out, "/viewer/%s", session_id);
    if (!link_.key_len)
        return;
    long long until = now_s + link_.good_for_s;
    snprintf(claim, sizeof(claim), "%s\n%lld\n%s", session_id, until, link_.rights);
    crypto_auth_hmacsha256_init(&state, (const uint8_t *)link_.key, link_.key_len);
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)claim, strlen(claim));
    crypto_auth_hmacsha256_final(&state, mac);
    sodium_bin2hex(hex, sizeof(hex), mac, sizeof(mac));
    buf_addf(out, "?until=%lld&rights=%s&signature=%s", until, link_.rights, hex);
}
