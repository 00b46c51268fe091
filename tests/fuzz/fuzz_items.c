/* parts: broker */
/* SPDX-License-Identifier: MIT */
/* Bodies of batches made of good and bad pieces, and good ones damaged. What is
 * taken apart here must be what jv_parse() reads in the whole: the same verdict, the same items. Prefer headers,
 * times and callback URLs made of the same bytes go through their readers. */
#include "broker/items.h"

#include "broker/params.h"
#include "common/check.h"
#include "common/clock.h"
#include "tests/fuzz/fuzz.h"

static const char *const pieces[] = {
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    " ",
    "\n",
    "\"items\"",
    "\"items\":[",
    "\"a\"",
    "\"a\":1",
    "1",
    "-2.5",
    "null",
    "\"",
    "\\",
    "\\\"",
    "\"x\"",
    "\"]},[\"",
    "{}",
    "[]",
    "{\"company_id\":7}",
    "\xff",
    "\\u0000",
    "\"\\u0069tems\":",
    "wait=",
    "respond-async",
    "2026-01-02T03:04:05Z",
    "https://hooks.example",
    "@",
    "/..",
};

static void body_make(struct buf *out)
{
    static const char *const good[] = {
        "{\"portal\":\"s\",\"items\":[{\"company_id\":7,\"params\":{\"a\":\"b\\\"]\"}},[1,2],null, "
        "\"x\"],\"priority\":5}",
        "{\"items\":[ 1 , 2 ]}",
        "{\"x\":{\"items\":[1]},\"items\":[{}]}",
    };
    if (pick(2)) {
        buf_adds(out, good[pick(3)]);
        for (unsigned n = pick(3); n && out->len; n--) {
            unsigned at = pick((unsigned)out->len);
            if (pick(2))
                out->data[at] = "{}[]\",:\\x 1"[pick(11)];
            else
                out->len = at;
        }
    } else {
        for (unsigned n = pick(14); n; n--)
            buf_adds(out, PICK(pieces));
    }
}

/* The same as the whole text says? */
static void compare(const struct buf *body)
{
    enum jv_bad why, why_whole;
    struct buf text = {0};
    struct judging j = {0};
    struct jv *whole = jv_parse(body->data, body->len, &why_whole);
    buf_add(&text, body->data, body->len);
    struct jv *about = judging_begin(&j, &text, &why);
    bool is_good = jv_type(about) == JV_OBJECT && judging_go(&j, UINT64_MAX, &why) == JUDGED_GOOD;
    CHECK(is_good == (jv_type(whole) == JV_OBJECT), "body=%s good=%d", body->data, is_good);
    if (is_good) {
        const struct jv *items = jv_get(whole, "items");
        size_t at = 0, n = jv_type(items) == JV_ARRAY ? jv_len(items) : 0;
        for (size_t i = 0; i < n; i++) {
            size_t len;
            char *line = jv_dump(jv_at(items, i), &len);
            CHECK(at + len < j.lines.len && memcmp(j.lines.data + at, line, len) == 0 &&
                      j.lines.data[at + len] == '\n',
                  "body=%s item=%zu", body->data, i);
            at += len + 1;
            free(line);
        }
        CHECK(at == j.lines.len, "body=%s lines=%zu", body->data, j.lines.len);
    }
    jv_free(about);
    jv_free(whole);
    judging_end(&j);
}

static void read_others(const struct buf *body)
{
    struct prefer p = {0};
    int64_t ms;
    prefer_read(&p, body->data);
    CHECK(p.is_bad || p.wait_s <= 120, "wait=%llu", (unsigned long long)p.wait_s);
    char *exact = exact_copy(body->data, body->len);
    clock_read(exact, body->len, &ms);
    struct str url = {exact, (uint32_t)body->len};
    if (callback_url_ok(url, "https://hooks.example"))
        CHECK(strncmp(body->data, "https://hooks.example", 21) == 0 &&
                  (body->len == 21 || strchr("/?:", body->data[21])) &&
                  !memchr(body->data + 8, '@', strcspn(body->data + 8, "/?")),
              "url=%s", body->data);
    free(exact);
}

int main(int argc, char **argv)
{
    unsigned long runs = runs_of(argc, argv);
    for (unsigned long i = 0; i < runs; i++) {
        struct buf body = {0};
        buf_adds(&body, "");
        body_make(&body);
        body.data[body.len] = '\0';
        compare(&body);
        read_others(&body);
        buf_free(&body);
    }
    printf("fuzz_items: %lu runs\n", runs);
    return 0;
}
