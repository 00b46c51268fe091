/* SPDX-License-Identifier: MIT */
/*
 * holders.h - how many things of a kind each holder has at present: requests of
 * a company, say. Pure book-keeping; a holder without any has no row.
 */
#ifndef CHASQUI_HOLDERS_H
#define CHASQUI_HOLDERS_H

#include <stdbool.h>
#include <stdint.h>

struct holders;

struct holders *holders_new(uint64_t each_max);
void holders_destroy(struct holders **hp);
/* One more for `key`; false: it has as many as it may. */
bool holders_take(struct holders *h, uint64_t key);
void holders_give(struct holders *h, uint64_t key); /* one that was taken */

#endif
