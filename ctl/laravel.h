/* SPDX-License-Identifier: MIT */
/* laravel.h - is this Laravel's database, and is it ready for our migrations? */
#ifndef CHASQUI_CTL_LARAVEL_H
#define CHASQUI_CTL_LARAVEL_H

#include "common/buf.h"
#include "common/jv.h"
#include "db/mariadb.h"

struct laravel {
    /* in */
    bool was_there;          /* portal_jobs, before anything was done */
    bool is_ours;            /* our migrations were run here before */
    bool is_without_artisan; /* --without-artisan */
    /* out */
    bool has_migrations; /* Laravel's table `migrations` */
    struct buf refused;  /* a line for each reason why artisan comes first, or this is the wrong database */
    struct buf notes;    /* a line for each thing that is good to know: triggers, foreign keys */
    uint64_t rows;       /* of portal_jobs, at most ROWS_COUNTED_MAX */
};

#define ROWS_COUNTED_MAX 1000000

/* Reads definitions and Laravel's list of migrations; changes nothing. */
enum db_rc laravel_look(struct db *db, struct laravel *l);
/* After the migrations: how many rows portal_jobs has. */
enum db_rc laravel_count(struct db *db, struct laravel *l);
/* What became of portal_jobs, behind what was printed (the notes: standard error), and for programs. */
void laravel_print(const struct laravel *l);
void laravel_jv(const struct laravel *l, struct jv *body);
void laravel_free(struct laravel *l);

#endif
