/* parts: common */
/* SPDX-License-Identifier: MIT */
#include "common/allow.h"

#include "common/log.h"
#include "tests/unit/test.h"
#include <czmq.h>
#include <unistd.h>

static char dir[64];

static const char *path_of(const char *name)
{
    static char path[160];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static int make_dir(void **state)
{
    (void)state;
    log_open("test_allow", (enum log_level)(LOG_ERROR + 1)); /* what it complains of is wanted here */
    strcpy(dir, "/tmp/test_allow.XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    static const char *const names[] = {"broker.key", "dispatcher-2.key", "x.key", "y.key", "z.txt", "d.key"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        remove(path_of(names[i]));
    return rmdir(dir);
}

static void write_key(const char *name, const char *role, uint8_t key[KEY_BYTES])
{
    zcert_t *cert = zcert_new();
    if (role)
        zcert_set_meta(cert, "role", "%s", role);
    memcpy(key, zcert_public_key(cert), KEY_BYTES);
    assert_int_equal(zcert_save_public(cert, path_of(name)), 0);
    zcert_destroy(&cert);
}

static void write_text(const char *name, const char *text)
{
    FILE *f = fopen(path_of(name), "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

TEST_WITH(test_roles, make_dir, remove_dir)
{
    uint8_t by_name[KEY_BYTES], by_prefix[KEY_BYTES], by_metadata[KEY_BYTES], unknown[KEY_BYTES] = {1};
    write_key("broker.key", NULL, by_name);
    write_key("dispatcher-2.key", NULL, by_prefix);
    write_key("x.key", "healthd", by_metadata);
    struct allow *a = allow_new(dir);
    assert_string_equal(allow_role(a, by_name), "broker");
    assert_string_equal(allow_role(a, by_prefix), "dispatcher");
    assert_string_equal(allow_role(a, by_metadata), "healthd");
    assert_null(allow_role(a, unknown));
    allow_destroy(&a);
    assert_null(a);
}

TEST_WITH(test_what_is_no_key_is_left_out, make_dir, remove_dir)
{
    uint8_t good[KEY_BYTES], text[KEY_BYTES], zero[KEY_BYTES] = {0};
    write_key("broker.key", NULL, good);
    write_key("z.txt", NULL, text);
    write_text("x.key", "metadata\ncurve\n    public-key = \"short\"\n");
    write_text("y.key", "curve\n    public-key = \"0000000000000000000000000000000000000000\"\n");
    assert_int_equal(mkdir(path_of("d.key"), 0700), 0);
    struct allow *a = allow_new(dir);
    assert_string_equal(allow_role(a, good), "broker");
    assert_null(allow_role(a, text));
    assert_null(allow_role(a, zero));
    allow_destroy(&a);
}

TEST_WITH(test_changes_are_seen, make_dir, remove_dir)
{
    uint8_t first[KEY_BYTES], second[KEY_BYTES];
    write_key("broker.key", NULL, first);
    struct allow *a = allow_new(dir);
    write_key("x.key", "ctl", second);
    assert_null(allow_role(a, second)); /* not before it looks again */
    allow_refresh(a);
    assert_string_equal(allow_role(a, second), "ctl");
    assert_int_equal(unlink(path_of("broker.key")), 0);
    allow_refresh(a);
    assert_null(allow_role(a, first));
    assert_string_equal(allow_role(a, second), "ctl");
    assert_int_equal(unlink(path_of("x.key")), 0);
    allow_refresh(a);
    assert_null(allow_role(a, second));
    allow_destroy(&a);
}

TEST_WITH(test_a_missing_directory_admits_nobody, make_dir, remove_dir)
{
    uint8_t key[KEY_BYTES];
    char moved[80];
    write_key("broker.key", NULL, key);
    struct allow *a = allow_new(dir);
    snprintf(moved, sizeof moved, "%s.moved", dir);
    assert_int_equal(rename(dir, moved), 0);
    allow_refresh(a);
    assert_null(allow_role(a, key));
    assert_int_equal(rename(moved, dir), 0);
    allow_refresh(a);
    assert_string_equal(allow_role(a, key), "broker");
    allow_destroy(&a);
}

TEST_WITH(test_key_files, make_dir, remove_dir)
{
    uint8_t pub[KEY_BYTES], secret[KEY_BYTES], again[KEY_BYTES];
    zcert_t *cert = zcert_new();
    assert_int_equal(zcert_save(cert, path_of("x.key")), 0);
    assert_true(key_read_pair(dir, "x", pub, secret));
    assert_memory_equal(pub, zcert_public_key(cert), KEY_BYTES);
    assert_memory_equal(secret, zcert_secret_key(cert), KEY_BYTES);
    assert_true(key_read_public(dir, "x", again));
    assert_memory_equal(pub, again, KEY_BYTES);
    assert_int_equal(unlink(path_of("x.key_secret")), 0);
    assert_false(key_read_pair(dir, "x", pub, secret)); /* the public half is no pair */
    assert_true(key_read_public(dir, "x", again));
    assert_false(key_read_public(dir, "nobody", again));
    char deep[300];
    memset(deep, 'd', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    assert_false(key_read_public(deep, "x", again));
    zcert_destroy(&cert);
}

TEST_MAIN(NULL, NULL)
