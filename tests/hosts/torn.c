/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/*
 * torn.c - half a transaction, shown against a real cluster, and that ours has none.
 *
 *   torn arrays|store HOST:PORT OTHER:PORT USER PASSWORD DATABASE ROUNDS
 *
 * In each round a transaction on HOST writes 1,000 rows by one array-bound statement, while OTHER updates one of these rows: the
 * cluster aborts the transaction in the middle. `arrays` uses the connector alone, `store` uses db_tx() and db_bulk(). Prints
 * "rounds N aborted N torn N": torn = a transaction that failed has left rows behind, or one that went well lacks some.
 */
#include "common/clock.h"
#include "common/id.h"
#include "db/mariadb.h"

#include <mariadb/mysql.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROWS 1000
#define WRITE "UPDATE torn SET token = ? WHERE id = ?"

struct torn {
    char *host, *other, *user, *password, *name;
    unsigned rounds, aborted, torn, token;
};

static MYSQL *connect_to(const struct torn *t, const char *address)
{
    char host[100];
    const char *colon = strrchr(address, ':');
    snprintf(host, sizeof(host), "%.*s", (int)(colon - address), address);
    MYSQL *my = mysql_init(NULL);
    if (mysql_real_connect(my, host, t->user, t->password, t->name, (unsigned)atoi(colon + 1), NULL, 0))
        return my;
    fprintf(stderr, "%s: %s\n", address, mysql_error(my));
    exit(2);
}

/* On another thread: a moment later the other node writes a row of ours. */
static void *disturb(void *arg)
{
    struct torn *t = arg;
    MYSQL *my = connect_to(t, t->other);
    struct timespec pause = {0, (long)(id_random_u64() % 20000000)};
    nanosleep(&pause, NULL);
    mysql_query(my, "UPDATE torn SET other = other + 1 WHERE id = 1");
    mysql_close(my);
    mysql_thread_end();
    return NULL;
}

static unsigned rows_of(const struct torn *t)
{
    MYSQL *my = connect_to(t, t->host);
    char sql[100];
    snprintf(sql, sizeof(sql), "SELECT COUNT(*) FROM torn WHERE token = %u", t->token);
    MYSQL_RES *rows = mysql_query(my, sql) ? NULL : mysql_store_result(my);
    unsigned n = rows ? (unsigned)atoi(mysql_fetch_row(rows)[0]) : 0;
    mysql_free_result(rows);
    mysql_close(my);
    return n;
}

/* True: committed. */
static bool by_arrays(const struct torn *t)
{
    MYSQL *my = connect_to(t, t->host);
    MYSQL_STMT *stmt = mysql_stmt_init(my);
    unsigned n = ROWS;
    long long token[ROWS], id[ROWS];
    char none[ROWS] = {STMT_INDICATOR_NONE};
    for (unsigned i = 0; i < ROWS; i++) {
        token[i] = t->token;
        id[i] = i + 1;
    }
    MYSQL_BIND bind[2] = {{.buffer_type = MYSQL_TYPE_LONGLONG, .buffer = token, .u.indicator = none},
                          {.buffer_type = MYSQL_TYPE_LONGLONG, .buffer = id, .u.indicator = none}};
    bool is_done = !mysql_query(my, "START TRANSACTION") && !mysql_stmt_prepare(stmt, WRITE, sizeof(WRITE) - 1) &&
                   !mysql_stmt_attr_set(stmt, STMT_ATTR_ARRAY_SIZE, &n) && !mysql_stmt_bind_param(stmt, bind) &&
                   !mysql_stmt_execute(stmt) && (my->server_status & SERVER_STATUS_IN_TRANS) && !mysql_commit(my);
    if (!is_done)
        mysql_rollback(my);
    mysql_stmt_close(stmt);
    mysql_close(my);
    return is_done;
}

static void row_fill(void *arg, unsigned row, struct db_cell *cells)
{
    const struct torn *t = arg;
    cells[0].n = t->token;
    cells[1].n = row + 1;
}

static enum db_rc write_all(struct db *db, void *arg)
{
    struct torn *t = arg;
    t->aborted++;
    return db_bulk(db, WRITE, "uu", ROWS, row_fill, t);
}

static bool by_store(struct db *db, struct torn *t)
{
    enum db_rc rc;
    unsigned before = t->aborted;
    bool is_done = db_tx(db, write_all, NULL, t, &rc) == TX_DONE;
    t->aborted -= is_done && t->aborted > before;
    return is_done;
}

int main(int argc, char **argv)
{
    if (argc != 8)
        return 2;
    struct torn t = {.host = argv[2],
                     .other = argv[3],
                     .user = argv[4],
                     .password = argv[5],
                     .name = argv[6],
                     .rounds = (unsigned)atoi(argv[7])};
    struct conf conf = {.db_host = t.host,
                        .db_user = t.user,
                        .db_password = t.password,
                        .db_name = t.name,
                        .dispatcher_db_threads = 1};
    struct db *db = db_new(&conf);
    bool is_store = strcmp(argv[1], "store") == 0;
    for (unsigned i = 0; i < t.rounds; i++) {
        pthread_t thread;
        t.token++;
        pthread_create(&thread, NULL, disturb, &t);
        bool is_done = is_store ? by_store(db, &t) : by_arrays(&t);
        pthread_join(thread, NULL);
        t.aborted += !is_store && !is_done;
        t.torn += rows_of(&t) != (is_done ? ROWS : 0);
    }
    db_destroy(&db);
    printf("rounds %u aborted %u torn %u\n", t.rounds, t.aborted, t.torn);
    return 0;
}
