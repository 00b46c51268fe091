/*
 * seal.c - seals credentials and params with the key of seal.key_file.
 *
 * Owns: the key, in locked memory that no core holds and that is overwritten
 * when freed. Must never write plain text or the key to a log. Fails by
 * answering no: a file that others can read, or that holds anything but 64 hex
 * digits, is refused with one line; bytes that were not sealed by this key for
 * this company, portal and purpose do not open, whatever was changed.
 */
#include "dispatcher/seal.h"

#include "common/id.h"
#include "common/log.h"
#include "common/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define KEY_BYTES crypto_aead_xchacha20poly1305_ietf_KEYBYTES
#define NONCE_BYTES crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
#define TAG_BYTES crypto_aead_xchacha20poly1305_ietf_ABYTES
#define KEY_ID_BYTES 4
#define VERSION 1
#define NONCE_AT (1 + KEY_ID_BYTES)
#define TEXT_AT (NONCE_AT + NONCE_BYTES)

_Static_assert(SEAL_OVERHEAD == TEXT_AT + TAG_BYTES, "the head and the tag");

struct seal { /* in guarded memory: sodium_malloc */
    uint8_t key[KEY_BYTES];
    uint8_t hash_key[crypto_generichash_KEYBYTES]; /* derived from it */
    uint8_t key_id[KEY_ID_BYTES];
};

static struct seal *refuse(const char *key_file, const char *why)
{
    log_line(LOG_ERROR, "seal_key_refused", "file", key_file, "why", why, NULL);
    return NULL;
}

/* 64 hex digits, and nothing but white space behind them. */
static bool key_parse(const char *text, size_t len, uint8_t key[KEY_BYTES])
{
    while (len && strchr(" \t\r\n", text[len - 1]))
        len--;
    return len == 2 * KEY_BYTES && id_unhex(text, len, key);
}

static void secrets_guard(void)
{
    struct rlimit none = {0, 0};
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

struct seal *seal_open(const char *key_file)
{
    char text[2 * KEY_BYTES + 16];
    const char *why;
    if (sodium_init() < 0)
        return refuse(key_file, "libsodium does not start");
    secrets_guard();
    ssize_t len = secret_file_read(key_file, text, sizeof(text), &why);
    if (len < 0)
        return refuse(key_file, why);
    struct seal *s = sodium_malloc(sizeof(*s));
    bool good = s && (size_t)len < sizeof(text) && key_parse(text, (size_t)len, s->key);
    sodium_memzero(text, sizeof(text));
    if (!good) {
        why = s ? "it must hold 64 hex digits; chasqui keys init makes one" : "there is no guarded memory for it";
        sodium_free(s);
        return refuse(key_file, why);
    }
    uint8_t hash[32];
    id_sha256(s->key, KEY_BYTES, hash);
    memcpy(s->key_id, hash, KEY_ID_BYTES);
    crypto_kdf_derive_from_key(s->hash_key, sizeof(s->hash_key), 1, "chq-hash", s->key);
    sodium_mprotect_readonly(s);
    return s;
}

void seal_close(struct seal **sp)
{
    if (*sp)
        sodium_free(*sp);
    *sp = NULL;
}

/* What a sealed text is for: it opens for nothing else. */
static void associated(struct buf *out, uint64_t company_id, const char *portal, const char *purpose)
{
    buf_addf(out, "%llu/%s/%s", (unsigned long long)company_id, portal, purpose);
}

void seal_wrap(const struct seal *s, uint64_t company_id, const char *portal, const char *purpose,
               const void *plain, size_t len, struct buf *out)
{
    struct buf ad = {0};
    associated(&ad, company_id, portal, purpose);
    uint8_t *to = (uint8_t *)buf_room(out, len + SEAL_OVERHEAD);
    to[0] = VERSION;
    memcpy(to + 1, s->key_id, KEY_ID_BYTES);
    id_random(to + NONCE_AT, NONCE_BYTES);
    crypto_aead_xchacha20poly1305_ietf_encrypt(to + TEXT_AT, NULL, plain, len, (const uint8_t *)ad.data, ad.len,
                                               NULL, to + NONCE_AT, s->key);
    out->len += len + SEAL_OVERHEAD;
    buf_free(&ad);
}

bool seal_unwrap(const struct seal *s, uint64_t company_id, const char *portal, const char *purpose,
                 const void *sealed, size_t len, struct buf *out)
{
    const uint8_t *from = sealed;
    if (len < SEAL_OVERHEAD || from[0] != VERSION || memcmp(from + 1, s->key_id, KEY_ID_BYTES) != 0)
        return false;
    struct buf ad = {0};
    size_t plain_len = len - SEAL_OVERHEAD;
    associated(&ad, company_id, portal, purpose);
    uint8_t *to = (uint8_t *)buf_room(out, plain_len + 1);
    bool good =
        crypto_aead_xchacha20poly1305_ietf_decrypt(to, NULL, NULL, from + TEXT_AT, plain_len + TAG_BYTES,
                                                   (const uint8_t *)ad.data, ad.len, from + NONCE_AT, s->key) == 0;
    if (good)
        out->len += plain_len;
    out->data[out->len] = 0;
    buf_free(&ad);
    return good;
}

void seal_hash(const struct seal *s, const char *purpose, const void *data, size_t len, uint8_t *out, size_t out_len)
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, s->hash_key, sizeof(s->hash_key), out_len);
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
