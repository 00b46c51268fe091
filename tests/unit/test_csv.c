/* parts: ctl */
/* SPDX-License-Identifier: MIT */
#include "ctl/csv.h"

#include "tests/unit/test.h"

static char told[CSV_ROW_BYTES_MAX + 200];

/* A row as "line:[a][b]", a bad one as "line!why". */
static void tell(void *arg, const struct csv_row *row)
{
    size_t len = strlen(told);
    (void)arg;
    len += (size_t)snprintf(told + len, sizeof(told) - len, "%llu%s", (unsigned long long)row->line,
                            row->bad ? "!" : ":");
    if (row->bad)
        len += (size_t)snprintf(told + len, sizeof(told) - len, "%s", row->bad);
    for (unsigned i = 0; i < row->n; i++)
        len += (size_t)snprintf(told + len, sizeof(told) - len, "[%s]", row->field[i]);
    snprintf(told + len, sizeof(told) - len, ";");
}

/* The same whatever the pieces are. */
static void reads_bytes(const char *text, size_t len, const char *wanted)
{
    for (size_t piece = 1; piece <= len + 1; piece += 1 + piece / 3) {
        struct csv *c = csv_new(tell, NULL);
        told[0] = 0;
        for (size_t at = 0; at < len; at += piece)
            csv_feed(c, text + at, len - at < piece ? len - at : piece);
        csv_end(c);
        csv_destroy(&c);
        assert_null(c);
        if (strcmp(told, wanted) != 0)
            fail_msg("%s in pieces of %zu: %s, wanted %s", text, piece, told, wanted);
    }
}

static void reads(const char *text, const char *wanted)
{
    reads_bytes(text, strlen(text), wanted);
}

TEST(test_rows)
{
    reads("", "");
    reads("a", "1:[a];");
    reads("a,b\n1,2\n", "1:[a][b];2:[1][2];");
    reads("a,b\r\n1,2\r\n", "1:[a][b];2:[1][2];");
    reads("a,,\n,b,\n", "1:[a][][];2:[][b][];");
    reads("\n\r\na\n\n\nb\n", "3:[a];6:[b];"); /* empty lines are none */
    reads(" a , b c \t,\" d \" , \"e\" \n,",
          "1:[a][b c][ d ][e];2:[][];"); /* blanks round a field are none of it */
    reads("\xef\xbb\xbf"
          "a\nb",
          "1:[a];2:[b];");
    reads("\xef\xbb"
          "a",
          "1:[\xef\xbb"
          "a];");
    reads("niño,Ñandú", "1:[niño][Ñandú];");
    reads("a\rb\r\r\nc\n\rd", "1:[a];2:[b];4:[c];6:[d];"); /* a lone CR ends a line */
}

TEST(test_separators)
{
    reads("company_id;clave\n7;a,b\n", "1:[company_id][clave];2:[7][a,b];");
    reads("clave;Company ID\n", "1:[clave][Company ID];");
    reads("a,b\tcompany_id\tclave\n1\t\t3", "1:[a,b][company_id][clave];2:[1][][3];");
    reads("company_id|clave\n", "1:[company_id][clave];");
    reads("\"company_id\" ;\"a;b\"\n7; 8", "1:[company_id][a;b];2:[7][8];");
    reads("sep=;\r\na,b;c\r\n", "2:[a,b][c];");
    reads("\"sep=\t\"\na,b\tc", "2:[a,b][c];");
    reads("\n\ncompany_id;b\n", "3:[company_id][b];");
    reads("a;b;c,d\n1;2;3", "1:[a][b][c,d];2:[1][2][3];");
    reads("company_id\n7;8", "1:[company_id];2:[7;8];");
}

TEST(test_quotes)
{
    reads("\"a\",\"b\"\n", "1:[a][b];");
    reads("\"a,b\",c\n", "1:[a,b][c];");
    reads("\"say \"\"no\"\"\",x\n", "1:[say \"no\"][x];");
    reads("\"\",\"\"\"\"\n", "1:[][\"];");
    reads("\"two\nlines\",b\nc\n", "1:[two\nlines][b];3:[c];");
    reads("\"two\r\nlines\"\r\nc", "1:[two\r\nlines];3:[c];");
}

TEST(test_bad_rows)
{
    reads("a\"b,c\nd\n", "1!there is a quote inside a field that does not begin with one;2:[d];");
    reads("\"a\"b,c\nd", "1!there is something behind a closing quote;2:[d];");
    reads("x\n\"a,b\nc,d\n", "1:[x];2!a quote is opened and never closed;");
    reads_bytes("a\0b\nc\n", 6, "1!it holds a NUL;2:[c];");
}

TEST(test_bounds)
{
    char text[CSV_ROW_BYTES_MAX + 100];
    struct csv *c = csv_new(tell, NULL);
    memset(text, 'x', sizeof(text));
    told[0] = 0;
    csv_feed(c, text, sizeof(text));
    csv_feed(c, "\ny\n", 3);
    csv_end(c);
    assert_string_equal(told, "1!the row is longer than 20,000 bytes;2:[y];");
    memset(text, ',', sizeof(text));
    told[0] = 0;
    csv_feed(c, text, CSV_FIELDS_MAX);
    csv_feed(c, "\ny\n", 3);
    assert_string_equal(told, "3!the row has more than 200 fields;4:[y];");
    csv_destroy(&c);
}

TEST_MAIN(NULL, NULL)
