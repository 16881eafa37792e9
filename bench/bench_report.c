/* How long the page of a large store takes: bench_report [CELLS] [FOLDER], 100,000 cells of 300 tokens in the
 * current folder: presses x 10 keep ratios x 100 texts. The store is deleted. */
#include "base/os.h"
#include "base/sha256.h"
#include "report/page.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { n_texts = 100, n_ratios = 10, n_scored = 300, n_runs = 3 };

static kvl_err err;
static double nll[n_scored];

static void check(kvl_status status) {
    if (status != KVL_OK) {
        fprintf(stderr, "%s: %s\n", kvl_status_name(status), err.msg);
        exit(1);
    }
}

static double seconds_since(uint64_t start_ns) { return (double)(kvl_clock_ns() - start_ns) * 1e-9; }

/* A loss that falls and rises with what is kept, and differs from press to press and from text to text. */
static void put_cell(kvl_store *s, size_t i) {
    const size_t text_index = i % n_texts, policy_index = i / n_texts;
    const bool is_full = policy_index == 0;
    const size_t press_index = is_full ? 0 : (policy_index - 1) / n_ratios;
    const double keep = is_full ? 1 : 0.95 - 0.09 * (double)((policy_index - 1) % n_ratios);
    char identity[160], press[32], policy[64], text[32];
    snprintf(identity, sizeof identity, "{\"cell\":%zu}", i);
    snprintf(press, sizeof press, is_full ? "none" : "press%zu", press_index);
    snprintf(policy, sizeof policy, is_full ? "none" : "%s:keep=%g", press, keep);
    snprintf(text, sizeof text, "T%zu", text_index);
    kvl_record r = {.identity = identity,
                    .facts = (char *)"{}",
                    .role = is_full ? KVL_ROLE_BASELINE : KVL_ROLE_POLICY,
                    .model = (char *)"made up",
                    .preset = (char *)"",
                    .protocol = (char *)"stream",
                    .press = press,
                    .policy = policy,
                    .sample = text,
                    .text = text,
                    .text_key = (char *)"0123456789abcdef",
                    .keep_ratio = keep,
                    .n_tokens = n_scored + 1,
                    .n_scored = n_scored,
                    .n_events = is_full ? 0 : 9,
                    .kept_mean = keep * n_scored,
                    .kept_min = 1,
                    .kept_max = n_scored,
                    .kv_bytes_live = (uint64_t)(1e6 * keep),
                    .nll = nll};
    for (size_t t = 0; t < n_scored; t++) {
        nll[t] =
            3 + 0.01 * (double)text_index + (is_full ? 0 : fabs(keep - 0.5) * (1 + 0.1 * sin((double)i)));
        r.nll_sum += nll[t];
    }
    memset(r.group, 'a', KVL_KEY_TEXT - 1);
    check(kvl_sha256(r.key, identity, strlen(identity), &err));
    check(kvl_store_put(s, &r, &err));
}

int main(int argc, char **argv) {
    const size_t n = argc > 1 ? (size_t)strtoul(argv[1], NULL, 10) : 100000;
    char path[4096];
    kvl_store *s = NULL;
    snprintf(path, sizeof path, "%s/bench-report.db", argc > 2 ? argv[2] : ".");
    check(kvl_store_open(&s, path, KVL_STORE_WRITE, NULL, NULL, &err));
    for (size_t i = 0; i < n; i++) {
        put_cell(s, i);
    }
    kvl_store_close(s);
    for (int run = 0; run < n_runs; run++) {
        kvl_content content;
        kvl_str page = {0};
        const uint64_t start = kvl_clock_ns();
        check(kvl_store_open(&s, path, KVL_STORE_READ, NULL, NULL, &err));
        check(kvl_content_gather(&content, s, NULL, NULL, &err));
        const double gathered = seconds_since(start);
        check(kvl_page_write(&page, &content, KVL_EN, &err));
        printf("%zu cells: read %.2f s, page of %.1f MB %.2f s\n", n, gathered, (double)page.len * 1e-6,
               seconds_since(start) - gathered);
        kvl_str_free(&page);
        kvl_content_free(&content);
        kvl_store_close(s);
    }
    static const char *const endings[] = {"", "-wal", "-shm", ".lock"};
    for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
        char name[4200];
        snprintf(name, sizeof name, "%s%s", path, endings[i]);
        unlink(name);
    }
    return 0;
}
