/* parts: broker */
/* SPDX-License-Identifier: MIT */
#include "broker/phrase.h"

#include "tests/unit/test.h"

static void says(const char *text, enum language language, const struct phrase_args *args, const char *wanted)
{
    struct buf out = {0};
    phrase_fill(&out, text, language, args);
    assert_string_equal(out.data, wanted);
    buf_free(&out);
}

TEST(test_fields)
{
    struct phrase_args a = {.who = "r1", .why = "{n} {x", .n = 1204, .m = 1, .time_ms = 12900};
    says("plain", ENGLISH, &a, "plain");
    says("", ENGLISH, &a, "");
    says("{who}: {why}", ENGLISH, &a, "r1: {n} {x"); /* what is filled in is not looked at again */
    says("{n} {n|job|jobs}, {m} {m|robot|robots}", ENGLISH, &a, "1,204 jobs, 1 robot");
    says("{n} {n|trabajo|trabajos}", SPANISH, &a, "1.204 trabajos");
    says("{k} {k|day|days}", ENGLISH, &(struct phrase_args){.k = 1}, "1 day");
    a.who = a.why = NULL;
    says("[{who}{why}]", ENGLISH, &a, "[]");
}

TEST(test_without_a_cause_there_are_no_parentheses)
{
    struct phrase_args a = {.who = "r1", .why = "refused", .n = 2};
    says("{who} does not answer ({why}): {n} wait.", ENGLISH, &a, "r1 does not answer (refused): 2 wait.");
    a.why = "";
    says("{who} does not answer ({why}): {n} wait.", ENGLISH, &a, "r1 does not answer: 2 wait.");
    a.why = NULL;
    says("{who} no responde ({why}).", SPANISH, &a, "r1 no responde.");
    says("({why}) {who} ({n})", ENGLISH, &a, "() r1 (2)");
}

TEST(test_numbers_and_times)
{
    static const struct {
        int64_t n;
        const char *text;
    } numbers[] = {{0, "0"}, {-5, "0"}, {999, "999"}, {1000, "1,000"}, {1234567, "1,234,567"}};
    static const struct {
        int64_t ms;
        const char *text;
    } times[] = {{-1, "< 1 s"},     {999, "< 1 s"},       {1000, "1 s"},    {119999, "119 s"},
                 {120000, "2 min"}, {7199000, "119 min"}, {7200000, "2 h"}, {172800000, "2 d"}};
    for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        says("{n}", ENGLISH, &(struct phrase_args){.n = numbers[i].n}, numbers[i].text);
    for (unsigned i = 0; i < sizeof times / sizeof times[0]; i++)
        says("{time}", SPANISH, &(struct phrase_args){.time_ms = times[i].ms}, times[i].text);
}

/* Does a text use the field? */
static bool has(const char *text, const char *field)
{
    char plain[16], choice[16];
    snprintf(plain, sizeof plain, "{%s}", field);
    snprintf(choice, sizeof choice, "{%s|", field);
    return strstr(text, plain) || strstr(text, choice);
}

TEST(test_every_row_can_be_said_in_both_languages)
{
    static const char *const fields[] = {"who", "why", "time", "n", "m", "k"};
    struct phrase_args a = {.who = "d2", .why = "refused", .n = 2, .m = 3, .time_ms = 12000};
    for (unsigned i = 0; i < WORD_COUNT; i++) {
        const struct word_row *w = &word_table[i];
        assert_true(strlen(w->code) > 3 && strlen(w->text[ENGLISH]) > 10 && strlen(w->text[SPANISH]) > 10);
        assert_true(!*w->todo[ENGLISH] == !*w->todo[SPANISH]);
        assert_true(w->level == WORD_OK || *w->todo[ENGLISH] || i == WORD_BROKER_STOPPING);
        assert_true(i == 0 || word_table[i - 1].level >= w->level); /* the worst first */
        for (unsigned k = 0; k < 6; k++)
            assert_true(has(w->text[ENGLISH], fields[k]) == has(w->text[SPANISH], fields[k]));
        for (enum language l = ENGLISH; l <= SPANISH; l++) {
            struct buf out = {0};
            phrase_fill(&out, w->text[l], l, &a);
            assert_null(strchr(out.data, '{'));
            buf_free(&out);
        }
    }
}

TEST_MAIN(NULL, NULL)
