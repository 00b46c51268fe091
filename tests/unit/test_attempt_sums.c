/* parts: broker */
/* SPDX-License-Identifier: MIT */
/* attempts.c: sums over dispatchers; labels stay few, and numbers never fall. */
#include "broker/attempts.h"

#include "tests/unit/test.h"

#define ROWS 60

struct told { /* of a dispatcher */
    struct attempt_stats_row row[ROWS];
    char error[ROWS][24];
    unsigned n;
};

static void tell(struct attempt_sums *sums, const struct told *t, const char *boot)
{
    struct buf payload = {0};
    proto_encode_attempt_stats(&payload, t->row, t->n);
    attempt_sums_told(sums, "d1", boot, (struct str){payload.data, (uint32_t)payload.len});
    buf_free(&payload);
}

static long value_of(const struct attempt_sums *sums, const char *outcome, const char *error)
{
    struct buf text = {0};
    char name[200];
    long n = -1;
    attempt_sums_metrics(sums, &text);
    snprintf(name, sizeof name,
             "chasqui_attempts_total{portal=\"sunat\",action=\"sunat.login\",outcome=\"%s\",robot_error=\"%s\"} ",
             outcome, error);
    const char *at = strstr(text.data, name);
    if (at)
        sscanf(at + strlen(name), "%ld", &n);
    buf_free(&text);
    return n;
}

static void count(struct told *t, const char *outcome, const char *error, unsigned times)
{
    unsigned i = 0;
    while (i < t->n && (strcmp(t->row[i].outcome.p, outcome) != 0 || strcmp(t->error[i], error) != 0))
        i++;
    if (i == t->n) {
        strcpy(t->error[i], error);
        t->row[t->n++] =
            (struct attempt_stats_row){STR("sunat"), STR("sunat.login"), str_of(outcome), str_of(t->error[i]), 0};
    }
    t->row[i].n += times;
}

TEST(test_growth_is_counted_once)
{
    struct told first = {.n = 0}, second = {.n = 0}, *a = &first, *b = &second;
    struct attempt_sums *sums = attempt_sums_new();
    count(a, "done", "", 5);
    tell(sums, a, "boot1"); /* before this broker knew it */
    assert_int_equal(value_of(sums, "done", ""), -1);
    count(a, "done", "", 2);
    count(a, "refused", "bad_credentials", 1);
    tell(sums, a, "boot1");
    tell(sums, a, "boot1"); /* again, after a reconnect */
    assert_int_equal(value_of(sums, "done", ""), 2);
    assert_int_equal(value_of(sums, "refused", "bad_credentials"), 1);
    tell(sums, b, "boot2"); /* it restarted */
    count(b, "done", "", 1);
    tell(sums, b, "boot2");
    assert_int_equal(value_of(sums, "done", ""), 3);
    attempt_sums_destroy(&sums);
}

TEST(test_labels_stay_few)
{
    struct told first = {.n = 0}, *a = &first;
    struct attempt_sums *sums = attempt_sums_new();
    struct buf text = {0};
    char error[20];
    unsigned lines = 0;
    tell(sums, a, "b");
    for (unsigned i = 0; i < 25; i++) {
        snprintf(error, sizeof error, "e%u", i);
        count(a, "refused", error, 10);
    }
    tell(sums, a, "b");
    assert_int_equal(value_of(sums, "refused", "e0"), 10);
    assert_int_equal(value_of(sums, "refused", "e24"), -1);
    assert_int_equal(value_of(sums, "refused", "other"), 50);
    count(a, "refused", "e24", 30); /* now it is more frequent than one that has a label */
    tell(sums, a, "b");
    assert_int_equal(value_of(sums, "refused", "e24"), 30);
    assert_int_equal(value_of(sums, "refused", "other"), 50); /* it never falls */
    attempt_sums_metrics(sums, &text);
    for (const char *at = text.data; (at = strstr(at, "chasqui_attempts_total{")); at++)
        lines++;
    assert_int_equal(lines, ATTEMPTS_NAMED + 1);
    buf_free(&text);
    attempt_sums_destroy(&sums);
}

TEST_MAIN(NULL, NULL)
