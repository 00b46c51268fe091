/* SPDX-License-Identifier: MIT */
/*
 * dashboard.c - the files of broker/dashboard/, embedded by the assembler, so that a broker copied alone still
 * serves its dashboard. The files hold no data and need no token; the page asks the operators' API. Must never
 * send a file without the headers that block foreign scripts and foreign frames.
 */
#include "broker/exchange.h"
#include "broker/reply.h"

#include "common/check.h"
#include <sodium.h>
#include <string.h>

/* The Makefile records that this object depends on the files. */
#define ASSET(symbol, file, type)                                                                                 \
    __asm__(".pushsection .rodata\n.hidden asset_" #symbol "\n.globl asset_" #symbol "\n.hidden asset_" #symbol   \
            "_end\n.globl asset_" #symbol "_end\nasset_" #symbol ":\n.incbin \"broker/dashboard/" file            \
            "\"\nasset_" #symbol "_end:\n.byte 0\n.popsection\n");                                                \
    extern const char asset_##symbol[] __attribute__((visibility("hidden")));                                     \
    extern const char asset_##symbol##_end[] __attribute__((visibility("hidden")));
#include "broker/dashboard.def"
#undef ASSET

static const struct asset {
    const char *name, *type, *begin, *end;
} assets[] = {
#define ASSET(symbol, file, type) {file, type, asset_##symbol, asset_##symbol##_end},
#include "broker/dashboard.def"
#undef ASSET
};

#define ETAG_BYTES (2 + 64 + 1)

static void etag_make(const struct asset *a, char out[ETAG_BYTES])
{
    uint8_t hash[32];
    id_sha256(a->begin, (size_t)(a->end - a->begin), hash);
    out[0] = '"';
    id_hex(hash, sizeof hash, out + 1);
    strcpy(out + 65, "\"");
}

/* Writes the page's only script that is no file as a source for script-src: no other one may run (CSP level 3, 2.3.1). */
static void script_source(char out[64])
{
    const char *begin = strstr(assets[0].begin, "<script>") + strlen("<script>");
    uint8_t hash[32];
    char text[48];
    id_sha256(begin, (size_t)(strstr(begin, "</script>") - begin), hash);
    sodium_bin2base64(text, sizeof text, hash, sizeof hash, sodium_base64_VARIANT_ORIGINAL);
    snprintf(out, 64, "'sha256-%s'", text);
}

static void send(struct exchange *x, const struct asset *a)
{
    char etag[ETAG_BYTES], source[64];
    struct buf body = {0};
    etag_make(a, etag);
    script_source(source);
    bool is_known = x->if_none_match && strstr(x->if_none_match, etag);
    if (!is_known)
        buf_add(&body, a->begin, (size_t)(a->end - a->begin));
    reply_header(x, "ETag", "%s", etag);
    reply_header(
        x, "Content-Security-Policy",
        "default-src 'none'; script-src 'self' %s; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'",
        source);
    reply_header(x, "X-Frame-Options", "DENY");
    reply_header(x, "Referrer-Policy", "same-origin");
    reply_header(x, "Cross-Origin-Opener-Policy", "same-origin");
    x->answer.is_keepable = true;
    reply_text(x, is_known ? 304 : 200, a->type, &body);
}

void dashboard_page(struct exchange *x)
{
    send(x, &assets[0]);
}

void dashboard_file(struct exchange *x)
{
    for (unsigned i = 0; i < sizeof assets / sizeof assets[0]; i++)
        if (str_is(x->arg, assets[i].name)) {
            send(x, &assets[i]);
            return;
        }
    reply_error(x, ERR_NOT_FOUND, NULL, NULL);
}
