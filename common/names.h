/* SPDX-License-Identifier: MIT */
/*
 * names.h - from names to small numbers: where in an array the row of a name stands.
 */
#ifndef CHASQUI_NAMES_H
#define CHASQUI_NAMES_H

#include <stddef.h>
#include <stdint.h>

/* Zero-initialised is empty. Names are borrowed: they must outlive the index, unmoved. */
struct names {
    struct names_slot {
        const char *name; /* NULL = free */
        uint32_t at;
    } * slots;
    uint32_t n, room; /* room: a power of two, at least twice n */
};

#define NAMES_NONE UINT32_MAX

void names_add(struct names *n, const char *name, uint32_t at); /* not there yet */
uint32_t names_find(const struct names *n, const char *name);   /* NAMES_NONE = not there */
void names_clear(struct names *n);                              /* and frees */

#endif
