/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
#include "dispatcher/robot/disposition.h"

#include "dispatcher/robot/robot_head.h"
#include "tests/unit/test.h"

static const char *name_of(const char *value, size_t room)
{
    static char out[513];
    disposition_name(value, strlen(value), out, room);
    return out;
}

TEST(names_are_read)
{
    static const char *const rows[][2] = {
        {"attachment; filename=plain.pdf", "plain.pdf"},
        {"attachment; filename=\"a b.pdf\"", "a b.pdf"},
        {"ATTACHMENT;FILENAME = \"a.pdf\" ; size=3", "a.pdf"},
        {"attachment; filename=\"a\\\"b\\\\c.pdf\"", "c.pdf"}, /* quotes go, what is before a backslash too */
        {"attachment; filename=two words.pdf; x=y", "two words.pdf"},
        {"attachment; filename=\"x.pdf\"; filename*=UTF-8''%C3%B1and%C3%BA.pdf", "ñandú.pdf"},
        {"attachment; filename*=utf-8'es'%e2%82%ac.pdf; filename=x", "€.pdf"},
        {"attachment; filename*=iso-8859-1''%F1.pdf", "ñ.pdf"},
        {"attachment; filename*=koi8-r''%F1.pdf; filename=x.pdf", "x.pdf"},
        {"attachment; filename*=UTF-8''; filename=x.pdf", "x.pdf"},
        {"attachment; filename*=nonsense; filename=x.pdf", "x.pdf"},
        {"attachment; filename=\"\xf1.pdf\"", "ñ.pdf"}, /* Latin-1, as many servers send it */
        {"attachment; filename=\"\xc3\xb1.pdf\"", "ñ.pdf"},
        {"attachment; filename=first; filename=second", "first"},
        {"attachment; xfilename=no; filename=yes", "yes"},
        {"attachment; x=\"a; filename=no\"; filename=yes", "yes"},
        {"attachment; filename=\"open", "open"},
        {"attachment; filename=\"ends\\", ""}, /* what follows its last backslash is nothing */
        {"inline", ""},
        {"", ""},
        {";;;=;filename", ""},
        {"attachment; filename=", ""},
        /* the kinds of the greenbytes test suite, read as most browsers do or kinder */
        {"attachment; filename=\"f\\oo.html\"", "foo.html"},
        {"attachment; filename=\"\\\"quoting\\\" tested.html\"", "quoting tested.html"},
        {"attachment; filename=\"Here's a semicolon;.html\"", "Here's a semicolon;.html"},
        {"attachment; foo=\"\\\"\\\\\";filename=\"foo.html\"", "foo.html"},
        {"attachment; filename=foo,bar.html", "foo,bar.html"},
        {"attachment; ;filename=foo", "foo"},
        {"attachment; filename=foo[1](2).html", "foo[1](2).html"},
        {"attachment; filename=\"50%.html\"", "50%.html"},
        {"attachment; filename=\"foo-%41.html\"", "foo-A.html"},
        {"attachment; filename=\"foo-%c3%a4-%e2%82%ac.html\"", "foo-ä-€.html"},
        {"attachment; filename=foo.html; filename=bar.html", "foo.html"},
        {"filename=foo.html", "foo.html"},
        {"filename=foo.html; attachment", "foo.html"},
        {"; filename=foo.html", "foo.html"},
        {"attachment; filename=\"foo.html\".txt", "foo.html"},
        {"attachment; filename=\"\"quoting\" tested.html\"", "quoting tested.html"},
        {"attachment; filename=\"bar", "bar"},
        {"attachment; xfilename=foo.html", ""},
        {"attachment; filename=\"/foo.html\"", "foo.html"},
        {"attachment; filename=\"\\\\foo.html\"", "foo.html"},
        {"attachment; example=\"filename=example.txt\"", ""},
        {"attachment; filename*=iso-8859-1''foo-%E4.html", "foo-ä.html"},
        {"attachment; filename*=''foo-%c3%a4-%e2%82%ac.html", "foo-ä-€.html"},
        {"attachment; filename*=UTF-8''foo-a%cc%88.html", "foo-a\xcc\x88.html"},
        {"attachment; filename*=utf-8''foo-%E4.html", "foo-ä.html"},
        {"attachment; filename* =UTF-8''foo-%c3%a4.html", "foo-ä.html"},
        {"attachment; filename*=\"UTF-8''foo-%c3%a4.html\"", "foo-ä.html"},
        {"attachment; filename*=UTF-8'foo-%c3%a4.html", "UTF-8'foo-ä.html"},
        {"attachment; filename*=UTF-8''foo-%c3%a4.html%", "foo-ä.html%"},
        {"attachment; filename*=UTF-8''A-%2541.html", "A-%41.html"},
        {"attachment; filename*0=\"foo.\"; filename*1=\"html\"", "foo.html"},
        {"attachment; filename*1=\"html\"; filename*0=\"foo.\"", "foo.html"},
        {"attachment; filename*0*=UTF-8''foo-%c3%a4; filename*1=\".html\"", "foo-ä.html"},
        {"attachment; filename*0*=UTF-8''n%C3; filename*1*=%B1.pdf", "nñ.pdf"},
        {"attachment; filename*0=\"foo\"; filename*01=\"bar\"", "foo"},
        {"attachment; filename*0=\"foo\"; filename*2=\"bar\"", "foo"},
        {"attachment; filename*1=\"foo.\"; filename*2=\"html\"", ""},
        {"attachment; filename=\"basic.pdf\"; filename*0=\"foo\"; filename*1=\".pdf\"", "foo.pdf"},
        {"attachment; filename*=ISO-8859-1''currency%3d%a4; filename*0*=ISO-8859-15''euro%3d%a4", "currency=¤"},
        {"inline; filename='single quotes.pdf'", "single quotes.pdf"},
        {"attachment; filename='half.pdf", "'half.pdf"},
        {"attachment; filename==?ISO-8859-1?Q?foo-=E4.html?=", "foo-ä.html"},
        {"attachment; filename=\"=?ISO-8859-1?Q?foo-=E4.html?=\"", "foo-ä.html"},
        {"attachment; filename=\"=?ISO-8859-1?Q?foo-=E4.html?=\"; filename*=UTF-8''5987", "5987"},
        {"attachment; filename=\"=?utf-8?B?Tm90aWZpY2FjacOzbi5wZGY=?=\"", "Notificación.pdf"},
        {"attachment; filename=\"=?UTF-8?Q?Notificaci=C3?= =?UTF-8?Q?=B3n_1.pdf?=\"", "Notificación 1.pdf"},
        {"attachment; filename=\"=?windows-1252*es?q?=80uro?=.pdf\"", "€uro.pdf"},
        {"attachment; filename=\"=?koi8-r?Q?=F1=F2.pdf?=\"", "__.pdf"},
        {"attachment; filename=\"=?utf-8?x?a?=.pdf\"", "=?utf-8?x?a?=.pdf"},
        {"attachment; filename=\"=?utf-8?Q?open.pdf\"", "=?utf-8?Q?open.pdf"},
        /* other old kinds */
        {"attachment; filename=\"resoluci\xf3n \x80 5.pdf\"", "resolución € 5.pdf"}, /* windows-1252 */
        {"attachment; filename=\"ma%F1ana.pdf\"", "mañana.pdf"},
        {"attachment; filename=\"C:\\Docs\\nuevo\\resoluci\xf3n.pdf\"", "resolución.pdf"}, /* not escaped */
        {"attachment; filename*=koi8-r''%F1.pdf", "_.pdf"},
        {"attachment; filename*=plain%20name.pdf", "plain name.pdf"},
        {"attachment; name=\"old.pdf\"", "old.pdf"},
        {"attachment;filename=IT839\x04\xb5(m8)2.pdf;", "IT839µ(m8)2.pdf"},
        {"attachment; filename=\"\"", ""},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_string_equal(name_of(rows[i][0], 513), rows[i][1]);
}

TEST(names_are_harmless)
{
    assert_string_equal(name_of("attachment; filename=\"../../etc/passwd\"", 513), "passwd");
    assert_string_equal(name_of("attachment; filename*=UTF-8''..%2F..%2Fetc%2Fshadow", 513), "shadow");
    assert_string_equal(name_of("attachment; filename=\"C:\\\\dir\\\\x.exe\"", 513), "x.exe");
    assert_string_equal(name_of("attachment; filename=\"..\"", 513), "");
    assert_string_equal(name_of("attachment; filename=\".\"", 513), "");
    assert_string_equal(name_of("attachment; filename=\"dir/\"", 513), "");
    assert_string_equal(name_of("attachment; filename*=UTF-8''a%0D%0ASet-Cookie:x%00%7F.pdf", 513),
                        "aSet-Cookie:x.pdf");
    assert_string_equal(name_of("attachment; filename*=UTF-8''a%22b%C2%85c.pdf", 513), "abc.pdf");
    assert_string_equal(name_of("attachment; filename*=UTF-8''a%E2%80%AEfdp.exe", 513), "afdp.exe");
    assert_string_equal(name_of("attachment; filename=\"  spaces  \"", 513), "spaces");
    assert_string_equal(name_of("attachment; filename*=UTF-8''%ED%A0%80.pdf", 513),
                        "í\xc2\xa0€.pdf"); /* no UTF-8 */
}

TEST(names_fit)
{
    char value[3000] = "attachment; filename=\"";
    for (int i = 0; i < 400; i++)
        strcat(value, "ñ");
    strcat(value, "\"");
    assert_int_equal(strlen(name_of(value, 513)), 512);
    assert_int_equal(strlen(name_of(value, 512)), 510); /* never half a character */
    assert_string_equal(name_of(value, 3), "ñ");
    assert_string_equal(name_of(value, 2), "");
}

TEST(long_names_keep_their_extension)
{
    char value[3000] = "attachment; filename*=UTF-8''";
    for (int i = 0; i < 300; i++)
        strcat(value, "%C3%B1");
    strcat(value, ".pdf");
    const char *name = name_of(value, 513);
    assert_int_equal(strlen(name), 512);
    assert_string_equal(name + 504, "ññ.pdf");
    strcpy(value, "attachment; filename=\"");
    for (int i = 0; i < 600; i++)
        strcat(value, "a");
    strcat(value, ".tar.gz\"");
    name = name_of(value, 513);
    assert_int_equal(strlen(name), 512);
    assert_string_equal(name + 509, ".gz");
    strcpy(value, "attachment; filename=\"x.");
    for (int i = 0; i < 600; i++)
        strcat(value, "a");
    assert_int_equal(strlen(name_of(value, 513)), 512); /* that is no extension */
    assert_string_equal(name_of("attachment; filename=abcdef.pdf", 8), "abc.pdf");
    assert_string_equal(name_of("attachment; filename=abcdef.pdf", 5), "abcd");
}

static struct call_answer head(const char *line)
{
    struct call_answer a = {.content_type = "before", .boot_id = "before", .disposition_name = "before"};
    struct head h = {.request_id = "Ab-12.c"};
    head_line(&h, &a, line, strlen(line));
    head_line(&h, &a, "\r\n", 2);
    buf_free(&h.held);
    return a;
}

TEST(lines_are_read)
{
    assert_string_equal(head("content-type:  application/json \r\n").content_type, "application/json");
    assert_string_equal(head("Content-Type: a\x01/b\r\n").content_type, "");
    assert_string_equal(head("Content-Type: \xf1/b\r\n").content_type, "");
    assert_string_equal(head("Content-Type : x\r\n").content_type, "before");
    assert_string_equal(head("Content-Typ").content_type, "before");
    assert_string_equal(head("X-Robot-Boot: abc\r\n").boot_id, "abc");
    /* One that is too long for its column becomes a token of its own. */
    assert_int_equal(
        head("X-Robot-Boot: 0123456789012345678901234567890123456789012345678901234567890123456789\r\n")
            .boot_id[0],
        '~');
    assert_string_equal(head("Content-Disposition: attachment; filename=x\r\n").disposition_name, "x");
    struct call_answer a = {.content_type = "x/y", .boot_id = "b"};
    struct head h = {0};
    assert_true(head_line(&h, &a, "HTTP/1.1 100 Continue\r\n", 23));
    assert_false(h.is_final);
    assert_true(head_line(&h, &a, "HTTP/1.1 200 OK\r\n", 17));
    assert_true(h.is_final);
    assert_string_equal(a.content_type, "");
    assert_string_equal(a.boot_id, "");
    assert_false(head_line(&h, &a, "", 0));
    assert_false(head_line(&h, &a, "HTTP", 4));
    assert_string_equal(head("Content-Encoding: gzip\r\n").content_encoding, "gzip");
    assert_string_equal(head("Content-Encoding: identity\r\n").content_encoding, "");
}

/* One line in three (RFC 7230, 3.2.4), as old servers fold long ones. */
TEST(folded_lines_are_read)
{
    static const char *const lines[] = {" lost\r\n",
                                        "HTTP/1.1 200 OK\r\n",
                                        "Content-Disposition: attachment;\r\n",
                                        "\tfilename=\"a\r\n",
                                        "  b.pdf\"\r\n",
                                        "Date: x\r\n",
                                        " y\r\n",
                                        "Content-Type: application/pdf;\r\n",
                                        "\r\n"};
    struct call_answer a = {.status = 0};
    struct head h = {0};
    for (unsigned i = 0; i < sizeof(lines) / sizeof(*lines); i++)
        head_line(&h, &a, lines[i], strlen(lines[i]));
    buf_free(&h.held);
    assert_string_equal(a.disposition_name, "a  b.pdf");
    assert_string_equal(a.content_type, "application/pdf;");
}

TEST(echoes_are_told_apart)
{
    assert_int_equal(head("X-Request-Id: Ab-12.c\r\n").echo, ECHO_OURS);
    assert_int_equal(head("x-request-id: ab12c\r\n").echo, ECHO_OURS); /* as Rails cleans it */
    assert_int_equal(head("X-Request-Id: Ab-12.d\r\n").echo, ECHO_OTHER);
    assert_int_equal(head("X-Request-Id: Ab-12\r\n").echo, ECHO_OTHER);
    assert_int_equal(head("X-Request-Id: Ab-12.cc\r\n").echo, ECHO_OTHER);
    assert_int_equal(head("X-Request-Id:\r\n").echo, ECHO_NONE);
    assert_int_equal(head("X-Request-Ids: x\r\n").echo, ECHO_NONE);
    struct call_answer a = {.status = 0};
    struct head h = {.request_id = "q1"};
    static const char *const lines[] = {"X-Request-Id: proxy-7\r\n", "X-Request-Id: q1\r\n",
                                        "X-Request-Id: other\r\n", "\r\n"};
    for (unsigned i = 0; i < sizeof(lines) / sizeof(*lines); i++) /* a proxy adds its own */
        head_line(&h, &a, lines[i], strlen(lines[i]));
    buf_free(&h.held);
    assert_int_equal(a.echo, ECHO_OURS);
}

TEST_MAIN(NULL, NULL)
