/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
#include "db/seal.h"

#include "tests/unit/test.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

struct fixture {
    char dir[40], path[60], other[60];
    struct seal *seal;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    strcpy(f->dir, "/tmp/test_seal.XXXXXX");
    if (!mkdtemp(f->dir))
        return -1;
    snprintf(f->path, sizeof(f->path), "%s/seal.key", f->dir);
    snprintf(f->other, sizeof(f->other), "%s/other.key", f->dir);
    if (seal_key_make(f->path) || !(f->seal = seal_open(f->path)))
        return -1;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    seal_close(&f->seal);
    unlink(f->path);
    unlink(f->other);
    rmdir(f->dir);
    free(f);
    return 0;
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

/* What seal_open makes of a file; its complaint goes to the log, which is not looked at here. */
static bool opens(const char *path)
{
    struct seal *s = seal_open(path);
    bool good = s != NULL;
    seal_close(&s);
    assert_null(s);
    return good;
}

#define ZEROS "0000000000000000000000000000000000000000000000000000000000000000"

TEST(test_a_new_key_is_private_and_never_overwritten)
{
    struct fixture *f = *state;
    struct stat st;
    char text[100] = "", again[100] = "";
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0400);
    assert_int_equal(st.st_size, 65);
    FILE *file = fopen(f->path, "r");
    assert_non_null(fgets(text, sizeof(text), file));
    fclose(file);
    assert_int_equal(strspn(text, "0123456789abcdef"), 64);
    assert_int_equal(seal_key_make(f->path), -EEXIST);
    file = fopen(f->path, "r");
    assert_non_null(fgets(again, sizeof(again), file));
    fclose(file);
    assert_string_equal(text, again);
    assert_int_equal(seal_key_make("/nowhere/at/all/seal.key"), -ENOENT);
}

TEST(test_open_refuses_what_is_no_key)
{
    struct fixture *f = *state;
    assert_true(opens(f->path));
    assert_false(opens("/nowhere/at/all/seal.key"));
    assert_false(opens(f->dir));
    write_file(f->other, ZEROS "\n", 0400);
    assert_true(opens(f->other));
    write_file(f->other, ZEROS, 0600);
    assert_true(opens(f->other));
    static const char *const bad[] = {
        "",        "\n",       "00",
        ZEROS "0", ZEROS "00", ZEROS "\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n0",
        " " ZEROS, "0x" ZEROS, "g000000000000000000000000000000000000000000000000000000000000000"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        write_file(f->other, bad[i], 0400);
        assert_false(opens(f->other));
    }
    static const mode_t open_modes[] = {0404, 0440, 0644, 0660, 0402, 0410};
    for (size_t i = 0; i < sizeof(open_modes) / sizeof(*open_modes); i++) {
        write_file(f->other, ZEROS "\n", open_modes[i]);
        assert_false(opens(f->other));
    }
    /* As systemd hands it to a unit, by an ACL: the group's bits are its mask. */
    setenv("CREDENTIALS_DIRECTORY", f->dir, 1);
    write_file(f->other, ZEROS "\n", 0440);
    assert_true(opens(f->other));
    write_file(f->other, ZEROS "\n", 0444);
    assert_false(opens(f->other));
    write_file(f->other, ZEROS "\n", 0460);
    assert_false(opens(f->other));
    unsetenv("CREDENTIALS_DIRECTORY");
}

TEST(test_the_process_leaves_no_core)
{
    struct rlimit limit;
    assert_int_equal(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
    assert_int_equal(getrlimit(RLIMIT_CORE, &limit), 0);
    assert_int_equal(limit.rlim_max, 0);
}

TEST(test_what_was_sealed_opens)
{
    struct fixture *f = *state;
    static const size_t sizes[] = {0, 1, 15, 16, 17, 1000, 16384, 100000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
        struct buf sealed = {0}, plain = {0};
        char *secret = malloc(sizes[i] + 1);
        memset(secret, 'q', sizes[i]);
        buf_adds(&sealed, "before"); /* both add behind what is there */
        buf_adds(&plain, "before");
        seal_wrap(f->seal, 20123, "sunat", "params", secret, sizes[i], &sealed);
        assert_int_equal(sealed.len, 6 + sizes[i] + SEAL_OVERHEAD);
        if (sizes[i] >= 15)
            assert_null(memmem(sealed.data, sealed.len, "qqqqqqqq", 8));
        assert_true(seal_unwrap(f->seal, 20123, "sunat", "params", sealed.data + 6, sealed.len - 6, &plain));
        assert_int_equal(plain.len, 6 + sizes[i]);
        assert_memory_equal(plain.data, "before", 6);
        assert_memory_equal(plain.data + 6, secret, sizes[i]);
        free(secret);
        buf_wipe(&sealed);
        buf_wipe(&plain);
    }
}

TEST(test_the_same_text_never_looks_the_same)
{
    struct fixture *f = *state;
    struct buf a = {0}, b = {0};
    seal_wrap(f->seal, 1, "sunat", "params", "clave", 5, &a);
    seal_wrap(f->seal, 1, "sunat", "params", "clave", 5, &b);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, 5); /* version and key id */
    assert_memory_not_equal(a.data + 5, b.data + 5, a.len - 5);
    buf_free(&a);
    buf_free(&b);
}

static void refused(struct seal *s, uint64_t company_id, const char *portal, const char *purpose,
                    const struct buf *sealed, size_t len)
{
    struct buf plain = {0};
    assert_false(seal_unwrap(s, company_id, portal, purpose, sealed->data, len, &plain));
    assert_int_equal(plain.len, 0);
    buf_free(&plain);
}

TEST(test_it_opens_for_nobody_else)
{
    struct fixture *f = *state;
    struct buf sealed = {0};
    seal_wrap(f->seal, 12, "sunat", "credentials", "clave", 5, &sealed);
    refused(f->seal, 13, "sunat", "credentials", &sealed, sealed.len);
    refused(f->seal, 1, "2/sunat", "credentials", &sealed, sealed.len);
    refused(f->seal, 12, "sunafil", "credentials", &sealed, sealed.len);
    refused(f->seal, 12, "sunat", "params", &sealed, sealed.len);
    unlink(f->other);
    assert_int_equal(seal_key_make(f->other), 0);
    struct seal *other = seal_open(f->other);
    assert_non_null(other);
    refused(other, 12, "sunat", "credentials", &sealed, sealed.len);
    seal_close(&other);
    buf_free(&sealed);
}

TEST(test_a_changed_bit_or_length_is_refused)
{
    struct fixture *f = *state;
    struct buf sealed = {0};
    seal_wrap(f->seal, 12, "sunat", "params", "clave", 5, &sealed);
    for (size_t len = 0; len < sealed.len; len++)
        refused(f->seal, 12, "sunat", "params", &sealed, len);
    for (size_t bit = 0; bit < sealed.len * 8; bit++) {
        sealed.data[bit / 8] ^= (char)(1 << bit % 8);
        refused(f->seal, 12, "sunat", "params", &sealed, sealed.len);
        sealed.data[bit / 8] ^= (char)(1 << bit % 8);
    }
    buf_add(&sealed, "", 1);
    refused(f->seal, 12, "sunat", "params", &sealed, sealed.len);
    buf_free(&sealed);
}

TEST(test_a_key_is_rotated_under_those_who_have_it_open)
{
    struct fixture *f = *state;
    struct buf before = {0}, after = {0}, plain = {0};
    uint8_t old_id[SEAL_KEY_ID_BYTES], id[SEAL_KEY_ID_BYTES], hash[32], hash_later[32];
    unlink(f->other);
    assert_int_equal(seal_key_make(f->other), 0);
    struct seal *s = seal_open(f->other);
    assert_non_null(s);
    seal_key_id(s, old_id);
    seal_hash(s, "purpose", "x", 1, hash, sizeof(hash));
    seal_wrap(s, 12, "sunat", "params", "clave", 5, &before);
    assert_false(seal_refresh(s)); /* nothing changed */
    assert_int_equal(seal_key_step(f->other, SEAL_ADD), 0);
    assert_int_equal(seal_keys(f->other), 2);
    assert_true(seal_refresh(s));
    seal_key_id(s, id);
    assert_memory_equal(id, old_id, sizeof(id)); /* the new one only opens */
    assert_int_equal(seal_key_step(f->other, SEAL_PROMOTE), 0);
    struct seal *fast = seal_open(f->other);
    seal_wrap(fast, 12, "sunat", "params", "clave", 5, &after);
    assert_true(seal_unwrap(s, 12, "sunat", "params", after.data, after.len,
                            &plain)); /* not refreshed yet: it knows the key */
    assert_true(seal_refresh(s));
    seal_key_id(s, id);
    assert_memory_not_equal(id, old_id, sizeof(id));
    assert_true(seal_unwrap(s, 12, "sunat", "params", before.data, before.len, &plain));
    write_file(f->other, "no key\n", 0400);
    assert_false(seal_refresh(s)); /* a file that cannot be used changes nothing */
    assert_true(seal_unwrap(s, 12, "sunat", "params", after.data, after.len, &plain));
    seal_hash(s, "purpose", "x", 1, hash_later, sizeof(hash_later));
    assert_memory_equal(hash, hash_later, sizeof(hash));
    seal_close(&fast);
    seal_close(&s);

    unlink(f->other);
    assert_int_equal(seal_key_make(f->other), 0);
    s = seal_open(f->other);
    buf_clear(&before);
    seal_wrap(s, 12, "sunat", "params", "clave", 5, &before);
    assert_int_equal(seal_key_step(f->other, SEAL_ADD), 0);
    assert_int_equal(seal_key_step(f->other, SEAL_PROMOTE), 0);
    assert_int_equal(seal_key_step(f->other, SEAL_FORGET), 0);
    assert_int_equal(seal_keys(f->other), 1);
    assert_true(seal_refresh(s));
    refused(s, 12, "sunat", "params", &before, before.len);
    seal_close(&s);
    buf_free(&before);
    buf_free(&after);
    buf_wipe(&plain);
}

TEST_MAIN(setup, teardown)
