/* key.h - CURVE key files: <role>.key (public) and <role>.key_secret (both) of one directory, in zcert format. */
#ifndef CHASQUI_KEY_H
#define CHASQUI_KEY_H

#include <stdbool.h>
#include <stdint.h>

#define KEY_BYTES 32
#define KEY_DIR_BYTES_MAX 200 /* longer paths are refused: zcert_load would cut them */

/* Our own pair. False after logging why; warns when others can read the secret. */
bool key_read_pair(const char *dir, const char *role, uint8_t public_key[KEY_BYTES], uint8_t secret_key[KEY_BYTES]);
/* A peer's public key. False after logging why. */
bool key_read_public(const char *dir, const char *role, uint8_t public_key[KEY_BYTES]);

#endif
