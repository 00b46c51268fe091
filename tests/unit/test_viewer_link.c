/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
#include "dispatcher/store/viewer_link.h"

#include "tests/unit/test.h"
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[] = "/tmp/viewer-key-XXXXXX";

static bool opens(const char *key, mode_t mode)
{
    struct conf conf = {
        .viewer_key_file = path, .viewer_link_s = 3600, .viewer_rights = (char *)(uintptr_t) "view"};
    int fd = open(path, O_WRONLY | O_TRUNC);
    assert_int_equal(write(fd, key, strlen(key)), strlen(key));
    close(fd);
    chmod(path, mode);
    return viewer_link_open(&conf);
}

static void link_is(const char *wanted)
{
    struct buf out = {0};
    viewer_link_add(&out, "https://viewer.example//", "7ee6b849", 1000000);
    assert_string_equal(out.data, wanted);
    buf_free(&out);
}

TEST(test_without_a_key_it_is_the_address_alone)
{
    struct conf none = {0};
    assert_true(viewer_link_open(&none));
    link_is("https://viewer.example/viewer/7ee6b849");
}

/* The signature was made by Python's hmac. */
TEST(test_with_a_key_it_is_signed_and_ends)
{
    assert_true(opens("0123456789abcdef0123456789abcdef\n", 0400));
    link_is("https://viewer.example/viewer/7ee6b849?until=1003600&rights=view&signature="
            "a1d05f7f3be5ebb5175d60aaab538ade81bf6430fe9bcaca148e90b01ff90e79");
    viewer_link_close();
    link_is("https://viewer.example/viewer/7ee6b849");
}

TEST(test_keys_that_are_refused)
{
    assert_false(opens("", 0400));
    assert_false(opens("short\n", 0400));
    assert_false(opens("0123456789abcdef0123456789abcdef\n", 0644));
}

static int file_make(void **state)
{
    (void)state;
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int file_remove(void **state)
{
    (void)state;
    return unlink(path);
}

TEST_MAIN(file_make, file_remove)
