/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* test_batch_line.c - lines of a batch's body: items, and why a line is none. */
#include "common/jv.h"
#include "db/batch_line.h"
#include "tests/unit/test.h"

static uint64_t companies[] = {9, 5, 70000000001, 7};
static struct batch_rules rules = {.companies = companies, .n_companies = 4, .may_have_params = true};

static void accepted(const char *text, uint64_t company_id, const char *params)
{
    struct batch_line line = {0};
    batch_line_read(&line, text, strlen(text), &rules);
    assert_int_equal(line.error, ERR_OK);
    assert_null(line.errors);
    assert_int_equal(line.company_id, company_id);
    assert_string_equal(line.params.len ? line.params.data : "", params);
    buf_free(&line.params);
}

static void rejected(const char *text, const char *code, const char *errors)
{
    struct batch_line line = {0};
    batch_line_read(&line, text, strlen(text), &rules);
    assert_string_equal(err_code(line.error), code);
    char *got = jv_dump(line.errors, NULL);
    assert_string_equal(got, errors);
    assert_int_equal(line.params.len, 0);
    free(got);
    jv_free(line.errors);
    buf_free(&line.params);
}

TEST(test_items)
{
    accepted("{\"company_id\":5}", 5, "");
    accepted(" { \"company_id\" : 70000000001 } \r", 70000000001, "");
    accepted("{\"company_id\":7,\"params\":null}", 7, "");
    accepted("{\"company_id\":\"007\",\"params\":[]}", 7, "");
    accepted("{\"company_id\":7,\"params\":{}}", 7, "");
    accepted("{\"company_id\":7,\"note\":[1,{\"a\":2}]}", 7, "");
    accepted(
        "{\"params\": { \"user\" : \"Mar\\u00eda\", \"n\": 1.5, \"deep\":{\"company_id\":3} }, \"company_id\":9}",
        9,
        "{\"user\":\"Mar\xc3\xad"
        "a\",\"n\":1.5,\"deep\":{\"company_id\":3}}");
}

TEST(test_why_a_line_is_no_item)
{
    rejected("{}", "validation_failed", "{\"company_id\":[\"is needed\"]}");
    rejected("{\"company_id\":0}", "validation_failed", "{\"company_id\":[\"must be an integer of 1 or more\"]}");
    rejected("{\"company_id\":-5}", "validation_failed", "{\"company_id\":[\"must be an integer of 1 or more\"]}");
    rejected("{\"company_id\":\"5,0\"}", "validation_failed",
             "{\"company_id\":[\"must be an integer of 1 or more\"]}");
    rejected("{\"company_id\":5.0}", "validation_failed",
             "{\"company_id\":[\"must be an integer of 1 or more\"]}");
    rejected("{\"company_id\":99999999999999999999}", "validation_failed",
             "{\"company_id\":[\"must be an integer of 1 or more\"]}");
    rejected("{\"company_id\":05}", "bad_request", "{\"line\":[\"not JSON\"]}");
    rejected("{\"company_id\":5", "bad_request", "{\"line\":[\"not JSON\"]}");
    rejected("{\"company_id\":5}{", "bad_request", "{\"line\":[\"not JSON\"]}");
    rejected("{\"company_id\":5,\"company_id\":5}", "bad_request", "{\"line\":[\"a key is given twice\"]}");
    rejected("[5]", "bad_request", "{\"line\":[\"is not a JSON object\"]}");
    rejected("\xff", "bad_request", "{\"line\":[\"not UTF-8\"]}");
    rejected("{\"company_id\":5,\"params\":{\"a\":\"\\u0000\"}}", "validation_failed",
             "{\"line\":[\"a string holds \\\\u0000\"]}");
    rejected("{\"company_id\":5,\"params\":[1]}", "validation_failed", "{\"params\":[\"must be an object\"]}");
    rejected("{\"company_id\":\"x\",\"params\":7}", "validation_failed",
             "{\"company_id\":[\"must be an integer of 1 or more\"],\"params\":[\"must be an object\"]}");
    rejected(
        "{\"company_id\":5,\"params\":{\"epoch\":1,\"portal\":null}}", "validation_failed",
        "{\"params.portal\":[\"is a name that is set here\"],\"params.epoch\":[\"is a name that is set here\"]}");
    rejected("{\"company_id\":6}", "company_forbidden", "{\"company_id\":[\"is not a company of this token\"]}");
    rules.may_have_params = false;
    rejected("{\"company_id\":5,\"params\":{\"a\":1}}", "validation_failed",
             "{\"params\":[\"cannot be kept: the dispatchers have no seal key\"]}");
    accepted("{\"company_id\":5,\"params\":{}}", 5, "");
    rules.may_have_params = true;
}

/* What the short way takes, the long way reads alike: a member that only the long way knows changes nothing. Mutations of good lines. */
TEST(test_both_ways_agree)
{
    static const char *const lines[] = {
        "{\"company_id\":5,\"params\":{\"user\":\"u v\",\"n\":-12,\"z\":0,\"t\":true,\"f\":false,\"x\":null,\"/\":\"~/\"}}",
        " { \"params\" : { \"a\" : 1 , \"b\":\"2\" } , \"company_id\" : 7 } ",
        "{\"company_id\":5,\"params\":{\"a\":1,\"a\":,\"params\":{\"b\":1}}",
        "{\"company_id\":5,\"params\":{\"company_id\":1,\"epoch\":2}}"};
    static const char noise[] = "{}[]\":,\\ 0159-.eEtrufalsn\t\r\x01\x7f\x80"
                                "ap";
    unsigned seed = 1, items = 0;
    for (unsigned round = 0; round < 40000; round++) {
        char text[200], longer[230];
        strcpy(text, lines[round % 4]);
        size_t len = strlen(text);
        for (unsigned i = 0; i < round / 4 % 4; i++) {
            seed = seed * 1103515245 + 12345;
            size_t at = (seed >> 8) % len;
            seed = seed * 1103515245 + 12345;
            if (seed >> 30 == 0) {
                memmove(text + at, text + at + 1, len-- - at);
                continue;
            }
            text[at] = noise[(seed >> 8) % (sizeof(noise) - 1)];
        }
        struct batch_line quick = {0}, slow = {0};
        batch_line_read(&quick, text, len, &rules);
        size_t space = strspn(text, " \t\r");
        if (text[space] == '{' && strcspn(text + space + 1, "}") > 3) { /* {"zz":0.5, before the rest */
            int n = snprintf(longer, sizeof(longer), "{\"zz\":0.5,%s", text + space + 1);
            batch_line_read(&slow, longer, (size_t)n, &rules);
            assert_int_equal(quick.error, slow.error);
            assert_int_equal(quick.company_id, slow.company_id);
            assert_string_equal(quick.params.len ? quick.params.data : "",
                                slow.params.len ? slow.params.data : "");
            items += !quick.error;
        }
        jv_free(quick.errors);
        jv_free(slow.errors);
        buf_free(&quick.params);
        buf_free(&slow.params);
    }
    assert_true(items > 5000);
}

TEST(test_lengths)
{
    struct buf text = {0};
    static char filler[BATCH_LINE_MAX];
    memset(filler, 'x', sizeof(filler));
    buf_adds(&text, "{\"company_id\":5,\"params\":{\"a\":\"");
    buf_add(&text, filler, BATCH_PARAMS_MAX - 8); /* {"a":""} */
    struct buf longer = {0};
    buf_add(&longer, text.data, text.len);
    buf_adds(&text, "\"}}");
    buf_adds(&longer, "x\"}}");
    struct batch_line line = {0};
    batch_line_read(&line, text.data, text.len, &rules);
    assert_int_equal(line.error, ERR_OK);
    assert_int_equal(line.params.len, BATCH_PARAMS_MAX);
    buf_free(&line.params);
    rejected(longer.data, "validation_failed", "{\"params\":[\"must be at most 16384 bytes\"]}");
    buf_add(&longer, filler, BATCH_LINE_MAX + 1 - longer.len);
    rejected(longer.data, "payload_too_large", "{\"line\":[\"is longer than 20480 bytes\"]}");
    buf_free(&text);
    buf_free(&longer);
}

TEST(test_no_company_at_all)
{
    struct batch_rules none = {0}, all = {.all = true};
    struct batch_line line = {0};
    batch_line_read(&line, "{\"company_id\":5}", 16, &none);
    assert_int_equal(line.error, ERR_COMPANY_FORBIDDEN);
    jv_free(line.errors);
    batch_line_read(&line, "{\"company_id\":5}", 16, &all);
    assert_int_equal(line.error, ERR_OK);
    assert_true(batch_line_is_blank(" \t\r", 3) && batch_line_is_blank("", 0));
    assert_false(batch_line_is_blank("\n", 1));
}

static int companies_sort(void **state)
{
    (void)state;
    batch_companies_sort(companies, 4);
    return 0;
}

TEST_MAIN(companies_sort, NULL)
