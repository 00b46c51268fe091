/* SPDX-License-Identifier: MIT */
/* id.h - random names and hex. All randomness is libsodium's randombytes. */
#ifndef CHASQUI_ID_H
#define CHASQUI_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ID_REQUEST_BYTES 33 /* 32 hex digits + NUL */
#define ID_JOB_UID_BYTES 32 /* "ABCDEFGHIJKL-1700000000" + NUL */
#define ID_BOOT_BYTES 33
#define ID_TOKEN_BYTES 16 /* raw lease token */

void id_random(void *out, size_t len);
uint64_t id_random_u64(void);
void id_request(char out[ID_REQUEST_BYTES]);
void id_job_uid(char out[ID_JOB_UID_BYTES]); /* 12 of [A-Z0-9], '-', unix seconds */
void id_boot(char out[ID_BOOT_BYTES]);       /* 32 hex digits */
/* Checks the form of a caller's X-Request-Id: [A-Za-z0-9._-]{1,128}, with a letter or digit. */
bool id_request_ok(const char *s, size_t len);
/* [A-Z0-9]{6,16}-<digits> */
bool id_job_uid_ok(const char *s, size_t len);
void id_hex(const void *in, size_t len, char *out);      /* writes 2*len+1 bytes */
bool id_unhex(const char *in, size_t hexlen, void *out); /* false when not lower/upper hex of that length */
void id_sha256(const void *in, size_t len, uint8_t out[32]);

#endif
