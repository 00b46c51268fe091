/*
 * seal.h - sealed credentials and params: XChaCha20-Poly1305 (libsodium), key
 * from seal.key_file (64 hex digits, mode 0400), "company/portal/purpose" as associated data.
 * Format: 1 byte version, 4 bytes key id (first bytes of the key's hash), 24
 * bytes nonce, ciphertext+tag. Key memory is locked, not dumped, and wiped.
 */
#ifndef CHASQUI_SEAL_H
#define CHASQUI_SEAL_H

#include "common/buf.h"
#include <stdbool.h>
#include <stdint.h>

struct seal;

#define SEAL_OVERHEAD 45
/* NULL after printing why (no file, wrong mode, wrong length). Also makes the process undumpable
 * (PR_SET_DUMPABLE 0, RLIMIT_CORE 0). */
struct seal *seal_open(const char *key_file);
void seal_close(struct seal **sp);
/* purpose: "credentials", "params" or "answer". */
void seal_wrap(const struct seal *s, uint64_t company_id, const char *portal, const char *purpose, const void *plain,
               size_t len, struct buf *out);
/* false when the bytes were not sealed by this key for this company, portal and purpose. */
bool seal_unwrap(const struct seal *s, uint64_t company_id, const char *portal, const char *purpose, const void *sealed,
                 size_t len, struct buf *out);
/* Keyed hash (BLAKE2b with a key derived from the seal key) of `purpose` and the bytes, out_len 16 to 64: to know something again
 * without keeping what could be guessed from a plain hash. */
void seal_hash(const struct seal *s, const char *purpose, const void *data, size_t len, uint8_t *out, size_t out_len);
/* Writes a new key file (0400), refusing to overwrite. 0 or -errno. */
int seal_key_make(const char *path);

#endif
