/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
/* test_store_statements.c - prepared statements of a real connection: few are held, those of long ago make room. */
#include "tests/unit/store_fixture.h"

#include "db/db_list.h"

static int64_t server_holds(void)
{
    sql_fine(db_query(
        look,
        "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'Prepared_stmt_count'",
        ""));
    return db_next(look) ? db_i64(look, 0) : -1;
}

/* The server forgets the statements of a connection some time after it was closed. */
static int fresh(void **state)
{
    (void)state;
    db_destroy(&db);
    db = db_new(&conf);
    for (unsigned i = 0; server_holds() > (int64_t)db_counts(look)->held && i < 1000; i++)
        usleep(10000);
    return server_holds() != (int64_t)db_counts(look)->held;
}

static void run_text(unsigned n)
{
    char sql[80];
    snprintf(sql, sizeof(sql), "SELECT %u, ? /* a text of its own */", n);
    assert_int_equal(db_query(db, sql, "u", (uint64_t)n), DB_OK);
    assert_true(db_next(db));
    assert_int_equal(db_u64(db, 0), n);
    assert_int_equal(db_u64(db, 1), n);
}

TEST_WITH(test_any_number_of_texts, fresh, NULL)
{
    int64_t before = server_holds();
    for (unsigned i = 0; i < 3000; i++) {
        run_text(i);
        run_text(1000000); /* used all the time: never the one that goes */
    }
    assert_int_equal(db_counts(db)->held, 200);
    assert_int_equal(db_counts(db)->evicted, 3001 - 200);
    assert_int_equal(server_holds() - before, 200);
}

TEST_WITH(test_rows_stay_while_they_are_read, fresh, NULL)
{
    for (unsigned i = 0; i < 199; i++)
        run_text(i);
    assert_int_equal(db_query(db, "SELECT seq FROM seq_1_to_500", ""), DB_OK);
    for (unsigned n = 1; n <= 500; n++) {
        assert_true(db_next(db));
        assert_int_equal(db_u64(db, 0), n);
    }
    assert_false(db_next(db));
    run_text(200);
    run_text(0); /* made room; prepared anew */
    assert_int_equal(db_counts(db)->held, 200);
}

/* Many threads share what the server can hold. */
TEST_WITH(test_many_connections_hold_fewer_each, fresh, NULL)
{
    struct conf many = conf;
    many.dispatcher_db_threads = 64;
    db_destroy(&db);
    db = db_new(&many);
    for (unsigned i = 0; i < 100; i++)
        run_text(i);
    assert_int_equal(db_counts(db)->held, 4000 / 64);
}

/* The server holds no more than it is allowed to: ours make room. */
TEST_WITH(test_a_server_that_is_full_of_statements, fresh, NULL)
{
    for (unsigned i = 0; i < 20; i++)
        run_text(i);
    char sql[80];
    int64_t held = server_holds();
    snprintf(sql, sizeof(sql), "SET GLOBAL max_prepared_stmt_count = %lld", (long long)held);
    sql_fine(db_run(look, sql, strlen(sql)));
    for (unsigned i = 100; i < 160; i++)
        run_text(i);
    assert_true(db_counts(db)->evicted > 0);
    sql_fine(db_run(look, "SET GLOBAL max_prepared_stmt_count = DEFAULT", 44));
}

TEST_WITH(test_lists_have_few_sizes, fresh, NULL)
{
    unsigned sizes = 0, last = 0;
    uint64_t ids[DB_LIST_MAX];
    for (unsigned n = 1; n <= DB_LIST_MAX; n++) {
        ids[n - 1] = n;
        assert_true(db_list_size(n) >= n);
        sizes += db_list_size(n) != last;
        last = db_list_size(n);
        assert_int_equal(db_query_in_u64(db, "SELECT COUNT(*) FROM seq_1_to_1000 WHERE seq IN (%s) AND seq > ?",
                                         ids, n, "u", (uint64_t)0),
                         DB_OK);
        assert_true(db_next(db));
        assert_int_equal(db_u64(db, 0), n);
    }
    assert_true(sizes <= 5);
    assert_int_equal(db_counts(db)->held, sizes);
}

/* ---- many rows at once -------------------------------------------------------------------------------------- */

static void fill_seq(void *arg, unsigned row, struct db_cell *cells)
{
    cells[0].n = *(uint64_t *)arg + row;
}

static enum db_rc seqs_insert(uint64_t first, unsigned n, uint64_t *ids)
{
    return db_bulk_ids(db, "INSERT INTO t (seq) VALUES (?) RETURNING id", "u", n, fill_seq, &first, ids);
}

TEST_WITH(test_each_of_many_rows_answers_its_number, fresh, NULL)
{
    static const char table[] =
        "CREATE TEMPORARY TABLE t (id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, seq BIGINT UNSIGNED, UNIQUE KEY (seq))";
    uint64_t ids[300] = {0};
    sql_fine(db_run(db, table, sizeof(table) - 1));
    assert_int_equal(seqs_insert(1000, 300, ids), DB_OK);
    assert_int_equal(db_affected(db), 300);
    for (unsigned i = 0; i < 300; i++) {
        sql_fine(db_query(db, "SELECT seq FROM t WHERE id = ?", "u", ids[i]));
        assert_true(db_next(db));
        assert_int_equal(db_u64(db, 0), 1000 + i);
    }
    assert_int_equal(seqs_insert(900, 200, ids), DB_DUP); /* the row 1000 is there */
    assert_int_equal(seqs_insert(5000, 1, ids), DB_OK);
    sql_fine(db_query(db, "SELECT id FROM t WHERE seq = 5000", ""));
    assert_true(db_next(db));
    assert_int_equal(db_u64(db, 0), ids[0]);
}

/* ---- an UPDATE of many rows, each with values of its own ----------------------------------------------------- */

struct own { /* a row of `own` */
    uint64_t id, n;
    const char *s;
};

static void fill_own(void *arg, unsigned row, struct db_cell *cells)
{
    const struct own *one = &((struct own *)arg)[row];
    cells[0].n = one->n;
    cells[1].data = one->s;
    cells[2].n = one->id;
}

static void own_make(void)
{
    static const char table[] =
        "CREATE OR REPLACE TEMPORARY TABLE own (id BIGINT UNSIGNED PRIMARY KEY, n BIGINT UNSIGNED, s VARCHAR(20)) "
        "SELECT seq id, 0 n, 'before' s FROM seq_1_to_300";
    sql_fine(db_run(db, table, sizeof(table) - 1));
}

static void assert_own(uint64_t id, uint64_t n, const char *s)
{
    sql_fine(db_query(db, "SELECT n, s FROM own WHERE id = ?", "u", id));
    assert_true(db_next(db));
    assert_int_equal(db_u64(db, 0), n);
    if (s)
        assert_string_equal(db_str(db, 1, NULL), s);
    else
        assert_true(db_is_null(db, 1));
}

TEST_WITH(test_an_update_gives_each_row_its_own_values, fresh, NULL)
{
    static const char sql[] = "UPDATE own SET n = {each}, s = {each} WHERE {rows} AND n < 10";
    static const unsigned sizes[] = {1, 2, 8, 9, 100, 129, 200, DB_LIST_MAX};
    struct own rows[DB_LIST_MAX];
    for (unsigned size = 0; size < sizeof(sizes) / sizeof(*sizes); size++) {
        unsigned n = sizes[size];
        own_make();
        for (unsigned i = 0; i < n; i++)
            rows[i] = (struct own){n - i, UINT64_MAX - i, i % 3 ? "after" : NULL};
        assert_int_equal(db_update_rows(db, sql, "id", "usu", n, fill_own, rows), DB_OK);
        assert_int_equal(db_affected(db), n);
        for (unsigned i = 0; i < n; i++)
            assert_own(n - i, UINT64_MAX - i, i % 3 ? "after" : NULL);
        assert_own(n + 1, 0, "before");
        /* the rest of the condition holds for each row by itself, and who is not there is not counted */
        rows[0] = (struct own){n + 1, 3, ""};
        rows[1] = (struct own){UINT64_MAX, 3, ""};
        assert_int_equal(db_update_rows(db, sql, "id", "usu", n < 2 ? 2 : n, fill_own, rows), DB_OK);
        assert_int_equal(db_affected(db), 1);
        assert_own(n + 1, 3, "");
    }
}

/* One row is refused: no row is changed, and the error is as that of any other statement. */
TEST_WITH(test_an_update_of_many_rows_is_whole, fresh, NULL)
{
    struct own rows[] = {{1, 1, "x"}, {2, 2, "longer than twenty characters"}, {3, 3, "z"}};
    own_make();
    assert_int_equal(
        db_update_rows(db, "UPDATE own SET n = {each}, s = {each} WHERE {rows}", "id", "usu", 3, fill_own, rows),
        DB_REFUSED);
    for (unsigned i = 1; i <= 3; i++)
        assert_own(i, 0, "before");
    db_forgive(db);
}

/* ---- transactions that the server leaves by itself ---------------------------------------------------------- */

static enum db_rc leaves_tx(struct db *on, void *arg)
{
    unsigned *calls = arg;
    (*calls)++;
    TRY(db_exec(on, "UPDATE chasqui_revision SET revision = revision + 1", ""));
    db_exec(on, *calls == 1 ? "ROLLBACK" : "DO 0",
            ""); /* as a cluster or a proxy does it: nothing says so but the status */
    return db_exec(on, "UPDATE chasqui_revision SET revision = revision + 10", "");
}

TEST_WITH(test_a_torn_transaction_is_run_again_whole, fresh, NULL)
{
    unsigned calls = 0;
    enum db_rc rc;
    int64_t before = number_of("SELECT revision FROM chasqui_revision", "");
    assert_int_equal(db_tx(db, leaves_tx, NULL, &calls, &rc), TX_DONE);
    assert_int_equal(calls, 2);
    assert_int_equal(db_counts(db)->torn, 1);
    assert_number(before + 11, "SELECT revision FROM chasqui_revision", "");
}

static enum db_rc cut_tx(struct db *on, void *arg)
{
    unsigned *calls = arg;
    (*calls)++;
    TRY(db_exec(on, "UPDATE chasqui_revision SET revision = revision + 100", ""));
    db_cut(on);
    db_query(on, "SELECT 1", ""); /* its failure is not looked at */
    return db_exec(on, "UPDATE chasqui_revision SET revision = revision + 1000", "");
}

TEST_WITH(test_nothing_of_a_lost_transaction_runs_outside_of_it, fresh, NULL)
{
    unsigned calls = 0;
    enum db_rc rc;
    int64_t before = number_of("SELECT revision FROM chasqui_revision", "");
    assert_int_equal(db_tx(db, cut_tx, NULL, &calls, &rc), TX_NOT);
    assert_int_equal(rc, DB_GONE);
    assert_number(before, "SELECT revision FROM chasqui_revision", "");
}

TEST_MAIN(server_start, server_stop)
