/* parts: common */
/* SPDX-License-Identifier: MIT */
#include "common/url.h"

#include "tests/unit/test.h"

static void becomes(const char *in, const char *wanted)
{
    char out[256], again[256];
    const char *why = NULL;
    if (!url_normalise(in, out, sizeof(out), &why))
        fail_msg("%s: %s", in, why);
    assert_string_equal(out, wanted);
    assert_true(url_normalise(out, again, sizeof(again), NULL)); /* and stays so */
    assert_string_equal(again, wanted);
}

TEST(test_one_form)
{
    becomes("http://robot", "http://robot");
    becomes("http://robot/", "http://robot");
    becomes("http://robot///", "http://robot");
    becomes("HTTP://Robot.Example/", "http://robot.example");
    becomes("http://robot:80", "http://robot");
    becomes("https://robot:443/", "https://robot");
    becomes("https://robot:80", "https://robot:80");
    becomes("http://robot:443", "http://robot:443");
    becomes("http://robot:9000", "http://robot:9000");
    becomes("http://robot/Pool/A", "http://robot/Pool/A"); /* a path keeps its case */
    becomes("http://robot/pool/", "http://robot/pool");
    becomes("http://10.0.0.7:9000/", "http://10.0.0.7:9000");
    becomes("http://[::1]:9000/", "http://[::1]:9000");
    becomes("http://[FE80::1]", "http://[fe80::1]");
    becomes("http://[::1]:80", "http://[::1]");
}

TEST(test_refused)
{
    static const char *const bad[] = {
        "",
        "robot",
        "robot:9000",
        "//robot",
        "ftp://robot",
        "file:///etc/passwd",
        "http:/robot",
        "http:robot",
        " http://robot",
        "http://robot ",
        "http://ro bot",
        "http://robot\r\nX: y",
        "http://robot\t",
        "http://",
        "http:///path",
        "http://:80",
        "http://robot:",
        "http://robot:0",
        "http://robot:65536",
        "http://robot:-1",
        "http://robot:8x",
        "http://robot:99999999999999999999",
        "http://user@robot",
        "http://user:word@robot",
        "http://robot?x=1",
        "http://robot/?",
        "http://robot#top",
        "http://robot\\path",
        "http://[::1",
        "http://r\xc3\xb6"
        "bot",
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        char out[256];
        const char *why = NULL;
        if (url_normalise(bad[i], out, sizeof(out), &why))
            fail_msg("taken: %s -> %s", bad[i], out);
        assert_non_null(why);
    }
}

TEST(test_length)
{
    char in[400], out[256];
    const char *why = NULL;
    for (size_t len = 230; len < sizeof(in) - 1; len++) {
        memset(in, 'a', sizeof(in));
        memcpy(in, "http://", 7);
        in[len] = 0;
        if (len <= 254) {
            assert_true(url_normalise(in, out, sizeof(out), &why));
            assert_string_equal(out, in);
        } else if (len > 255) {
            assert_false(url_normalise(in, out, sizeof(out), &why));
        }
    }
}

TEST(test_what_may_be_called)
{
    static const char *const good[] = {
        "https://a.example",
        "https://a.example/",
        "https://a.example/x/y?z=1",
        "https://a.example?x",
        "https://b.example/hooks/",
        "https://b.example/hooks/7",
        "http://127.0.0.1:8080/x",
        "http://c.example:8080/hook?id=7",
        "https://d.example/x",
        "https://d.example/x/.well-known",
        "https://d.example/...",
        "https://b.example/hooks/a%2Fb",
        "https://b.example/hooks/a;v=1/..b",
        "https://a.example/?x=/../y",
        "https://b.example/hooks/100%",
    };
    static const char *const bad[] = {
        "",
        "a.example",
        "ftp://a.example",
        "http://a.example/",
        "https://a.example.evil.example/",
        "https://a.example:444/",
        "https://a.example@evil.example/",
        "https://x@a.example/",
        "https://b.example/",
        "https://b.example/hooks",
        "https://b.example/hooksx/",
        "https://b.example/hooks/../admin",
        "https://b.example/hooks/%2e%2E/admin",
        "https://b.example/hooks/./x",
        "https://b.example/hooks/..?x",
        "https://b.example/hooks/\\..",
        "https://b.example/hooks/..%2fadmin",
        "https://b.example/hooks/x%2F..%2f..%2Fadmin",
        "https://b.example/hooks/%252e%252e/admin",
        "https://b.example/hooks/..;/admin",
        "https://b.example/hooks/..%5cadmin",
        "https://b.example/hooks/%2e%2e%3bx/admin",
        "https://b.example/hooks/a%00/%2e%2e/admin",
        "https://b.example/hooks/ x",
        "https://b.example/hooks/\xc3\xb1",
        "http://c.example:8080/hook?di=7",
        "https://",
        "https:///x",
        "https://d.example:x/",
        "HTTPS://d.example/",
        "https://d.example/\n",
        "https://d.example/#x",
        "https://d.example/\"",
        "http://127.0.0.1/x",
        "http://127.0.0.1:1@evil.example/",
    };
    static const char list[] =
        "https://a.example, https://b.example/hooks/,http://c.example:8080/hook?id= ,https://d.example, http://127.0.0.1:";
    for (unsigned i = 0; i < sizeof(good) / sizeof(*good); i++)
        if (!url_is_allowed(list, good[i]))
            fail_msg("%s was refused", good[i]);
    for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        if (url_is_allowed(list, bad[i]))
            fail_msg("%s was let through", bad[i]);
    assert_false(url_is_allowed(NULL, "https://a.example"));
    assert_false(url_is_allowed("", "https://a.example"));
    assert_false(url_is_allowed(" , ", "https://a.example"));
    assert_true(url_is_allowed("https://", "https://anything.example/x"));
}

TEST(test_encoded)
{
    struct buf b = {0};
    url_encode(&b, "a-Z_0.~/?&=# ñ%");
    assert_string_equal(b.data, "a-Z_0.~%2F%3F%26%3D%23%20%C3%B1%25");
    buf_free(&b);
}

TEST_MAIN(NULL, NULL)
