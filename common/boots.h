/* SPDX-License-Identifier: MIT */
/*
 * boots.h - tells a restart from two processes, by the boot ids that answer under one robot's URL. Pure: the
 * caller's clock, no I/O.
 *
 * A restart brings a boot id that was never seen, and the old boot id never comes back. An old boot id proves two
 * processes behind one URL (a load balancer, a Kubernetes Service with two pods) if it answers a question that was
 * asked after its successor was first seen. In an answer to an earlier question an old boot id is merely late.
 */
#ifndef CHASQUI_BOOTS_H
#define CHASQUI_BOOTS_H

#include <stdbool.h>
#include <stdint.h>

#define BOOT_ROOM 65

struct jv;

/* Reads the boot id of a robot: "boot_id" of its health (a text, or a number as written; NULL = no health), else
 * its X-Robot-Boot. "" = none. */
void boot_id_read(const struct jv *health, const char *header, char out[BOOT_ROOM]);

#define BOOTS_PAST 8
#define BOOTS_TWO_MS 30000 /* two processes count as two until one of them was not seen for this long */

struct boots {                        /* zero-initialised: none seen */
    char now[BOOT_ROOM];              /* "" = none yet */
    uint64_t now_seen_ms;             /* last seen */
    char next[BOOT_ROOM];             /* differs from `now`, not taken yet; "" = none */
    uint64_t next_seen_ms;            /* first seen */
    char past[BOOTS_PAST][BOOT_ROOM]; /* the ids that were replaced; a ring */
    uint64_t replaced_ms[BOOTS_PAST]; /* first seen: the successor of each */
    unsigned n_past;                  /* total, not limited to the ring */
    char other[BOOT_ROOM];            /* the second process; "" = none */
    uint64_t other_seen_ms;           /* last seen */
};

enum boot_news {
    BOOT_SAME, /* the known boot id, or a second process that is known already */
    /* A restart, unless the old process still answers: the id was never seen, or not for long. boots_take() makes
     * it the known id. */
    BOOT_NEW,
    BOOT_STALE, /* a replaced boot id, in an answer from before its replacement */
    BOOT_TWO    /* proof of a second process that was not known before */
};

/* Judges a boot id in the answer to a question asked at asked_ms. Empty and too long ids are BOOT_SAME. */
enum boot_news boots_see(struct boots *b, const char *boot_id, uint64_t asked_ms, uint64_t now_ms);
/* Records that the robot restarted with this boot id. */
void boots_take(struct boots *b, const char *boot_id, uint64_t now_ms);
bool boots_are_two(const struct boots *b, uint64_t now_ms);

#endif
