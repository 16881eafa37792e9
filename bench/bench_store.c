/* Time to open a store of many records, to list one group of them, to read single ones, and to put one.
 *
 * usage: bench_store [RECORDS [FOLDER]]   makes bench-store.db in the folder (.) and removes it
 */
#include "base/os.h"
#include "base/rng.h"
#include "base/sha256.h"
#include "store/store.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { n_scored = 300, n_texts = 20, n_runs = 5, n_single = 1000 };

static double nll[n_scored];
static kvl_err err;

static void check(kvl_status status) {
    if (status != KVL_OK) {
        fprintf(stderr, "bench_store: %s\n", err.msg);
        exit(EXIT_FAILURE);
    }
}

static double seconds_since(uint64_t start) { return (double)(kvl_clock_ns() - start) * 1e-9; }

/* Record i: policy i / n_texts on text i % n_texts, with texts of the lengths that a sweep writes. */
static void fill(kvl_record *r, char *identity, size_t n_identity, char *policy, char *text, size_t i) {
    static char facts[600];
    memset(facts, 'f', sizeof facts - 1);
    snprintf(identity, n_identity, "{\"cell\":%zu,\"of\":\"%0900d\"}", i, 7);
    snprintf(policy, 64, "snapkv(window=32):keep=0.%05zu:sinks=4", i / n_texts);
    snprintf(text, 64, "novel-%zu.txt@%zu", i % n_texts, i);
    *r = (kvl_record){.identity = identity,
                      .facts = facts,
                      .model = (char *)"SmolLM2-135M",
                      .preset = (char *)"paper-quick",
                      .protocol = (char *)"decode",
                      .press = (char *)"snapkv(window=32)",
                      .policy = policy,
                      .sample = text,
                      .text = text,
                      .text_key = (char *)"0123456789abcdef",
                      .keep_ratio = 0.5,
                      .n_tokens = 512,
                      .n_budget = 512,
                      .first_scored = 1,
                      .n_scored = n_scored,
                      .kept_mean = 99,
                      .nll_sum = 1234.5,
                      .nll = nll};
    memset(r->group, 'a', KVL_KEY_TEXT - 1);
    check(kvl_sha256(r->key, identity, strlen(identity), &err));
}

int main(int argc, char **argv) {
    const size_t n = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 100000;
    char path[4096], identity[1200], policy[64], text[64];
    kvl_store *s = NULL;
    kvl_record r;
    snprintf(path, sizeof path, "%s/bench-store.db", argc > 2 ? argv[2] : ".");
    for (size_t i = 0; i < n_scored; i++) {
        nll[i] = 9.0 * (double)kvl_rng_unit(1, 2, i);
    }
    check(kvl_store_open(&s, path, KVL_STORE_WRITE, NULL, NULL, &err));
    uint64_t start = kvl_clock_ns();
    for (size_t i = 0; i < n; i++) {
        fill(&r, identity, sizeof identity, policy, text, i);
        check(kvl_store_put(s, &r, &err));
    }
    printf("put: %.2f ms a record, %zu records, each in a transaction of its own\n",
           seconds_since(start) * 1e3 / (double)n, n);
    kvl_store_close(s);
    for (int run = 0; run < n_runs; run++) {
        kvl_records list;
        start = kvl_clock_ns();
        check(kvl_store_open(&s, path, KVL_STORE_READ, NULL, NULL, &err));
        const double opened = seconds_since(start);
        kvl_store_groups groups;
        start = kvl_clock_ns();
        check(kvl_store_find_groups(s, &groups, &err));
        const double grouped = seconds_since(start);
        start = kvl_clock_ns();
        check(kvl_store_list(s, groups.items[0].group, &list, &err));
        const double listed = seconds_since(start);
        start = kvl_clock_ns();
        for (size_t i = 0; i < n_single; i++) {
            bool is_there = false;
            check(kvl_store_get(s, list.items[i * 7919 % list.n].key, &r, &is_there, &err));
            kvl_record_free(&r);
        }
        printf("open %.4f s, groups %.4f s, list of %zu %.2f s, get %.3f ms each\n", opened, grouped, list.n,
               listed, seconds_since(start) * 1e3 / n_single);
        kvl_records_free(&list);
        kvl_store_groups_free(&groups);
        kvl_store_close(s);
    }
    check(kvl_store_open(&s, path, KVL_STORE_READ, NULL, NULL, &err));
    size_t n_faults = 0;
    start = kvl_clock_ns();
    check(kvl_store_verify(s, NULL, NULL, &n_faults, &err));
    printf("verify %.2f s, %zu faults\n", seconds_since(start), n_faults);
    kvl_store_close(s);
    static const char *const endings[] = {"", "-wal", "-shm", ".lock"};
    for (size_t i = 0; i < 4; i++) {
        char name[4200];
        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        unlink(name);
    }
    return EXIT_SUCCESS;
}
