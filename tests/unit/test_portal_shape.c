/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* test_portal_shape.c - the words of Laravel's statuses in SQL texts. */
#include "db/portal_shape.h"

#include "tests/unit/test.h"

static char words[6][20] = {"pending", "pending", "processing", "completed", "error", "cancelled"};
static const struct conf laravel = {.laravel_status_queued = words[0],
                                    .laravel_status_retrying = words[1],
                                    .laravel_status_running = words[2],
                                    .laravel_status_done = words[3],
                                    .laravel_status_failed = words[4],
                                    .laravel_status_cancelled = words[5]};
static const struct conf own;

static struct portal_shape shape_of(const struct conf *conf, const char *status_type)
{
    struct portal_shape s;
    shape_begin(&s);
    shape_words(&s, conf);
    shape_row(&s, "status", status_type, NULL, NULL);
    return s;
}

static void assert_text(const struct conf *conf, const char *sql, const char *wanted)
{
    struct portal_shape s = shape_of(conf, "varchar(20)");
    struct buf out = {0};
    assert_true(shape_concerns(sql));
    shape_text(&s, sql, &out);
    assert_string_equal(out.data, wanted);
    buf_free(&out);
}

TEST(test_own_words_leave_the_text_as_it_was)
{
    assert_text(&own, "UPDATE portal_jobs SET status = {done} WHERE status IN ({queued}, {retrying})",
                "UPDATE portal_jobs SET status = 'done' WHERE status IN ('queued', 'retrying')");
    assert_text(&own, "SELECT {status j.status} FROM x WHERE j.status = {word ?}",
                "SELECT j.status FROM x WHERE j.status = ?");
}

TEST(test_words_are_written_and_read_back)
{
    assert_text(
        &laravel,
        "SET status = {done} WHERE status IN ({queued}, {retrying}, {running}, {failed}, {cancelled}) AND x RLIKE 'a{1,64}'",
        "SET status = 'completed' WHERE status IN ('pending', 'pending', 'processing', 'error', 'cancelled') AND x RLIKE 'a{1,64}'");
    assert_text(
        &laravel, "SELECT {status j.status}",
        "SELECT (CASE j.status WHEN 'pending' THEN 'queued' WHEN 'processing' THEN 'running' WHEN 'completed' THEN 'done' WHEN 'error' THEN "
        "'failed' WHEN 'cancelled' THEN 'cancelled' ELSE j.status END)");
    assert_text(
        &laravel, "SET status = {word ?}", /* one parameter, whatever it is */
        "SET status = (CASE ? WHEN 'queued' THEN 'pending' WHEN 'retrying' THEN 'pending' WHEN 'running' THEN 'processing' WHEN 'done' THEN "
        "'completed' WHEN 'failed' THEN 'error' WHEN 'cancelled' THEN 'cancelled' END)");
}

TEST(test_an_event_of_a_job_is_in_those_words)
{
    assert_text(
        &own, "SET {become job.fail}, error = ? WHERE id = ? AND {from job.fail}",
        "SET status = 'failed', finished_at = NOW(3), updated_at = NOW(3), error = ? WHERE id = ? AND status = 'running'");
    assert_text(
        &laravel, "SET {become job.end ?} WHERE {from job.cancel}",
        "SET status = (CASE ? WHEN 'done' THEN 'completed' WHEN 'failed' THEN 'error' WHEN 'cancelled' THEN 'cancelled' END), finished_at = "
        "NOW(3), updated_at = NOW(3) WHERE status IN ('pending', 'pending')");
    assert_text(&laravel, "VALUES ({new job.act})", "VALUES ('processing')");
}

TEST(test_a_shared_word_is_the_first_status)
{
    struct conf one = {.laravel_status_retrying = (char[]){"queued"}};
    assert_text(
        &one, "{status status}",
        "(CASE status WHEN 'queued' THEN 'queued' WHEN 'running' THEN 'running' WHEN 'done' THEN 'done' WHEN 'failed' THEN 'failed' WHEN "
        "'cancelled' THEN 'cancelled' ELSE status END)");
    assert_text(&one, "{retrying} {queued}", "'queued' 'queued'");
}

TEST(test_what_an_enum_lacks)
{
    assert_string_equal(shape_of(&own, "varchar(3)").lacks, "");
    assert_string_equal(shape_of(&own, "enum('queued','running','done','failed')").lacks, "retrying");
    assert_string_equal(shape_of(&laravel, "enum('PENDING','processing','completed','error','cancelled')").lacks,
                        "");
    assert_string_equal(shape_of(&laravel, "enum('pending','processing','it''s, error','completed')").lacks,
                        "error");
    struct portal_shape s = shape_of(&laravel, "enum('x')");
    assert_string_equal(shape_word(&s, "done"), "completed");
    assert_string_equal(shape_word(&s, "open"), "open");
}

TEST(test_columns_are_filled_where_they_are)
{
    static const char sql[] =
        "INSERT INTO portal_jobs (a{payload}) VALUES (?{payload value}) | UPDATE portal_jobs SET a = 1{result} WHERE";
    struct conf both = {.laravel_columns = (char[]){"user_id,  result,payload"}},
                one = {.laravel_columns = (char[]){"payloads result"}};
    assert_text(&both, sql, "INSERT INTO portal_jobs (a) VALUES (?) | UPDATE portal_jobs SET a = 1 WHERE");
    struct portal_shape s = shape_of(&both, "varchar(20)");
    struct buf out = {0};
    shape_row(&s, "payload", "json", NULL, NULL);
    shape_row(&s, "result", "longtext", NULL, NULL);
    shape_text(&s, sql, &out);
    assert_non_null(strstr(out.data, "(a, payload) VALUES (?, JSON_OBJECT('company_id', company_id, "));
    assert_non_null(
        strstr(out.data, "SET a = 1, result = CASE WHEN status = 'done' THEN JSON_OBJECT('ok', true, "));
    buf_clear(&out);
    shape_text(&s, "SET j.a = j.a{result j}", &out);
    assert_non_null(strstr(out.data, ", j.result = CASE WHEN j.status = 'done' THEN"));
    s = shape_of(&one, "varchar(20)");
    shape_row(&s, "payload", "text", NULL, NULL);   /* not named */
    shape_row(&s, "result", "varchar", NULL, "20"); /* too narrow for what it would get */
    assert_false(s.fills[FILL_PAYLOAD] || s.fills[FILL_RESULT]);
    buf_free(&out);
}

TEST(test_the_user_is_one_more_parameter)
{
    static const char sql[] = "INSERT INTO portal_jobs (a{payload}{user}) VALUES (?{payload value}{user value})";
    static const char *const integers[] = {"bigint", "int", "mediumint", "smallint", "tinyint"},
                             *const others[] = {"char", "uuid", "binary", "point", "decimal"};
    struct conf named = {.laravel_columns = (char[]){"payload, user_id"}},
                other = {.laravel_columns = (char[]){"payload, user_ids"}};
    assert_text(&named, sql, "INSERT INTO portal_jobs (a) VALUES (?)"); /* the table has no such column */
    for (unsigned i = 0; i < sizeof(integers) / sizeof(*integers); i++) {
        struct portal_shape s = shape_of(&named, "varchar(20)"), unnamed = shape_of(&other, "varchar(20)"),
                            wrong = s;
        struct buf out = {0};
        shape_row(&s, "USER_ID", integers[i], NULL, NULL);
        shape_row(&unnamed, "user_id", integers[i], NULL, NULL);
        shape_row(&wrong, "user_id", others[i], NULL, "36");
        assert_true(shape_fills_user(&s));
        assert_false(shape_fills_user(&unnamed) || shape_fills_user(&wrong));
        shape_text(&s, sql, &out);
        assert_string_equal(out.data, "INSERT INTO portal_jobs (a, user_id) VALUES (?, ?)");
        buf_free(&out);
    }
}

TEST_MAIN(NULL, NULL)
