/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
#include "dispatcher/robot/hidden_urls.h"

#include "tests/unit/test.h"

#include <strings.h>

static const struct hidden_url farm[] = {{"http://10.0.0.1:8080", "r1"},
                                         {"http://10.0.0.1:8080/west", "r2"},
                                         {"https://robot-three.test", "r3"},
                                         {"http://four", "r4"},
                                         {"http://10.0.0.10:8080", "a-name-longer-than-its-url-was"}};
#define FARM (sizeof(farm) / sizeof(*farm))

static void assert_hidden(const char *text, size_t room, const char *is)
{
    struct hidden_urls *h = hidden_urls_new(farm, FARM);
    char buf[200];
    snprintf(buf, sizeof(buf), "%s", text);
    hidden_urls_replace(h, buf, room ? room : sizeof(buf));
    assert_string_equal(buf, is);
    hidden_urls_destroy(&h);
    assert_null(h);
}

TEST(test_no_robots)
{
    char text[] = "http://10.0.0.1:8080";
    struct hidden_urls *h = hidden_urls_new(NULL, 0);
    hidden_urls_replace(h, text, sizeof(text));
    assert_string_equal(text, "http://10.0.0.1:8080");
    hidden_urls_destroy(&h);
}

TEST(test_a_robot_without_a_url_hides_nothing)
{
    static const struct hidden_url rows[] = {{"", "r0"}, {"http://10.0.0.1:8080", "r1"}};
    char text[60] = "at http://10.0.0.1:8080";
    struct hidden_urls *h = hidden_urls_new(rows, 2);
    hidden_urls_replace(h, text, sizeof(text));
    assert_string_equal(text, "at r1");
    hidden_urls_destroy(&h);
    assert_null(hidden_urls_new(rows, 1));
}

TEST(test_texts_without_any_stay)
{
    static const char *const texts[] = {"",
                                        "h",
                                        "The portal says no.",
                                        "https://portal.test/menu?x=1",
                                        "10.0.0.1",
                                        "a four-letter word",
                                        "http:/four",
                                        "robot-three.tes"};
    for (unsigned i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        assert_hidden(texts[i], 0, texts[i]);
}

TEST(test_each_is_replaced_wherever_it_is)
{
    assert_hidden("http://10.0.0.1:8080", 0, "r1");
    assert_hidden("no answer from http://10.0.0.1:8080/health", 0, "no answer from r1/health");
    assert_hidden("connect to 10.0.0.1:8080 failed", 0, "connect to r1 failed");
    assert_hidden("HTTP://10.0.0.1:8080 and Robot-THREE.test", 0, "r1 and r3");
    assert_hidden("at http://10.0.0.1:8080/west/x", 0, "at r2/x"); /* the longest */
    assert_hidden("to http://four, not four", 0, "to r4, not four");
    assert_hidden("http://10.0.0.10:8080", 0, "a-name-longer-than-its-url-was");
    assert_hidden("robot-three.testrobot-three.test", 0, "r3r3");
}

TEST(test_what_has_no_room_is_cut)
{
    assert_hidden("x http://10.0.0.10:8080 y", 30, "x ");
    assert_hidden("http://10.0.0.10:8080 and more", 34, "a-name-longer-than-its-url-was an");
}

/* ---- against a search for each robot ------------------------------------------------------------------------ */

static bool plain_has(const struct hidden_url *rows, unsigned n, const char *text)
{
    for (unsigned i = 0; i < n; i++) {
        const char *address = strstr(rows[i].url, "://") + 3;
        if (strcasestr(text, strpbrk(address, ".:") ? address : rows[i].url))
            return true;
    }
    return false;
}

/* Texts and URLs of few letters, so that beginnings and ends meet often. */
TEST(test_none_is_overlooked)
{
    enum { ROWS = 40, TEXTS = 20000 };
    static char url[ROWS][40], name[ROWS][8];
    struct hidden_url rows[ROWS];
    unsigned n_found = 0;
    srand(17);
    for (unsigned i = 0; i < ROWS; i++) {
        unsigned len = 4 + (unsigned)rand() % 4;
        strcpy(url[i], "http://");
        for (unsigned k = 0; k < len; k++)
            url[i][7 + k] = "ab.:"[rand() % 4];
        snprintf(name[i], sizeof(name[i]), "#%u", i);
        rows[i] = (struct hidden_url){url[i], name[i]};
    }
    struct hidden_urls *h = hidden_urls_new(rows, ROWS);
    for (unsigned t = 0; t < TEXTS; t++) {
        char text[80] = "", before[80];
        unsigned len = (unsigned)rand() % 16;
        for (unsigned k = 0; k < len; k++)
            text[k] = "aAbB.:x"[rand() % 7];
        strcpy(before, text);
        hidden_urls_replace(h, text, sizeof(text));
        bool is_in = plain_has(rows, ROWS, before);
        assert_int_equal(is_in, strcmp(text, before) != 0);
        assert_false(plain_has(rows, ROWS, text));
        n_found += is_in;
    }
    assert_true(n_found > TEXTS / 20 && n_found < TEXTS);
    hidden_urls_destroy(&h);
}

TEST_MAIN(NULL, NULL)
