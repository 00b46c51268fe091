/* parts: common */
/* SPDX-License-Identifier: MIT */
#include "common/stat.h"

#include "tests/unit/test.h"

TEST(test_rows_are_documented_and_named)
{
    for (int i = 0; i < STAT_N; i++) {
        const struct stat_row *r = &stat_table[i];
        assert_true(r->owner && strlen(r->line) > 10 && strlen(r->para) > 10);
        assert_true(!strchr(r->line, '\n') && !strchr(r->line, '\\'));
        size_t len = strlen(r->name);
        bool is_total = len > 6 && strcmp(r->name + len - 6, "_total") == 0;
        assert_true(is_total == (r->kind == STAT_COUNTER));
        assert_int_equal(stat_find(r->name, (unsigned)len), i);
    }
    assert_int_equal(stat_find("nothing", 7), -1);
    assert_int_equal(stat_find("uptime_secondsx", 14), STAT_uptime_seconds);
}

static bool has_suffix(const char *name, const char *suffix)
{
    size_t len = strlen(name), n = strlen(suffix);
    return len > n && strcmp(name + len - n, suffix) == 0;
}

static void row_check(const struct stat_row *r)
{
    assert_true(r->owner && strlen(r->line) > 10 && strlen(r->para) > 10);
    assert_true(!strchr(r->line, '\n') && !strchr(r->line, '\\'));
    assert_true(has_suffix(r->name, "_total") == (r->kind == STAT_COUNTER) || r->kind == STAT_GAUGE);
    assert_true(r->kind != STAT_HISTOGRAM || has_suffix(r->name, "_seconds"));
}

TEST(test_histograms_and_families_are_documented_and_named)
{
    for (int i = 0; i < HIST_N; i++) {
        row_check(&stat_hist_table[i]);
        assert_int_equal(stat_hist_find(stat_hist_table[i].name, (unsigned)strlen(stat_hist_table[i].name)), i);
        assert_int_equal(stat_find(stat_hist_table[i].name, (unsigned)strlen(stat_hist_table[i].name)), -1);
    }
    for (int i = 0; i < FAMILY_N; i++) {
        const struct stat_row *r = &stat_family_table[i];
        row_check(r);
        assert_true(!strstr(r->labels, "company") && !strstr(r->labels, "session") && !strstr(r->labels, "job"));
        assert_int_equal(stat_find(r->name, (unsigned)strlen(r->name)), -1);
    }
}

TEST(test_macros)
{
    stat_set(uptime_seconds, 5);
    stat_inc(bus_messages_in_total);
    stat_add(bus_messages_in_total, 10);
    assert_int_equal(stat_get(uptime_seconds), 5);
    assert_int_equal(stat_get(bus_messages_in_total), 11);
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;
    for (const char *p = text; (p = strstr(p, what)); p++)
        n++;
    return n;
}

TEST(test_prometheus_text)
{
    static struct stats one, two;
    const struct stat_source src[] = {
        {STAT_BROKER, "broker", "b\"1\\\n", &one},
        {STAT_DISPATCHER, "dispatcher", "d1", &two},
    };
    struct buf out = {0};
    one.v[STAT_bus_refused_total] = 7;
    two.v[STAT_bus_refused_total] = UINT64_MAX;
    stat_prometheus(&out, src, 2);
    assert_non_null(strstr(out.data, "# TYPE chasqui_bus_refused_total counter\n"
                                     "chasqui_bus_refused_total{process=\"broker\",name=\"b\\\"1\\\\\\n\"} 7\n"
                                     "chasqui_bus_refused_total{process=\"dispatcher\",name=\"d1\"} "
                                     "18446744073709551615\n"));
    assert_non_null(strstr(out.data, "# TYPE chasqui_uptime_seconds gauge\n"));
    assert_int_equal(count(out.data, "# HELP "), count(out.data, "# TYPE "));
    assert_int_equal(count(out.data, "# TYPE chasqui_uptime_seconds "), 1);
    assert_int_equal(out.data[out.len - 1], '\n');
    for (int i = 0; i < STAT_N; i++) { /* only owners export a row */
        char head[128];
        snprintf(head, sizeof head, "# TYPE chasqui_%s ", stat_table[i].name);
        bool is_owned = stat_table[i].owner & (STAT_BROKER | STAT_DISPATCHER);
        assert_true(is_owned == (strstr(out.data, head) != NULL));
    }
    buf_free(&out);
}

TEST(test_families_have_their_own_labels)
{
    struct buf out = {0};
    struct hist h = {0};
    hist_add(&h, 1000);
    hist_add(&h, 2000000);
    stat_family(&out, FAMILY_lane_depth);
    stat_sample(&out, FAMILY_lane_depth, 12, (const char *const[]){"log\"in"});
    assert_string_equal(
        out.data, "# HELP chasqui_lane_depth Requests that wait in a lane.\n# TYPE chasqui_lane_depth gauge\n"
                  "chasqui_lane_depth{lane=\"log\\\"in\"} 12\n");
    buf_clear(&out);
    stat_sample(&out, FAMILY_queue_oldest_age_seconds, 0.25, NULL);
    assert_string_equal(out.data, "chasqui_queue_oldest_age_seconds 0.25\n");
    buf_clear(&out);
    stat_sample_hist(&out, FAMILY_lane_wait_seconds, &h, (const char *const[]){"login"});
    assert_non_null(strstr(out.data, "chasqui_lane_wait_seconds_bucket{lane=\"login\",le=\"0.001\"} 1\n"));
    assert_non_null(strstr(out.data, "chasqui_lane_wait_seconds_bucket{lane=\"login\",le=\"1\"} 1\n"));
    assert_non_null(strstr(out.data, "chasqui_lane_wait_seconds_bucket{lane=\"login\",le=\"2.5\"} 2\n"));
    assert_non_null(strstr(out.data, "chasqui_lane_wait_seconds_bucket{lane=\"login\",le=\"+Inf\"} 2\n"));
    assert_non_null(strstr(out.data, "chasqui_lane_wait_seconds_sum{lane=\"login\"} 2.001000\n"));
    assert_non_null(strstr(out.data, "chasqui_lane_wait_seconds_count{lane=\"login\"} 2\n"));
    buf_free(&out);
}

TEST_MAIN(NULL, NULL)
