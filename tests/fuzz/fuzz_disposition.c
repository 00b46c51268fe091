/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* Header lines of Content-Disposition's own pieces and of any bytes. What comes
 * out is always short, UTF-8, without controls, quotes and path. */
#include "dispatcher/robot/robot_head.h"

#include "common/check.h"
#include "tests/fuzz/fuzz.h"

static const char *const pieces[] = {
    "Content-Disposition:",
    "content-disposition: ",
    "Content-Type: ",
    "X-Robot-Boot: ",
    "HTTP/1.1 200",
    "attachment",
    ";",
    "; ",
    "=",
    "filename=",
    "filename*=",
    "FileName =",
    "\"",
    "\\",
    "\\\"",
    "utf-8''",
    "UTF-8'es'",
    "iso-8859-1''",
    "'",
    "%",
    "%2",
    "%2f",
    "%00",
    "%C3%B1",
    "%ff",
    "%E2%80%AE",
    "/",
    "\\\\",
    "..",
    ".",
    " ",
    "\t",
    "filename*0=",
    "filename*1*=",
    "filename*2=",
    "filename*0*=UTF-8''",
    "=?utf-8?Q?",
    "=?iso-8859-1?B?",
    "=?",
    "?=",
    "=F1",
    "w7Eu",
    "_",
    "C:\\",
    "name=",
    "windows-1252''",
    "%80",
    "\x80",
    ".pdf",
    "\r\n",
    "\x01",
    "\x7f",
    "\xff",
    "\xc3",
    "\xc3\xb1",
    "\xed\xa0\x80",
    "\xf0\x9f\x99\x82",
    "name",
    "a.pdf",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "\xc3\xb1\xc3\xb1\xc3\xb1\xc3\xb1\xc3\xb1\xc3\xb1\xc3\xb1\xc3\xb1\xc3\xb1\xc3\xb1\xc3\xb1\xc3\xb1\xc3\xb1\xc3\xb1",
};

static void make(struct buf *b)
{
    static const char *const begins[] = {
        "Content-Disposition: attachment; filename=", "Content-Disposition: attachment; filename=\"",
        "Content-Disposition: inline; filename*=UTF-8''", "Content-Disposition: x; filename*=iso-8859-1''"};
    if (pick(4))
        buf_adds(b, pick(4) ? begins[pick(4)] : pieces[pick(5)]);
    for (unsigned n = pick(30); n; n--) {
        char byte = (char)pick(256);
        if (pick(8))
            buf_adds(b, PICK(pieces));
        else
            buf_add(b, &byte, 1);
    }
}

static bool is_utf8(const char *s)
{
    for (const unsigned char *p = (const unsigned char *)s; *p;) {
        unsigned more = *p < 0x80 ? 0 : *p < 0xc2 ? 9 : *p < 0xe0 ? 1 : *p < 0xf0 ? 2 : *p < 0xf5 ? 3 : 9;
        if (more == 9 || (*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) ||
            (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f))
            return false;
        for (p++; more; more--, p++)
            if ((*p & 0xc0) != 0x80)
                return false;
    }
    return true;
}

static void check_text(const char *s, size_t room, const char *never)
{
    CHECK(strlen(s) < room, "%zu bytes", strlen(s));
    CHECK(is_utf8(s), "not UTF-8: %s", s);
    for (const char *p = s; *p; p++)
        CHECK((unsigned char)*p >= 0x20 && *p != 0x7f && !strchr(never, *p), "byte %02x in %s", (unsigned char)*p,
              s);
}

int main(int argc, char **argv)
{
    unsigned long runs = runs_of(argc, argv), taken = 0;
    for (unsigned long run = 0; run < runs; run++) {
        struct buf b = {0};
        struct call_answer a = {0};
        struct head h = {.request_id = "a.pdf"};
        make(&b);
        char *exact = exact_copy(b.data, b.len);
        size_t cut = b.len ? pick((unsigned)b.len + 1) : 0; /* in two lines: the second may be a fold */
        head_line(&h, &a, exact, cut);
        head_line(&h, &a, exact + cut, b.len - cut);
        head_line(&h, &a, "\r\n", 2);
        buf_free(&h.held);
        free(exact);
        check_text(a.disposition_name, sizeof a.disposition_name, "\"/\\");
        check_text(a.content_type, sizeof a.content_type, "");
        check_text(a.content_encoding, sizeof a.content_encoding, "");
        check_text(a.boot_id, sizeof a.boot_id, "");
        CHECK(strcmp(a.disposition_name, ".") && strcmp(a.disposition_name, ".."), "%s", a.disposition_name);
        taken += a.disposition_name[0] != 0;
        buf_free(&b);
    }
    printf("fuzz_disposition: %lu lines, %lu names\n", runs, taken);
    return taken ? 0 : 1;
}
