/* SPDX-License-Identifier: MIT */
/*
 * ctl.h - what the files of the command `chasqui` share.
 *
 * main.c finds a row of command.def, reads what it needs (configuration,
 * database, tables) and calls its handler; each noun has a file of its own.
 * A handler returns the exit code: it either did all of it or nothing, and said
 * which. With --json, standard output holds exactly one JSON object.
 */
#ifndef CHASQUI_CTL_H
#define CHASQUI_CTL_H

#include "common/conf.h"
#include "common/jv.h"
#include "ctl/args.h"
#include "db/mariadb.h"
#include <stdbool.h>

#define WORDS_SOME 1000
#define WORDS_ANY 1001   /* or none */
#define WORDS_MAYBE 1002 /* one or none */

enum ctl_exit { CTL_DONE = 0, CTL_FAILED = 1, CTL_USAGE = 2 };

/* What a command needs before its handler is called; each includes those before it. */
enum ctl_needs { NEEDS_NOTHING, NEEDS_CONF, NEEDS_DATABASE, NEEDS_TABLES };

struct ctl {
    struct args args;
    struct conf *conf; /* from NEEDS_CONF on */
    struct db *db;     /* from NEEDS_DATABASE on: connected once */
    char actor[161];   /* cli:<user>@<host>, for audit rows */
};

typedef enum ctl_exit ctl_fn(struct ctl *c);

struct command {
    const char *noun, *verb; /* verb "" = the noun alone */
    ctl_fn *fn;
    enum ctl_needs needs;
    /* how many words follow, exactly; WORDS_SOME = one or more, WORDS_ANY = also none, WORDS_MAYBE = one or none */
    unsigned words;
    uint64_t options;  /* OPT_BIT()s it takes */
    uint64_t repeated; /* those of them that may be given more than once */
    const char *usage; /* words and options as the user types them */
    const char *line;  /* one line */
    const char *help;  /* paragraphs */
};
extern const struct command command_table[];
extern const unsigned command_count;

#define COMMAND(noun, verb, handler, needs, words, options, repeated, usage, line, help) ctl_fn handler;
#include "ctl/command.def"
#undef COMMAND

/* ---- help.c ------------------------------------------------------------------------------------------------- */
void help_all(FILE *out);
void help_noun(const char *noun, FILE *out);
void help_command(const struct command *cmd, FILE *out);

/* ---- out.c: what people and programs are told --------------------------------------------------------------- */
/* "chasqui: TEXT" on standard error; with --json also {"ok":false,"message":TEXT}. Returns CTL_FAILED or
 * CTL_USAGE. */
enum ctl_exit ctl_fail(struct ctl *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
enum ctl_exit ctl_usage(struct ctl *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints and frees; "ok":true is added when it is missing. Returns CTL_DONE. */
enum ctl_exit ctl_json(struct jv *body);
/* What became of each of several: with --json {"ok":…,what:list}, else nothing. The list is freed. */
enum ctl_exit ctl_each(const struct ctl *c, const char *what, struct jv *list, bool failed);
/* With --json {"ok":true,"message":TEXT}, else TEXT, a line. Returns CTL_DONE. */
enum ctl_exit ctl_say(struct ctl *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A line of what is shown of one thing; none when the text is NULL or empty. */
void ctl_field(const char *name, const char *text);

/* ---- schedule_set.c ----------------------------------------------------------------------------------------- */
/* A time of the day as HH:MM; false: it is none. */
bool schedule_done_by(const char *text, char out[6]);

/* ---- tx.c: the database for commands ------------------------------------------------------------------------ */
/* Says why the last statement failed. */
enum ctl_exit ctl_db_fail(struct ctl *c, enum db_rc rc);
/* Runs fn in a transaction. CTL_DONE, or a failure that was said; a non-empty `why` (set by fn, which then returns
 * DB_DUP to roll back) is what is said instead of the database's words. was_done as in db_tx(). */
enum ctl_exit ctl_tx(struct ctl *c, enum db_rc (*fn)(struct db *, void *), int (*was_done)(struct db *, void *),
                     void *arg, const char *why);
/* The audit row of a change, in its transaction. */
enum db_rc ctl_audit(struct db *db, const char *actor, const char *action, const char *subject,
                     const char *detail);
/* false after saying that the tables are missing or old. */
bool ctl_tables_ready(struct ctl *c);

#endif
