/* parts: common */
/* SPDX-License-Identifier: MIT */
#include "common/heap.h"

#include "tests/unit/test.h"

#define N 500

TEST(test_smallest_first)
{
    struct heap h = {0};
    struct heap_item it[] = {{.key = 3}, {.key = 1}, {.key = 2}};
    assert_null(heap_min(&h));
    for (int i = 0; i < 3; i++)
        heap_set(&h, &it[i], it[i].key);
    assert_ptr_equal(heap_min(&h), &it[1]);
    heap_set(&h, &it[1], 9); /* moves back */
    assert_ptr_equal(heap_min(&h), &it[2]);
    heap_remove(&h, &it[2]);
    heap_remove(&h, &it[2]); /* not in it: nothing */
    assert_ptr_equal(heap_min(&h), &it[0]);
    assert_int_equal(h.len, 2);
    heap_free(&h);
    assert_null(heap_min(&h));
}

/* Against the plainest model: an array that is searched. */
TEST(test_random_operations)
{
    static struct heap_item it[N];
    struct heap h = {0};
    srandom(7);
    for (int step = 0; step < 20000; step++) {
        struct heap_item *one = &it[random() % N];
        if (random() % 3)
            heap_set(&h, one, (uint64_t)(random() % 1000));
        else
            heap_remove(&h, one);
        const struct heap_item *smallest = NULL;
        size_t members = 0;
        for (int i = 0; i < N; i++) {
            if (!it[i].place)
                continue;
            members++;
            if (!smallest || it[i].key < smallest->key)
                smallest = &it[i];
        }
        assert_int_equal(members, h.len);
        assert_true(!smallest == !heap_min(&h));
        if (smallest)
            assert_int_equal(heap_min(&h)->key, smallest->key);
    }
    uint64_t last = 0;
    for (struct heap_item *min; (min = heap_min(&h));) {
        assert_true(min->key >= last);
        last = min->key;
        heap_remove(&h, min);
    }
    heap_free(&h);
}

TEST_MAIN(NULL, NULL)
