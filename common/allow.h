/* SPDX-License-Identifier: MIT */
/*
 * allow.h - the public keys that may connect, each with its role: the files
 * *.key of a directory (zcert format). The role is the certificate's metadata
 * `role`, else the file name up to its first '-' or '.'.
 */
#ifndef CHASQUI_ALLOW_H
#define CHASQUI_ALLOW_H

#include "key.h"
#include <stdint.h>

struct allow;

struct allow *allow_new(const char *dir);
void allow_destroy(struct allow **ap);
/* Reads the directory again when one of its files has changed. The new list replaces the old one as a whole. An
 * unreadable directory admits no key. A file without a key is skipped. Both are logged once per change. */
void allow_refresh(struct allow *a);
/* Returns the role of the key, NULL when the key is not in the list. Valid until the next allow_refresh. */
const char *allow_role(const struct allow *a, const uint8_t key[KEY_BYTES]);

#endif
