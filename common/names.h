/* SPDX-License-Identifier: MIT */
/*
 * names.h - maps names to small numbers: the index of a name's row in an array.
 */
#ifndef CHASQUI_NAMES_H
#define CHASQUI_NAMES_H

#include <stddef.h>
#include <stdint.h>

/* Zero-initialised = empty. Names are borrowed: they must outlive the index, unmoved. */
struct names {
    struct names_slot {
        const char *name; /* NULL = free */
        uint32_t at;
    } * slots;
    uint32_t n, room; /* room: a power of two, at least twice n */
};

#define NAMES_NONE UINT32_MAX

void names_add(struct names *n, const char *name, uint32_t at); /* must not be in it yet */
uint32_t names_find(const struct names *n, const char *name);   /* NAMES_NONE = not found */
void names_clear(struct names *n);                              /* also frees */

#endif
