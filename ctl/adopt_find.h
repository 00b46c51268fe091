/* SPDX-License-Identifier: MIT */
/*
 * adopt_find.h - which of Laravel's sessions `chasqui adopt` may take in, and on which robots they are.
 */
#ifndef CHASQUI_ADOPT_FIND_H
#define CHASQUI_ADOPT_FIND_H

#include "db/mariadb.h"

#include <stdint.h>

/* the robot of a row `j` of portal_jobs */
#define ROBOT_OF "r.removed = 0 AND r.base_url = TRIM(TRAILING '/' FROM j.robot_worker_base_url)"

struct adopt_found {
    struct adoptable {
        uint64_t job_id;
        uint32_t robot_id;
    } * row; /* sorted by robot, then by job */
    unsigned n;
    struct adopt_unknown {
        char *base_url; /* without slashes at its end */
        uint64_t sessions;
    } * unknown; /* robots that are not registered; most sessions first */
    unsigned n_unknown;
};

/* The newest young row of each company and portal without a live session. *out is zero-initialised by the caller, and
 * is freed by adopt_found_free() whatever the result. */
enum db_rc adopt_find(struct db *db, uint64_t idle_s, struct adopt_found *out);
void adopt_found_free(struct adopt_found *found);

#endif
