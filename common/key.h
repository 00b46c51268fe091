/* SPDX-License-Identifier: MIT */
/* key.h - CURVE key files in zcert format: <role>.key (public) and <role>.key_secret (both) of one directory. */
#ifndef CHASQUI_KEY_H
#define CHASQUI_KEY_H

#include <stdbool.h>
#include <stdint.h>

#define KEY_BYTES 32
#define KEY_ROLE_BYTES 32     /* with NUL */
#define KEY_DIR_BYTES_MAX 200 /* longer paths are refused: zcert_load would cut them */

/* Reads our own pair. Returns false after logging why; warns when other users can read the secret. */
bool key_read_pair(const char *dir, const char *role, uint8_t public_key[KEY_BYTES],
                   uint8_t secret_key[KEY_BYTES]);
/* Reads a peer's public key. Returns false after logging why. */
bool key_read_public(const char *dir, const char *role, uint8_t public_key[KEY_BYTES]);
/* Reads the key from before the last rotation (<role>-old.key), and its secret. Returns false, without logging,
 * when there is none. */
bool key_read_old(const char *dir, const char *role, uint8_t public_key[KEY_BYTES]);
bool key_read_old_pair(const char *dir, const char *role, uint8_t public_key[KEY_BYTES],
                       uint8_t secret_key[KEY_BYTES]);
/* Reads a public key by its path, and the `role` of its metadata ("" = none, or too long). Returns false, without
 * logging, when the file holds no key. */
bool key_read_file(const char *path, uint8_t public_key[KEY_BYTES], char role[KEY_ROLE_BYTES]);

#endif
