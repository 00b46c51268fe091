/* SPDX-License-Identifier: MIT */
/*
 * seal.h - sealed credentials and params: XChaCha20-Poly1305 (libsodium) with "company/portal/purpose" as
 * associated data. The keys are in seal.key_file (64 hex digits a line, mode 0400); the first key seals, all open.
 * Format: 1 byte version, 4 bytes key id (first bytes of the key's hash), 24 bytes nonce, ciphertext+tag. Key
 * memory is locked, excluded from dumps, and wiped.
 */
#ifndef CHASQUI_SEAL_H
#define CHASQUI_SEAL_H

#include "common/buf.h"
#include <stdbool.h>
#include <stdint.h>

struct seal;

#define SEAL_OVERHEAD 45
/* Returns NULL after printing why (no file, wrong mode, wrong length). Also makes the process undumpable
 * (PR_SET_DUMPABLE 0, RLIMIT_CORE 0). */
struct seal *seal_open(const char *key_file);
void seal_close(struct seal **sp);
/* Reads the file again if it changed; returns true if the keys changed. Only in the thread of the loop, like
 * seal_unwrap(). */
bool seal_refresh(struct seal *s);
#define SEAL_KEY_ID_BYTES 4
#define SEAL_KEYS_MAX 4
/* The id of the sealing key: bytes 1 to 4 of a text that it sealed. */
void seal_key_id(const struct seal *s, uint8_t id[SEAL_KEY_ID_BYTES]);
/* purpose: "credentials", "params" or "answer". */
void seal_wrap(const struct seal *s, uint64_t company_id, const char *portal, const char *purpose,
               const void *plain, size_t len, struct buf *out);
/* Returns false when the bytes were not sealed by one of the keys for this company, portal and purpose. */
bool seal_unwrap(struct seal *s, uint64_t company_id, const char *portal, const char *purpose, const void *sealed,
                 size_t len, struct buf *out);
/* Keyed hash (BLAKE2b with a key derived from the seal key) of `purpose` and the bytes, out_len 16 to 64. It
 * recognises a text again without storing a plain hash, from which the text could be guessed. */
void seal_hash(const struct seal *s, const char *purpose, const void *data, size_t len, uint8_t *out,
               size_t out_len);
/* Writes a new key file (0400); never overwrites one. 0 or -errno. */
int seal_key_make(const char *path);
/* Rotation: the file becomes [its first key, a new one], then [the new one, the old one], then the new one alone.
 * The key of hashes, which the file names from then on, stays, so that an Idempotency-Key means the same before
 * and after. Each step is one rename. 0 or -errno. */
enum seal_step { SEAL_ADD, SEAL_PROMOTE, SEAL_FORGET };
int seal_key_step(const char *path, enum seal_step step);
unsigned seal_keys(const char *path); /* number of keys in the file; 0 = unusable */

#endif
