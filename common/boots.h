/* SPDX-License-Identifier: MIT */
/*
 * boots.h - the boot ids that answer under one robot's URL: a restart, or two
 * processes? Pure: the caller's clock, no I/O.
 *
 * A restart brings a boot id that was never seen, and the old one never comes
 * back. An old boot id in an answer to a question that was asked after its
 * successor was seen proves two processes behind one URL (a load balancer, a
 * Kubernetes Service with two pods). News from before that moment are only late.
 */
#ifndef CHASQUI_BOOTS_H
#define CHASQUI_BOOTS_H

#include <stdbool.h>
#include <stdint.h>

#define BOOT_ROOM 65

struct jv;

/* The boot id of a robot: "boot_id" of its health (a text, or a number as it was written; NULL = no health), else its X-Robot-Boot. "" = none. */
void boot_id_read(const struct jv *health, const char *header, char out[BOOT_ROOM]);

#define BOOTS_PAST 8
#define BOOTS_TWO_MS 30000 /* two processes are two until one of them was not seen for this long */

struct boots {                        /* zero-initialised: none seen */
    char now[BOOT_ROOM];              /* "" = none yet */
    uint64_t now_seen_ms;             /* the last time */
    char next[BOOT_ROOM];             /* differs from `now`, not taken yet; "" = none */
    uint64_t next_seen_ms;            /* the first time */
    char past[BOOTS_PAST][BOOT_ROOM]; /* those that were replaced; a ring */
    uint64_t replaced_ms[BOOTS_PAST]; /* when the successor of each was seen first */
    unsigned n_past;                  /* ever */
    char other[BOOT_ROOM];            /* the second process; "" = none */
    uint64_t other_seen_ms;           /* the last time */
};

enum boot_news {
    BOOT_SAME, /* the one that is known, or nothing new of two */
    BOOT_NEW, /* never seen, or not since long: a restart, unless the old one still answers. boots_take() makes it the known one */
    BOOT_STALE, /* one that was replaced, in news from before that */
    BOOT_TWO    /* proof of a second process that was not known */
};

/* A boot id in an answer to what was asked at asked_ms. Empty or too long ids are BOOT_SAME: no news. */
enum boot_news boots_see(struct boots *b, const char *boot_id, uint64_t asked_ms, uint64_t now_ms);
/* The robot restarted: this is its boot id now. */
void boots_take(struct boots *b, const char *boot_id, uint64_t now_ms);
bool boots_are_two(const struct boots *b, uint64_t now_ms);

#endif
