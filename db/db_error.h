/* SPDX-License-Identifier: MIT */
/*
 * db_error.h - what an error of the database means, and whom it names. Pure:
 * numbers and texts in, a kind and names out.
 */
#ifndef CHASQUI_DB_ERROR_H
#define CHASQUI_DB_ERROR_H

/* The four kinds of the design (gone, not now, not here, refused), and what is none of them. */
enum db_kind {
    DB_KIND_OTHER,     /* none of the others: logged with its number */
    DB_KIND_GONE,      /* the connection is of no use: reconnect, next host */
    DB_KIND_NOT_NOW,   /* the transaction is lost, and may be run again */
    DB_KIND_NOT_HERE,  /* this server takes no writes: next host */
    DB_KIND_FORGOTTEN, /* the statement has to be prepared again; it was not executed */
    DB_KIND_DUPLICATE, /* a unique key */
    DB_KIND_REFUSED    /* the same statement will be refused again */
};
/* By number, else by SQLSTATE (5 characters). */
enum db_kind db_error_kind(unsigned number, const char *sqlstate);

#define DB_IDENT_ROOM 193 /* 64 characters of utf8mb3 */

/* A refusal in names: which table, and which constraint or column of it. What is not known is "". */
struct db_refusal {
    unsigned number; /* 0 = there was none */
    char table[DB_IDENT_ROOM];
    char constraint[DB_IDENT_ROOM]; /* a foreign key, check or unique key */
    char column[DB_IDENT_ROOM];
    char text[201]; /* a trigger's own words (SIGNAL), else what the number means */
};
/* From the server's message, in any language it may speak (identifiers and quotes are not translated), and from the text of the
 * statement that was refused. The message may be cut. */
void db_refusal_read(struct db_refusal *out, unsigned number, const char *message, const char *sql);
/* "constraint fk of table t", "column c of table t", "table t: words": for a log, a page, a message. */
void db_refusal_words(const struct db_refusal *r, char *out, unsigned room);

#endif
