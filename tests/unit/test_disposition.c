/* parts: dispatcher */
#include "dispatcher/disposition.h"

#include "dispatcher/robot_head.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static const char *name_of(const char *value, size_t room)
{
    static char out[513];
    disposition_name(value, strlen(value), out, room);
    return out;
}

static void names_are_read(void **state)
{
    (void)state;
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
        {"attachment; filename=\"\"", ""},
    };
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_string_equal(name_of(rows[i][0], 513), rows[i][1]);
}

static void names_are_harmless(void **state)
{
    (void)state;
    assert_string_equal(name_of("attachment; filename=\"../../etc/passwd\"", 513), "passwd");
    assert_string_equal(name_of("attachment; filename*=UTF-8''..%2F..%2Fetc%2Fshadow", 513), "shadow");
    assert_string_equal(name_of("attachment; filename=\"C:\\\\dir\\\\x.exe\"", 513), "x.exe");
    assert_string_equal(name_of("attachment; filename=\"..\"", 513), "");
    assert_string_equal(name_of("attachment; filename=\".\"", 513), "");
    assert_string_equal(name_of("attachment; filename=\"dir/\"", 513), "");
    assert_string_equal(name_of("attachment; filename*=UTF-8''a%0D%0ASet-Cookie:x%00%7F.pdf", 513), "aSet-Cookie:x.pdf");
    assert_string_equal(name_of("attachment; filename*=UTF-8''a%22b%C2%85c.pdf", 513), "abc.pdf");
    assert_string_equal(name_of("attachment; filename*=UTF-8''a%E2%80%AEfdp.exe", 513), "afdp.exe");
    assert_string_equal(name_of("attachment; filename=\"  spaces  \"", 513), "spaces");
    assert_string_equal(name_of("attachment; filename*=UTF-8''%ED%A0%80.pdf", 513), "í\xc2\xa0.pdf"); /* no UTF-8 */
}

static void names_fit(void **state)
{
    (void)state;
    char value[3000] = "attachment; filename=\"";
    for (int i = 0; i < 400; i++)
        strcat(value, "ñ");
    strcat(value, "\"");
    assert_int_equal(strlen(name_of(value, 513)), 512);
    assert_int_equal(strlen(name_of(value, 512)), 510); /* never half a character */
    assert_string_equal(name_of(value, 3), "ñ");
    assert_string_equal(name_of(value, 2), "");
}

static struct call_answer head(const char *line)
{
    struct call_answer a = {.content_type = "before", .boot_id = "before", .disposition_name = "before"};
    head_line(&a, line, strlen(line));
    return a;
}

static void lines_are_read(void **state)
{
    (void)state;
    assert_string_equal(head("content-type:  application/json \r\n").content_type, "application/json");
    assert_string_equal(head("Content-Type: a\x01/b\r\n").content_type, "");
    assert_string_equal(head("Content-Type: \xf1/b\r\n").content_type, "");
    assert_string_equal(head("Content-Type : x\r\n").content_type, "before");
    assert_string_equal(head("Content-Typ").content_type, "before");
    assert_string_equal(head("X-Robot-Boot: abc\r\n").boot_id, "abc");
    assert_string_equal(head("X-Robot-Boot: 0123456789012345678901234567890123456789012345678901234567890123456789\r\n")
                            .boot_id, "");
    assert_string_equal(head("Content-Disposition: attachment; filename=x\r\n").disposition_name, "x");
    struct call_answer a = {.content_type = "x/y", .boot_id = "b"};
    assert_true(head_line(&a, "HTTP/1.1 200 OK\r\n", 17));
    assert_string_equal(a.content_type, "");
    assert_string_equal(a.boot_id, "");
    assert_false(head_line(&a, "", 0));
    assert_false(head_line(&a, "HTTP", 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_read),
        cmocka_unit_test(names_are_harmless),
        cmocka_unit_test(names_fit),
        cmocka_unit_test(lines_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
