/* parts: common */
/* SPDX-License-Identifier: MIT */
#include "common/id.h"

#include "common/clock.h"
#include "tests/unit/test.h"

TEST(test_job_uid_has_its_shape)
{
    bool seen[256] = {false};
    for (int i = 0; i < 2000; i++) {
        char uid[ID_JOB_UID_BYTES];
        long long before = clock_unix_ms() / 1000;
        id_job_uid(uid);
        assert_int_equal(uid[12], '-');
        assert_true(id_job_uid_ok(uid, strlen(uid)));
        long long at = atoll(uid + 13), now = clock_unix_ms() / 1000;
        assert_true(at <= now && at >= before);
        for (int j = 0; j < 12; j++)
            seen[(unsigned char)uid[j]] = true;
    }
    for (const char *p = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"; *p; p++)
        assert_true(seen[(unsigned char)*p]);
}

TEST(test_job_uid_ok)
{
    static const char *const good[] = {"ABC123-1", "ABCDEFGHIJKLMNOP-1700000000", "000000-0"};
    static const char *const bad[] = {
        "",         "ABC12-1",   "ABCDEFGHIJKLMNOPQ-1", "ABC123-", "ABC123",    "abc123-1",
        "ABC123-x", "ABC123-1 ", "ABC 123-1",           "-1",      "ABC123--1", "ABC123-123456789012345678901"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(id_job_uid_ok(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(id_job_uid_ok(bad[i], strlen(bad[i])));
}

TEST(test_request_ids)
{
    char a[ID_REQUEST_BYTES], b[ID_REQUEST_BYTES], longest[130];
    id_request(a);
    id_request(b);
    assert_int_equal(strlen(a), 32);
    assert_string_not_equal(a, b);
    assert_true(id_request_ok(a, 32));
    memset(longest, 'z', sizeof longest);
    assert_true(id_request_ok(longest, 128));
    assert_false(id_request_ok(longest, 129));
    assert_false(id_request_ok("", 0));
    assert_false(id_request_ok("-._", 3));
    assert_true(id_request_ok("A-z.0_9", 7));
    assert_false(id_request_ok("a b", 3));
    assert_false(id_request_ok("a\nb", 3));
    assert_false(id_request_ok("a\0b", 3));
    assert_false(id_request_ok("\xc3\xa9", 2));
}

TEST(test_hex)
{
    char text[9];
    uint8_t raw[4];
    id_hex("\x00\x7f\xAb\xff", 4, text);
    assert_string_equal(text, "007fabff");
    assert_true(id_unhex("007FabFf", 8, raw));
    assert_memory_equal(raw, "\x00\x7f\xAb\xff", 4);
    assert_false(id_unhex("007", 3, raw));
    assert_false(id_unhex("0g", 2, raw));
    assert_false(id_unhex(" 0", 2, raw));
    assert_true(id_unhex("", 0, raw));
}

TEST(test_sha256)
{
    uint8_t digest[32];
    char text[65];
    id_sha256("abc", 3, digest);
    id_hex(digest, sizeof digest, text);
    assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST_MAIN(NULL, NULL)
