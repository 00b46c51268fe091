/* parts: common */
/* SPDX-License-Identifier: MIT */
#include "common/map.h"

#include "tests/unit/test.h"

#define MANY 20000

struct thing {
    unsigned number;
    struct map_node by_id; /* not the first member */
};

static struct thing *found(const struct map *m, uint64_t id)
{
    return map_value(map_find(m, id), struct thing, by_id);
}

TEST(test_each_is_found_until_it_is_removed)
{
    struct map m = {0};
    struct thing *things = calloc(MANY, sizeof(*things));
    assert_null(map_find(&m, 1));
    assert_null(map_first(&m));
    for (unsigned i = 0; i < MANY; i++) {
        things[i].number = i;
        map_add(&m, &things[i].by_id, (uint64_t)i << 20); /* low bits alike */
    }
    assert_int_equal(m.n, MANY);
    for (unsigned i = 0; i < MANY; i += 2)
        map_remove(&m, &things[i].by_id);
    for (unsigned i = 0; i < MANY; i++)
        assert_ptr_equal(found(&m, (uint64_t)i << 20), i % 2 ? &things[i] : NULL);
    assert_null(map_find(&m, 1));
    map_free(&m);
    assert_null(map_find(&m, 1 << 20));
    free(things);
}

TEST(test_several_of_one_key)
{
    struct map m = {0};
    struct thing a = {.number = 1}, b = {.number = 2}, other = {.number = 4};
    unsigned sum = 0;
    map_add(&m, &a.by_id, 7);
    map_add(&m, &other.by_id, 8);
    map_add(&m, &b.by_id, 7);
    for (struct map_node *n = map_find(&m, 7); n; n = map_find_next(n))
        sum += map_value(n, struct thing, by_id)->number;
    assert_int_equal(sum, 3);
    map_remove(&m, &a.by_id);
    assert_ptr_equal(found(&m, 7), &b);
    assert_null(map_find_next(&b.by_id));
    map_free(&m);
}

TEST(test_what_the_walk_stands_on_may_go)
{
    struct map m = {0};
    struct thing *one;
    unsigned seen = 0, left = 0;
    map_each(&m, one, struct thing, by_id)
        fail();
    for (unsigned i = 0; i < MANY; i++) {
        one = calloc(1, sizeof(*one));
        one->number = i;
        map_add(&m, &one->by_id, i);
    }
    map_each(&m, one, struct thing, by_id) {
        seen++;
        if (one->number % 3) {
            map_remove(&m, &one->by_id);
            free(one);
        }
    }
    assert_int_equal(seen, MANY);
    map_each(&m, one, struct thing, by_id) {
        assert_int_equal(one->number % 3, 0);
        left++;
        free(one);
    }
    assert_int_equal(left, m.n);
    map_free(&m);
}

TEST(test_a_hash_of_fields)
{
    uint64_t a[2] = {1, 2}, b[2] = {2, 1};
    assert_int_equal(map_hash(a, sizeof a), map_hash(a, sizeof a));
    assert_int_not_equal(map_hash(a, sizeof a), map_hash(b, sizeof b));
}

TEST_MAIN(NULL, NULL)
