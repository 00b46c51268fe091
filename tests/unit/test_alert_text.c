/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* test_alert_text.c - alerts as chats and mails get them: bounds, escapes, and texts that try to be more than a text. */
#include "dispatcher/queue/alert_text.h"

#include "common/jv.h"
#include "tests/unit/test.h"

static struct alert_told told[ALERTS_TOLD_MAX];

static struct alert_message message(unsigned n, bool is_spanish)
{
    return (struct alert_message){.told = told, .n = n, .is_spanish = is_spanish};
}

static struct alert_told *one(enum alert_what what, const char *text, const char *text_es)
{
    memset(told, 0, sizeof(told));
    told[0] = (struct alert_told){.id = 17,
                                  .what = what,
                                  .first_ms = 1000000,
                                  .ended_ms = what == ALERT_ENDED ? 1300000 : 0,
                                  .said = {.code = "robot_down", .who = "r1", .is_bad = true}};
    strcpy(told[0].said.text, text);
    strcpy(told[0].said.text_es, text_es);
    strcpy(told[0].said.todo, "Look at it.");
    return told;
}

static char *member(const struct buf *json, const char *key)
{
    enum jv_bad why;
    struct jv *v = jv_parse(json->data, json->len, &why);
    assert_non_null(v);
    const char *text = jv_str(jv_get(v, key));
    char *copy = text ? strdup(text) : NULL;
    jv_free(v);
    return copy;
}

TEST(test_slack_and_telegram)
{
    struct buf out = {0};
    one(ALERT_BEGUN, "Robot <!channel> & <https://evil|ours> is down.", "x");
    struct alert_message m = message(1, false);
    alert_slack(&out, &m);
    char *text = member(&out, "text");
    assert_non_null(strstr(
        text,
        "Robot &lt;!channel&gt; &amp; &lt;https://evil|ours&gt; is down. Look at it. (chasqui alerts ack 17)"));
    free(text);
    buf_clear(&out);
    alert_telegram(&out, &m, "-100123");
    text = member(&out, "text");
    assert_non_null(strstr(text, "Robot <!channel> & <https")); /* no parse_mode: nothing of it is markup */
    free(text);
    text = member(&out, "chat_id");
    assert_string_equal(text, "-100123");
    free(text);
    buf_free(&out);
}

/* Characters beyond the first plane count as two: neither is ever refused as too long. */
TEST(test_long_ones_are_cut)
{
    struct buf out = {0};
    for (unsigned i = 0; i < ALERTS_TOLD_MAX; i++) {
        told[i] = (struct alert_told){.id = i + 1};
        for (unsigned k = 0; k < ALERT_TEXT_MAX; k++)
            strcat(told[i].said.text, "\xf0\x9f\x94\xb4");
    }
    struct alert_message m = message(ALERTS_TOLD_MAX, false);
    m.more = 7;
    alert_telegram(&out, &m, "1");
    char *text = member(&out, "text");
    size_t units = 0;
    for (const char *at = text; *at; at++)
        units += ((unsigned char)*at & 0xc0) == 0x80 ? 0 : (unsigned char)*at >= 0xf0 ? 2 : 1;
    assert_in_range(units, TELEGRAM_UNITS_MAX - 2, TELEGRAM_UNITS_MAX);
    free(text);
    buf_clear(&out);
    alert_title(&out, &m);
    assert_in_range(out.len, 1, 150 * 4);
    assert_ptr_equal(strstr(out.data, "Chasqui: 27 alerts: "), out.data);
    buf_free(&out);
}

TEST(test_a_mail)
{
    static const uint8_t id[ID_TOKEN_BYTES] = {0xab};
    struct buf out = {0};
    one(ALERT_ENDED, "Down\r\nBcc: all@example.com\r\n\r\nhello",
        "El robot est\xc3\xa1 ca\xc3\xad"
        "do\nBcc: x@example.com, y con una explicaci\xc3\xb3n muy larga que no cabe en una l\xc3\xadnea");
    struct alert_message m = message(1, true);
    alert_mail(&out, &m, "chasqui@example.com", "a@example.com,b@example.com", id, 1700000000000);
    assert_null(strstr(out.data, "Bcc"));
    assert_null(strstr(out.data, "\n\n"));
    assert_non_null(strstr(out.data, "\r\nTo: a@example.com,\r\n b@example.com\r\nSubject: =?UTF-8?B?"));
    assert_non_null(strstr(out.data, "\r\nDate: Tue, 14 Nov 2023 22:13:20 +0000\r\nMessage-ID: <chasqui-ab00"));
    for (const char *line = out.data, *end; *line; line = end + 2) {
        end = strstr(line, "\r\n");
        assert_non_null(end);
        assert_in_range(end - line, 0, 78);
        for (const char *at = line; at < end; at++)
            assert_in_range((unsigned char)*at, ' ', '~');
    }
    buf_free(&out);
    alert_lines(&out, &m);
    assert_non_null(strstr(out.data, "termin\xc3\xb3: El robot est\xc3\xa1 ca\xc3\xad"
                                     "doBcc: x@example.com"));
    assert_non_null(strstr(out.data, "Dur\xc3\xb3 5 min.\n"));
    buf_free(&out);
}

TEST_MAIN(NULL, NULL)
