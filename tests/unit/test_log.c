/* parts: common */
/* SPDX-License-Identifier: MIT */
#include "common/log.h"

#include "tests/unit/test.h"
#include <fcntl.h>
#include <unistd.h>

/* What log_line wrote, from a pipe in place of standard error. */
struct capture {
    int saved, pipe[2];
    char text[16384];
};

static void capture_begin(struct capture *c)
{
    c->saved = dup(STDERR_FILENO);
    assert_int_equal(pipe(c->pipe), 0);
    dup2(c->pipe[1], STDERR_FILENO);
}

static char *capture_end(struct capture *c)
{
    dup2(c->saved, STDERR_FILENO);
    close(c->saved);
    close(c->pipe[1]);
    size_t len = 0;
    for (ssize_t n; (n = read(c->pipe[0], c->text + len, sizeof c->text - 1 - len)) > 0;)
        len += (size_t)n;
    c->text[len] = '\0';
    close(c->pipe[0]);
    return c->text;
}

TEST(test_line_has_its_shape)
{
    struct capture c;
    char wanted[256];
    log_open("broker", LOG_INFO);
    capture_begin(&c);
    log_line(LOG_INFO, "job_done", "job", log_i(12), "request", "ab12", "none", (char *)NULL, "empty", "", NULL);
    char *text = capture_end(&c);
    snprintf(wanted, sizeof wanted, "Z info broker pid=%d event=job_done job=12 request=ab12 none=- empty=\"\"\n",
             (int)getpid());
    assert_int_equal(strlen(text), 23 + strlen(wanted));
    assert_string_equal(text + 23, wanted);
}

TEST(test_no_value_forges_a_line)
{
    struct capture c;
    capture_begin(&c);
    log_line(LOG_WARN, "bad", "a", "x\n2026 info", "b", "say \"hi\"", "c", "k=v", "d", "back\\slash", "e",
             "\x1b[31m\x7f\xc3\xa9\t\r", NULL);
    char *text = capture_end(&c);
    assert_non_null(strstr(text, " a=\"x\\n2026 info\" b=\"say \\\"hi\\\"\" c=\"k=v\" d=\"back\\\\slash\" "
                                 "e=\"\\x1b[31m\\x7f\\xc3\\xa9\\t\\r\"\n"));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

TEST(test_levels)
{
    struct capture c;
    enum log_level level;
    log_open("broker", LOG_WARN);
    capture_begin(&c);
    log_line(LOG_DEBUG, "no", NULL);
    log_line(LOG_INFO, "no", NULL);
    log_line(LOG_WARN, "yes", NULL);
    log_line(LOG_ERROR, "yes", NULL);
    char *text = capture_end(&c);
    assert_null(strstr(text, "event=no"));
    assert_non_null(strstr(text, " warn broker "));
    assert_non_null(strstr(text, " error broker "));
    assert_false(log_is_on(LOG_INFO));
    assert_true(log_is_on(LOG_ERROR));
    assert_true(log_level_from("debug", &level) && level == LOG_DEBUG);
    assert_true(log_level_from("error", &level) && level == LOG_ERROR);
    assert_false(log_level_from("Error", &level));
    assert_false(log_level_from("", &level));
}

TEST(test_long_lines_are_cut_but_end)
{
    struct capture c;
    char value[6000];
    memset(value, 'v', sizeof value);
    value[sizeof value - 1] = '\0';
    capture_begin(&c);
    log_line(LOG_ERROR, "long", "one", value, "after", "seen", NULL);
    char *text = capture_end(&c);
    assert_non_null(strstr(text, "vvv...\" after=seen\n"));
    memset(value, '\n', sizeof value - 1);
    capture_begin(&c);
    log_line(LOG_ERROR, "long", "1", value, "2", value, "3", value, NULL);
    text = capture_end(&c);
    assert_int_equal(strlen(text), 4096);
    assert_ptr_equal(strchr(text, '\n'), text + 4095);
}

TEST(test_numbers_keep_for_a_while)
{
    const char *n[16];
    char wanted[16];
    for (int i = 0; i < 16; i++)
        n[i] = log_i(i - 3);
    for (int i = 0; i < 16; i++) {
        snprintf(wanted, sizeof wanted, "%d", i - 3);
        assert_string_equal(n[i], wanted);
    }
    assert_string_equal(log_i(-9223372036854775807LL - 1), "-9223372036854775808");
}

/* An object a line, whatever a value holds; numbers are numbers. */
TEST(test_json)
{
    struct capture c;
    char wanted[400], big[2000];
    memset(big, '\x01', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    log_open("broker", LOG_INFO);
    log_format(LOG_JSON);
    capture_begin(&c);
    log_line(LOG_INFO, "job_done", "job", log_i(-12), "request", "12", "none", (char *)NULL, "a",
             "x\n\"}\\\xc3\xa9", NULL);
    log_line(LOG_INFO, "big", "a", big, "b", big, "c", "fits", NULL);
    log_format(LOG_TEXT);
    char *text = capture_end(&c), *second = strchr(text, '\n') + 1;
    snprintf(
        wanted, sizeof wanted,
        "Z\",\"level\":\"info\",\"program\":\"broker\",\"pid\":%d,\"event\":\"job_done\",\"job\":-12,\"request\":\"12\",\"none\":"
        "null,\"a\":\"x\\n\\\"}\\\\\\\\xc3\\\\xa9\"}\n",
        (int)getpid());
    if (strncmp(text + 32, wanted, strlen(wanted)) != 0)
        fail_msg("%s%s", text, wanted);
    assert_true(strlen(second) < 4096 && strcmp(second + strlen(second) - 13, ",\"c\":\"fits\"}\n") == 0);
}

/* Adds to `text` until it has `want`; false when nothing more has come for about quiet_ms. */
static bool reads_until(int fd, char *text, size_t room, const char *want, unsigned quiet_ms)
{
    size_t len = strlen(text);
    for (unsigned quiet = 0; quiet < quiet_ms && !strstr(text, want); quiet++) {
        ssize_t n = read(fd, text + len, room - 1 - len);
        len += n > 0 ? (size_t)n : 0;
        if (n > 0)
            quiet = 0;
        else
            usleep(1000);
    }
    return strstr(text, want) != NULL;
}

/* Last: from here on lines are written by the thread. */
TEST(test_a_reader_that_stands_still_stops_nobody)
{
    static char text[4 * 1024 * 1024];
    char dropped[64];
    int ends[2], saved = dup(STDERR_FILENO);
    const char filler[] =
        "........................................................................................";
    log_open("broker", LOG_INFO);
    log_format(LOG_TEXT);
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    while (write(ends[1], filler, sizeof filler - 1) > 0)
        ;
    fcntl(ends[1], F_SETFL, 0); /* who shares standard error did not ask for O_NONBLOCK */
    dup2(ends[1], STDERR_FILENO);
    log_detach();
    for (unsigned i = 0; i < 20000; i++)
        log_line(LOG_INFO, "line", "text", filler, NULL);
    unsigned long long n = log_dropped();
    bool was_blocked = log_is_blocked();
    snprintf(dropped, sizeof dropped, "event=log_lines_dropped n=%llu ", n);
    bool is_told = reads_until(ends[0], text, sizeof text, dropped, 20000), is_again = false;
    for (unsigned i = 0; i < 20 && !is_again; i++) { /* before there is room again, it is dropped too */
        log_line(LOG_INFO, "again", NULL);
        is_again = reads_until(ends[0], text, sizeof text, " event=again\n", 1000);
    }
    for (unsigned i = 0; i < 20000 && log_is_blocked(); i++)
        usleep(1000);
    bool is_blocked = log_is_blocked();
    dup2(saved, STDERR_FILENO);
    assert_true(n > 100 && n < 20000);
    assert_true(was_blocked && !is_blocked);
    assert_true(is_told && is_again);

    int full = open("/dev/full", O_WRONLY);
    unsigned long long before = log_dropped();
    dup2(full, STDERR_FILENO);
    log_line(LOG_INFO, "lost", NULL);
    log_flush(20000);
    dup2(saved, STDERR_FILENO);
    assert_int_equal(log_dropped(), before + 1);
}

TEST_MAIN(NULL, NULL)
