/* SPDX-License-Identifier: MIT */
/*
 * holders.h - how many things of a kind each holder has at present: requests of a company, for example. Pure
 * book-keeping. A holder without any has no row.
 */
#ifndef CHASQUI_HOLDERS_H
#define CHASQUI_HOLDERS_H

#include <stdbool.h>
#include <stdint.h>

struct holders;

struct holders *holders_new(uint64_t each_max);
void holders_destroy(struct holders **hp);
/* Counts one more for `key`. false: it has reached its limit. */
bool holders_take(struct holders *h, uint64_t key);
void holders_give(struct holders *h, uint64_t key); /* gives back a taken one */

#endif
