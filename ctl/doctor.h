/* SPDX-License-Identifier: MIT */
/* doctor.h - findings: what is wrong or worth knowing, and what to do about it. */
#ifndef CHASQUI_CTL_DOCTOR_H
#define CHASQUI_CTL_DOCTOR_H

#include "common/jv.h"
#include "db/mariadb.h"
#include <stdbool.h>
#include <stdint.h>

struct findings {
    struct jv *list;    /* {"level":"broken|down|note","check","text","do"}, owned */
    unsigned broken;    /* promises */
    unsigned down;      /* reasons why nothing can be served */
    unsigned checks;    /* how many were made */
    bool is_incomplete; /* the tables are not as `chasqui migrate` leaves them */
};

enum finding_level { FINDING_NOTE, FINDING_BROKEN, FINDING_DOWN };
void finding_add(struct findings *f, enum finding_level level, const char *check, const char *text,
                 const char *remedy);
/* Every check that SQL alone can make. Each is one statement, so it sees one moment. DB_OK when all could be made.
 */
enum db_rc doctor_database(struct db *db, int64_t lease_ms, struct findings *f);

struct conf;
/* Each server of db.host: silent, or all read-only. Takes a few seconds for each that is silent. */
void doctor_hosts(const struct conf *conf, struct findings *f);

#endif
