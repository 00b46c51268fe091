/* SPDX-License-Identifier: MIT */
/*
 * seal.c - seals credentials and params with the keys of seal.key_file.
 *
 * Owns: the keys, in locked memory that is excluded from core dumps and overwritten when freed. The first key of
 * the file seals; the others only open texts sealed before a rotation. Must never write plain text or a key to a
 * log. Fails by refusing. A key file that others can read, or that holds anything but keys of 64 hex digits, is
 * refused with one log line. Bytes that were not sealed by one of these keys for this company, portal and purpose
 * do not open, whatever was changed.
 *
 * The file is read again when it changes (seal_refresh), in the thread of the loop. Database threads may be
 * sealing at that moment, so replaced keys stay in memory until the end.
 */
#include "db/seal.h"

#include "common/check.h"
#include "common/clock.h"
#include "common/id.h"
#include "common/log.h"
#include "common/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEY_BYTES crypto_aead_xchacha20poly1305_ietf_KEYBYTES
#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES
#define KEY_ID_BYTES SEAL_KEY_ID_BYTES
#define VERSION 1
#define NONCE_AT (1 + KEY_ID_BYTES)
#define TEXT_AT (NONCE_AT + NONCE_BYTES)
#define FILE_BYTES_MAX 1024
#define UNKNOWN_LOOK_MS 500 /* minimum interval of looking at the file for an unknown key */
#define HASH_WORD "hash "

_Static_assert(SEAL_OVERHEAD == TEXT_AT + TAG_BYTES, "the head and the tag");
_Static_assert(crypto_generichash_KEYBYTES == KEY_BYTES, "one form for both kinds of keys");

struct ring { /* in guarded memory: sodium_malloc; read-only once made */
    struct {
        uint8_t key[KEY_BYTES], id[KEY_ID_BYTES];
    } key[SEAL_KEYS_MAX];
    unsigned n;
    uint8_t hash_key[KEY_BYTES];
    struct ring *before; /* the ring that it replaced */
};

struct seal {
    _Atomic(struct ring *) ring;
    char *file;
    struct timespec changed;
    ino_t inode;
    uint64_t looked_ms;
    bool is_bad; /* the file is unusable: the keys read before it stay in use */
};

static void refuse(const char *key_file, const char *why)
{
    log_line(LOG_ERROR, "seal_key_refused", "file", key_file, "why", why, NULL);
}

static bool key_add(struct ring *r, const char *line, size_t len)
{
    uint8_t hash[32];
    if (r->n == SEAL_KEYS_MAX || len != 2 * KEY_BYTES || !id_unhex(line, len, r->key[r->n].key))
        return false;
    id_sha256(r->key[r->n].key, KEY_BYTES, hash);
    memcpy(r->key[r->n++].id, hash, KEY_ID_BYTES);
    return true;
}

/* Parses one key per line, and perhaps the key of hashes. Blank lines and trailing white space are ignored. */
static bool ring_parse(struct ring *r, const char *text, size_t len)
{
    bool has_hash = false;
    for (const char *at = text, *end = text + len; at < end;) {
        const char *eol = memchr(at, '\n', (size_t)(end - at));
        const char *next = eol ? eol + 1 : end;
        size_t n = (size_t)((eol ? eol : end) - at);
        while (n && strchr(" \t\r", at[n - 1]))
            n--;
        if (n > strlen(HASH_WORD) && memcmp(at, HASH_WORD, strlen(HASH_WORD)) == 0) {
            if (has_hash || n != strlen(HASH_WORD) + 2 * KEY_BYTES ||
                !id_unhex(at + strlen(HASH_WORD), 2 * KEY_BYTES, r->hash_key))
                return false;
            has_hash = true;
        } else if (n && !key_add(r, at, n)) {
            return false;
        }
        at = next;
    }
    if (r->n && !has_hash)
        crypto_kdf_derive_from_key(r->hash_key, sizeof(r->hash_key), 1, "chq-hash", r->key[0].key);
    return r->n > 0;
}

static void secrets_guard(void)
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

static struct ring *ring_read(const char *key_file)
{
    char text[FILE_BYTES_MAX];
    const char *why = NULL;
    ssize_t len = secret_file_read(key_file, text, sizeof(text), &why);
    if (len < 0) {
        refuse(key_file, why);
        return NULL;
    }
    struct ring *r = sodium_malloc(sizeof(*r));
    if (r)
        memset(r, 0, sizeof(*r));
    bool good = r && (size_t)len < sizeof(text) && ring_parse(r, text, (size_t)len);
    sodium_memzero(text, sizeof(text));
    if (good)
        return r;
    refuse(key_file,
           r ? "it must hold 64 hex digits; chasqui keys init makes one" : "there is no guarded memory for it");
    sodium_free(r);
    return NULL;
}

/* Whether the file has changed since it was read. */
static bool file_look(struct seal *s)
{
    struct stat st;
    if (stat(s->file, &st) != 0)
        return false;
    bool is_new = st.st_ino != s->inode || st.st_mtim.tv_sec != s->changed.tv_sec ||
                  st.st_mtim.tv_nsec != s->changed.tv_nsec;
    s->inode = st.st_ino;
    s->changed = st.st_mtim;
    return is_new;
}

struct seal *seal_open(const char *key_file)
{
    if (sodium_init() < 0) {
        refuse(key_file, "libsodium does not start");
        return NULL;
    }
    secrets_guard();
    struct seal *s = xcalloc(1, sizeof(*s));
    s->file = xstrdup(key_file);
    file_look(s);
    struct ring *r = ring_read(key_file);
    if (!r) {
        seal_close(&s);
        return NULL;
    }
    sodium_mprotect_readonly(r);
    atomic_store(&s->ring, r);
    return s;
}

bool seal_refresh(struct seal *s)
{
    s->looked_ms = clock_ms();
    if (!file_look(s))
        return false;
    struct ring *r = ring_read(s->file), *now = atomic_load(&s->ring);
    if (!r)
        return false;
    bool is_same = r->n == now->n && memcmp(r->key, now->key, sizeof(r->key)) == 0 &&
                   memcmp(r->hash_key, now->hash_key, KEY_BYTES) == 0;
    if (is_same) {
        sodium_free(r);
        return false;
    }
    char id[2 * KEY_ID_BYTES + 1];
    id_hex(r->key[0].id, KEY_ID_BYTES, id);
    log_line(LOG_INFO, "seal_keys_read", "file", s->file, "keys", log_i(r->n), "seals_with", id, NULL);
    r->before = now;
    sodium_mprotect_readonly(r);
    atomic_store(&s->ring, r);
    return true;
}

void seal_key_id(const struct seal *s, uint8_t id[SEAL_KEY_ID_BYTES])
{
    memcpy(id, atomic_load(&s->ring)->key[0].id, SEAL_KEY_ID_BYTES);
}

void seal_close(struct seal **sp)
{
    struct seal *s = *sp;
    if (!s)
        return;
    *sp = NULL;
    for (struct ring *r = atomic_load(&s->ring), *before; r; r = before) {
        before = r->before;
        sodium_free(r);
    }
    free(s->file);
    free(s);
}

/* The purpose of a sealed text, as associated data: it does not open for any other purpose. */
static void associated(struct buf *out, uint64_t company_id, const char *portal, const char *purpose)
{
    buf_addf(out, "%llu/%s/%s", (unsigned long long)company_id, portal, purpose);
}

void seal_wrap(const struct seal *s, uint64_t company_id, const char *portal, const char *purpose,
               const void *plain, size_t len, struct buf *out)
{
    struct buf ad = {0};
    const struct ring *r = atomic_load(&s->ring);
    associated(&ad, company_id, portal, purpose);
    uint8_t *to = (uint8_t *)buf_room(out, len + SEAL_OVERHEAD);
    to[0] = VERSION;
    memcpy(to + 1, r->key[0].id, KEY_ID_BYTES);
    id_random(to + NONCE_AT, NONCE_BYTES);
    crypto_aead_xchacha20poly1305_ietf_encrypt(to + TEXT_AT, NULL, plain, len, (const uint8_t *)ad.data, ad.len,
                                               NULL, to + NONCE_AT, r->key[0].key);
    out->len += len + SEAL_OVERHEAD;
    buf_free(&ad);
}

static const uint8_t *key_of(const struct seal *s, const uint8_t id[KEY_ID_BYTES])
{
    const struct ring *r = atomic_load(&s->ring);
    for (unsigned i = 0; i < r->n; i++)
        if (memcmp(r->key[i].id, id, KEY_ID_BYTES) == 0)
            return r->key[i].key;
    return NULL;
}

bool seal_unwrap(struct seal *s, uint64_t company_id, const char *portal, const char *purpose, const void *sealed,
                 size_t len, struct buf *out)
{
    const uint8_t *from = sealed;
    if (len < SEAL_OVERHEAD || from[0] != VERSION)
        return false;
    const uint8_t *key = key_of(s, from + 1);
    if (!key && clock_ms() >= s->looked_ms + UNKNOWN_LOOK_MS &&
        seal_refresh(s)) /* another process was faster to read a new key */
        key = key_of(s, from + 1);
    if (!key)
        return false;
    struct buf ad = {0};
    size_t plain_len = len - SEAL_OVERHEAD;
    associated(&ad, company_id, portal, purpose);
    uint8_t *to = (uint8_t *)buf_room(out, plain_len + 1);
    bool good =
        crypto_aead_xchacha20poly1305_ietf_decrypt(to, NULL, NULL, from + TEXT_AT, plain_len + TAG_BYTES,
                                                   (const uint8_t *)ad.data, ad.len, from + NONCE_AT, key) == 0;
    if (good)
        out->len += plain_len;
    out->data[out->len] = 0;
    buf_free(&ad);
    return good;
}

void seal_hash(const struct seal *s, const char *purpose, const void *data, size_t len, uint8_t *out,
               size_t out_len)
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, atomic_load(&s->ring)->hash_key, KEY_BYTES, out_len);
    crypto_generichash_update(&state, (const uint8_t *)purpose, strlen(purpose) + 1);
    crypto_generichash_update(&state, data, len);
    crypto_generichash_final(&state, out, out_len);
}

int seal_key_make(const char *path)
{
    uint8_t key[KEY_BYTES];
    char text[2 * KEY_BYTES + 2];
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0400);
    if (fd < 0)
        return -errno;
    id_random(key, sizeof(key));
    id_hex(key, sizeof(key), text);
    text[2 * KEY_BYTES] = '\n';
    ssize_t written = write(fd, text, 2 * KEY_BYTES + 1);
    int failed = written < 0 ? errno : ENOSPC;
    sodium_memzero(key, sizeof(key));
    sodium_memzero(text, sizeof(text));
    bool good = written == 2 * KEY_BYTES + 1 && fsync(fd) == 0;
    close(fd);
    if (good)
        return 0;
    unlink(path);
    return -failed;
}

unsigned seal_keys(const char *path)
{
    struct ring *r = sodium_init() < 0 ? NULL : ring_read(path);
    unsigned n = r ? r->n : 0;
    sodium_free(r);
    return n;
}

static int ring_write(const struct ring *r, const char *path)
{
    struct buf text = {0}, temp = {0};
    char hex[2 * KEY_BYTES + 1];
    for (unsigned i = 0; i < r->n; i++) {
        id_hex(r->key[i].key, KEY_BYTES, hex);
        buf_addf(&text, "%s\n", hex);
    }
    id_hex(r->hash_key, KEY_BYTES, hex);
    buf_addf(&text, HASH_WORD "%s\n", hex);
    buf_addf(&temp, "%s.new", path);
    unlink(temp.data);
    int fd = open(temp.data, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0400),
        failed = fd < 0 ? errno : 0;
    if (!failed) {
        struct stat st;
        ssize_t written = write(fd, text.data, text.len);
        failed = written < 0 ? errno : written != (ssize_t)text.len ? ENOSPC : fsync(fd) != 0 ? errno : 0;
        if (!failed && stat(path, &st) == 0 &&
            fchown(fd, st.st_uid, st.st_gid) != 0) /* the dispatcher's user reads it */
            failed = errno;
        close(fd);
        failed = failed ? failed : rename(temp.data, path) == 0 ? 0 : errno;
        if (failed)
            unlink(temp.data);
    }
    sodium_memzero(hex, sizeof(hex));
    buf_wipe(&text);
    buf_free(&temp);
    return -failed;
}

int seal_key_step(const char *path, enum seal_step step)
{
    struct ring *r = sodium_init() < 0 ? NULL : ring_read(path);
    int rc = r && r->n < SEAL_KEYS_MAX ? 0 : -EINVAL;
    if (!rc) {
        uint8_t first[KEY_BYTES];
        switch (step) {
        case SEAL_ADD:
            id_random(r->key[r->n++].key, KEY_BYTES);
            break;
        case SEAL_PROMOTE: /* the last key becomes the first */
            memcpy(first, r->key[r->n - 1].key, KEY_BYTES);
            memmove(&r->key[1], &r->key[0], (r->n - 1) * sizeof(r->key[0]));
            memcpy(r->key[0].key, first, KEY_BYTES);
            break;
        case SEAL_FORGET:
            r->n = 1;
            break;
        }
        sodium_memzero(first, sizeof(first));
        rc = ring_write(r, path);
    }
    sodium_free(r);
    return rc;
}
