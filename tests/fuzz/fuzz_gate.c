/* parts: broker */
/* SPDX-License-Identifier: MIT */
/* Heads made of good and bad pieces, and good heads damaged. What the gate lets
 * through must follow RFC 9112 byte by byte, by a reader that shares nothing with it; what is strict by that
 * reader and means one thing must pass. The queries of what passed go through the parameters' readers. */
#include "broker/gate.h"

#include "broker/params.h"
#include "common/buf.h"
#include "common/check.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/head_parse.h"
#include <strings.h>

static const char *const lines[] = {
    "GET /api/v1/app/buzon/list?session_id=a&page=1 HTTP/1.1",
    "POST / HTTP/1.1",
    "GET /%2f?%61=%c3%a9&a=+ HTTP/1.0",
    "GET / HTTP/1.1",
    "GET  / HTTP/1.1",
    "GET / HTTP/1.2",
    "GET http://x/ HTTP/1.1",
    "G T / HTTP/1.1",
    "GET /%0 HTTP/1.1",
    "GET /?a=1&a=2&b=&&=&c=%ff%fe%01 HTTP/1.1",
    "DELETE /x/y%20z HTTP/1.1",
    "GET /%00 HTTP/1.1",
    "",
};
static const char *const fields[] = {
    "Host: x",
    "Host:x",
    "Host : x",
    "Content-Length: 3",
    "Content-Length: 03",
    "Content-Length: 3 ",
    "Content-Length: +3",
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: CHUNKED",
    "Transfer-Encoding: chunked, chunked",
    "transfer-encoding:\tchunked",
    "X-A: b",
    "X-A:",
    "X-A: \t ",
    " folded",
    "\tfolded: too",
    ": none",
    "no colon",
    "X(: a",
    "X: a\x01",
    "Authorization: Bearer 1|s",
    "authorization: x",
    "Content-Type: application/json",
    "Transfer-: chunked",
    " Encoding",
};
static const char *const ends[] = {"\r\n", "\r\n", "\r\n", "\r\n", "\r\n",   "\r\n",
                                   "\r\n", "\r\n", "\n",   "\r",   "\r\r\n", "\n\r\n"};

static void make_head(struct buf *b)
{
    bool is_good = pick(2); /* but for the fields */
    buf_adds(b, lines[pick(is_good ? 4 : sizeof lines / sizeof *lines)]);
    buf_adds(b, ends[is_good ? 0 : pick(sizeof ends / sizeof *ends)]);
    if (pick(4))
        buf_adds(b, "Host: x\r\n");
    for (unsigned n = pick(5); n; n--) {
        buf_adds(b, PICK(fields));
        buf_adds(b, ends[is_good ? 0 : pick(sizeof ends / sizeof *ends)]);
    }
    buf_adds(b, "\r\n");
    for (unsigned n = pick(4) ? 0 : pick(3) + 1; n && b->len; n--) {
        unsigned at = pick((unsigned)b->len);
        switch (pick(3)) {
        case 0:
            b->data[at] = (char)pick(256);
            break;
        case 1:
            b->data[at] = "\0\r\n :\t%#"[pick(9)];
            break;
        default:
            memmove(b->data + at, b->data + at + 1, b->len - at - 1);
            b->len--;
        }
    }
}

/* ---- the other reader --------------------------------------------------------------------------------------- */

static bool is_tchar(unsigned char c)
{
    return c > ' ' && c < 0x7f && !strchr("\"(),/:;<=>?@[\\]{}", c);
}

struct strict {
    bool is_strict;
    unsigned hosts, lengths, codings, others_twice;
    bool is_10;
    uint64_t length;
};

/* Behind http://host:port of a target in the absolute form (RFC 9112 3.2.2), or NULL. */
static const char *after_authority(const char *at, const char *end)
{
    size_t left = (size_t)(end - at);
    size_t scheme = left > 7 && strncasecmp(at, "http://", 7) == 0    ? 7
                    : left > 8 && strncasecmp(at, "https://", 8) == 0 ? 8
                                                                      : 0;
    const char *host = at + scheme;
    if (!scheme)
        return NULL;
    for (at = host; at < end && *at != '/' && *at != '?' && *at != ' '; at++)
        if (!is_tchar((unsigned char)*at) && *at != ':' && *at != '[' && *at != ']')
            return NULL;
    return at > host ? at : NULL;
}

/* What a NUL in the place of a CR leaves cannot be told from a CR: the text with it is not asked here. */
static struct strict read_strictly(const char *s, size_t len)
{
    struct strict out = {0};
    unsigned authorizations = 0, types = 0;
    const char *end = s + len;
    while (end - s >= 2 && s[0] == '\r' && s[1] == '\n') /* empty lines may come first (2.2) */
        s += 2;
    while (s < end && *s == '\n')
        s++;
    const char *at = s;
    while (at < end && is_tchar((unsigned char)*at))
        at++;
    if (at == s || at == end || *at++ != ' ' || at == end)
        return out;
    if (*at != '/' && !(at = after_authority(at, end)))
        return out;
    for (; at < end && *at != ' '; at++) {
        if (*at <= ' ' || *at >= 0x7f || *at == '#')
            return out;
        if (*at == '%') {
            char *stop, hex[3] = {0};
            if (end - at < 3)
                return out;
            memcpy(hex, at + 1, 2);
            if (!strchr("0123456789abcdefABCDEF", hex[0]) || !hex[0] || strtol(hex, &stop, 16) == 0 || *stop)
                return out;
        }
    }
    if (end - at < 11 || memcmp(at, " HTTP/1.", 8) != 0 || (at[8] != '0' && at[8] != '1') ||
        memcmp(at + 9, "\r\n", 2) != 0)
        return out;
    out.is_10 = at[8] == '0';
    for (at += 11; end - at >= 2 && memcmp(at, "\r\n", 2) != 0;) {
        const char *name = at;
        while (at < end && is_tchar((unsigned char)*at))
            at++;
        size_t name_len = (size_t)(at - name);
        if (!name_len || at == end || *at++ != ':')
            return out;
        while (at < end && (*at == ' ' || *at == '\t'))
            at++;
        const char *value = at;
        while (at < end && ((unsigned char)*at >= ' ' || *at == '\t') && *at != 0x7f)
            at++;
        if (end - at < 2 || at[0] != '\r' || at[1] != '\n')
            return out;
        size_t value_len = (size_t)(at - value);
        at += 2;
        if (name_len == 4 && strncasecmp(name, "Host", 4) == 0)
            out.hosts++;
        if (name_len == 13 && strncasecmp(name, "Authorization", 13) == 0)
            authorizations++;
        if (name_len == 12 && strncasecmp(name, "Content-Type", 12) == 0)
            types++;
        if (name_len == 14 && strncasecmp(name, "Content-Length", 14) == 0) {
            out.lengths++;
            if (!value_len || value_len > 18)
                return out;
            for (size_t i = 0; i < value_len; i++)
                if (value[i] < '0' || value[i] > '9')
                    return out;
            out.length = strtoull(value, NULL, 10);
        }
        if (name_len == 17 && strncasecmp(name, "Transfer-Encoding", 17) == 0) {
            out.codings++;
            if (value_len != 7 || strncasecmp(value, "chunked", 7) != 0)
                return out;
        }
    }
    out.others_twice = authorizations > 1 || types > 1;
    out.is_strict = end - at == 2;
    return out;
}

static bool is_sound(const struct strict *s)
{
    return s->is_strict && s->hosts <= 1 && s->lengths <= 1 && s->codings <= 1 && !s->others_twice &&
           !(s->lengths && s->codings) && !(s->codings && s->is_10) && (s->hosts || s->is_10);
}

/* ---- behind the gate ---------------------------------------------------------------------------------------- */

static void read_params(char *target)
{
    struct query q;
    struct jv *errors = NULL;
    struct msg_REQUEST r = {0};
    char *mark = strchr(target, '?');
    query_parse(&q, mark ? mark + 1 : NULL, &errors);
    params_list(&q, &r, &errors);
    params_download(&q, &r, &errors);
    params_active(&q, &r, &errors);
    params_ops_sessions(&q, &r, &errors);
    CHECK(r.session_id.len <= SESSION_ID_BYTES_MAX && r.limit <= 200 && r.page >= 1, "limit=%llu",
          (unsigned long long)r.limit);
    size_t len;
    char *text = jv_dump(errors, &len);
    free(text);
    jv_free(errors);
}

int main(int argc, char **argv)
{
    unsigned long runs = runs_of(argc, argv), passed = 0;
    for (unsigned long run = 0; run < runs; run++) {
        struct buf b = {0};
        struct head_parse h;
        struct gate_framing framing;
        const char *why;
        make_head(&b);
        struct strict strict = read_strictly(b.data, b.len);
        bool has_nul = memchr(b.data, '\0', b.len);
        bool is_parsed = head_parse(&h, b.data, b.len);
        enum gate_verdict verdict = is_parsed ? gate_check(&h.head, &framing, &why) : GATE_BAD;
        /* A body's first bytes may look like more of the head: only a text that is one head is compared. */
        bool is_one = is_parsed && h.head.method + h.head.bytes == h.bytes + b.len;
        if (is_one && !has_nul)
            CHECK((verdict == GATE_PASS) == is_sound(&strict), "verdict=%d strict=%d seed run=%lu: %s",
                  (int)verdict, (int)strict.is_strict, run, b.data);
        if (verdict == GATE_PASS) {
            passed++;
            CHECK(!is_one || framing.content_length == (has_nul ? framing.content_length : strict.length), "%s",
                  b.data);
            read_params(h.target);
        }
        head_free(&h);
        buf_free(&b);
    }
    printf("fuzz_gate: %lu runs, %lu passed\n", runs, passed);
    return passed ? 0 : 1;
}
