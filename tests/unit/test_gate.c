/* parts: broker */
/* SPDX-License-Identifier: MIT */
#include "broker/gate.h"

#include "head_parse.h"
#include "tests/unit/test.h"

static struct gate_framing framing;
static const char *why;

/* What the gate says; GATE_BAD too when the library would not get so far. */
static enum gate_verdict judge_bytes(const char *text, size_t len)
{
    struct head_parse h;
    enum gate_verdict verdict = GATE_BAD;
    why = "the library";
    if (head_parse(&h, text, len))
        verdict = gate_check(&h.head, &framing, &why);
    head_free(&h);
    return verdict;
}

static enum gate_verdict judge(const char *text)
{
    return judge_bytes(text, strlen(text));
}

static enum gate_verdict judge_line(const char *line)
{
    char text[4096];
    snprintf(text, sizeof text, "%s\r\nHost: x\r\n\r\n", line);
    return judge(text);
}

static enum gate_verdict judge_field(const char *fields)
{
    char text[4096];
    snprintf(text, sizeof text, "POST / HTTP/1.1\r\nHost: x\r\n%s\r\n", fields);
    return judge(text);
}

TEST(test_plain_heads_pass)
{
    assert_int_equal(judge("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), GATE_PASS);
    assert_string_equal(why, "");
    assert_int_equal(judge("\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"), GATE_PASS);
    assert_int_equal(judge("GET / HTTP/1.0\r\n\r\n"), GATE_PASS);
    assert_true(framing.is_http10);
    assert_int_equal(judge_line("GET /a/b?c=%2f&d=+&e=%C3%A9|{} HTTP/1.1"), GATE_PASS);
    assert_int_equal(judge_line("GET http://x/ HTTP/1.1"), GATE_PASS);
    assert_int_equal(judge_line("GET HTTPS://[::1]:8080?a=b HTTP/1.1"), GATE_PASS);
    assert_int_equal(judge_line("GET http://a.example HTTP/1.1"), GATE_PASS);
    assert_int_equal(judge_field("X: \r\nY:\r\nZ:  a\tb \t\r\nEmpty:   \r\n"), GATE_PASS);
    assert_int_equal(judge_field("X-Utf8: caf\xc3\xa9\r\n"), GATE_PASS);
}

TEST(test_framing_is_told)
{
    assert_int_equal(judge_field("Content-Length: 17\r\n"), GATE_PASS);
    assert_int_equal(framing.content_length, 17);
    assert_false(framing.is_chunked);
    assert_int_equal(judge_field("transfer-encoding: Chunked\r\n"), GATE_PASS);
    assert_true(framing.is_chunked);
    assert_int_equal(framing.content_length, 0);
}

TEST(test_request_lines_that_are_refused)
{
    static const char *const lines[] = {
        "GET  / HTTP/1.1",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET\t/ HTTP/1.1",
        "G\xc3\x89T / HTTP/1.1",
        "G(T / HTTP/1.1",
        "GET /a b HTTP/1.1",
        "GET ftp://x/ HTTP/1.1",
        "GET http:/x/ HTTP/1.1",
        "GET http:///x HTTP/1.1",
        "GET http://u:p@x/ HTTP/1.1",
        "GET http://x#/ HTTP/1.1",
        "GET http://x\\y/ HTTP/1.1",
        "GET //x HTTP/2.0",
        "OPTIONS * HTTP/1.1",
        "GET * HTTP/1.1",
        "CONNECT x:80 HTTP/1.1",
        "GET a HTTP/1.1",
        "GET /\x01 HTTP/1.1",
        "GET /\x7f HTTP/1.1",
        "GET /\xc3\xa9 HTTP/1.1",
        "GET /# HTTP/1.1",
        "GET /% HTTP/1.1",
        "GET /%4 HTTP/1.1",
        "GET /%zz HTTP/1.1",
        "GET /%00 HTTP/1.1",
        "GET /?a=%00 HTTP/1.1",
        "GET / HTTP/1.2",
        "GET / HTTP/2.0",
        "GET / http/1.1",
        "GET / HTTP/1.10",
        "GET /",
        "GET / HTTP/1.1\rX: y",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        if (judge_line(lines[i]) != GATE_BAD)
            fail_msg("passed: %s", lines[i]);
    }
}

TEST(test_fields_that_are_refused)
{
    static const char *const fields[] = {
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\ncontent-length: 6\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: \r\n",
        "Transfer-Encoding:\x0b"
        "chunked\r\n",
        "Transfer-Encoding: chunked \r\n",
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5,5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length:\r\n",
        "Content-Length: 5 \r\n",
        "Content-Length: 1234567890123456789\r\n",
        "Host: y\r\n",
        "Authorization: a\r\nauthorization: b\r\n",
        "Content-Type: a\r\nContent-Type: a\r\n",
        "X: a\rb\r\n",
        "X: a\r\r\n",
        "X: a\x01\r\n",
        "X: a\x7f\r\n",
        "X: a\nY: b\r\n",
        "X: a\n",
        ": a\r\n",
        "X(: a\r\n",
        "X\xc3\xa9: a\r\n",
        "X: a\r\n folded\r\n",
        "X: a\r\n\tfolded\r\n",
        "Transfer-: chunked\r\n Encoding\r\n",
        "nocolon\r\n",
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (judge_field(fields[i]) != GATE_BAD)
            fail_msg("passed: %s", fields[i]);
    }
}

TEST(test_bare_lf_anywhere_is_refused)
{
    static const char good[] = "POST / HTTP/1.1\r\nHost: x\r\nA: b\r\nContent-Length: 3\r\n\r\n";
    for (size_t i = 0; i + 1 < sizeof good; i++) {
        char text[sizeof good];
        if (good[i] != '\r')
            continue;
        memcpy(text, good, i);
        memcpy(text + i, good + i + 1, sizeof good - i - 1);
        if (judge_bytes(text, sizeof good - 2) != GATE_BAD)
            fail_msg("passed without the CR at %zu", i);
    }
}

TEST(test_nul_anywhere_is_refused)
{
    static const char good[] = "POST /p HTTP/1.1\r\nHost: x\r\nAbc: d\r\nContent-Length: 3\r\n\r\n";
    for (size_t i = 0; i + 1 < sizeof good; i++) {
        char text[sizeof good + 1];
        memcpy(text, good, sizeof good);
        text[i] = '\0'; /* instead of; where a CR was, the library reads a line's end all the same */
        if (good[i] != '\r' && judge_bytes(text, sizeof good - 1) != GATE_BAD)
            fail_msg("passed with a NUL instead of byte %zu", i);
        memcpy(text + i + 1, good + i, sizeof good - i - 1); /* before */
        if (judge_bytes(text, sizeof good) != GATE_BAD)
            fail_msg("passed with a NUL before byte %zu", i);
    }
}

TEST(test_host_is_needed_once)
{
    assert_int_equal(judge("GET / HTTP/1.1\r\n\r\n"), GATE_BAD);
    assert_int_equal(judge("GET / HTTP/1.0\r\nHost: x\r\n\r\n"), GATE_PASS);
    assert_int_equal(judge("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), GATE_BAD);
}

TEST(test_large_heads_are_told_from_bad_ones)
{
    static char text[40000];
    const char line[] = "GET / HTTP/1.1\r\nHost: x\r\nA: ";
    for (int more = -1; more <= 1; more++) {
        size_t total = (size_t)(GATE_HEAD_BYTES_MAX + more);
        memset(text, 'a', sizeof text);
        memcpy(text, line, sizeof line - 1);
        memcpy(text + total - 4, "\r\n\r\n", 4);
        assert_int_equal(judge_bytes(text, total), more > 0 ? GATE_TOO_LARGE : GATE_PASS);
    }
}

TEST_MAIN(NULL, NULL)
