/* Made-up records and documents for tests of the store: number i of a kind is the same everywhere. */
#ifndef KVL_TESTS_STORE_MADE_UP_H
#define KVL_TESTS_STORE_MADE_UP_H

#include "base/rng.h"
#include "base/sha256.h"
#include "store/store.h"
#include "support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { made_up_nll = 12 };

typedef struct made_up {
    kvl_record record; /* points into this struct */
    char identity[160], policy[64], sample[64];
    double nll[made_up_nll];
} made_up;

/* Uniform in 0..1, all bits in use. */
static inline double made_up_unit(size_t i, size_t j) {
    return (double)(kvl_rng_draw(1, i, j) >> 11) * 0x1p-53;
}

/* Record i of group `group` (a letter): policy i / 4 (0: the baseline) on sample i % 4. */
static inline void make_up(made_up *m, char group, size_t i) {
    memset(m, 0, sizeof *m);
    snprintf(m->identity, sizeof m->identity, "{\"group\":\"%c\",\"cell\":%zu}", group, i);
    snprintf(m->policy, sizeof m->policy, i < 4 ? "none" : "knorm:keep=0.%03zu", i / 4);
    snprintf(m->sample, sizeof m->sample, "text-%zu@0", i % 4);
    m->record = (kvl_record){.identity = m->identity,
                             .facts = (char *)"{\"threads\":2}",
                             .role = i < 4 ? KVL_ROLE_BASELINE : KVL_ROLE_POLICY,
                             .model = (char *)"novels-7m",
                             .preset = (char *)"ucurve",
                             .protocol = (char *)"decode",
                             .press = (char *)(i < 4 ? "none" : "knorm"),
                             .policy = m->policy,
                             .sample = m->sample,
                             .text = m->sample,
                             .text_key = (char *)"0123456789abcdef",
                             .keep_ratio = i < 4 ? (double)NAN : (double)(i / 4) / 1e6,
                             .begin = i,
                             .n_tokens = 2000 + i,
                             .n_budget = 7,
                             .first_scored = 1,
                             .n_scored = made_up_nll,
                             .n_text_bytes = 55,
                             .n_events = 3,
                             .first_event = 2,
                             .last_event = 9,
                             .kept_min = 1,
                             .kept_max = 5,
                             .kept_mean = made_up_unit(i, 100),
                             .kv_bytes_live = (uint64_t)1 << 40,
                             .wall_ns = 123456789,
                             .n_affected = 8,
                             .nll_affected = made_up_unit(i, 101),
                             .nll_affected_full = made_up_unit(i, 102),
                             .nll = m->nll};
    for (size_t j = 0; j < made_up_nll; j++) {
        m->nll[j] = 9 * made_up_unit(i, j);
        m->record.nll_sum += m->nll[j];
    }
    memset(m->record.group, group, KVL_KEY_TEXT - 1);
    (void)!kvl_sha256(m->record.key, m->identity, strlen(m->identity), NULL);
}

/* Whether two records are the same bits; of `found`, NLLs and texts too if is_whole. */
static inline bool made_up_is(const made_up *m, const kvl_record *found, bool is_whole) {
    const kvl_record *r = &m->record;
    const char *const texts[] = {r->model,  r->preset, r->protocol, r->press,
                                 r->policy, r->sample, r->text,     r->text_key};
    const char *const others[] = {found->model,  found->preset, found->protocol, found->press,
                                  found->policy, found->sample, found->text,     found->text_key};
    for (size_t i = 0; i < 8; i++) {
        if (strcmp(texts[i], others[i]) != 0) {
            return false;
        }
    }
    /* the rest of the struct lies between the two last pointers */
    const size_t from = offsetof(kvl_record, begin), to = offsetof(kvl_record, nll);
    if (strcmp(r->key, found->key) != 0 || strcmp(r->group, found->group) != 0 || r->role != found->role ||
        memcmp((const char *)r + from, (const char *)found + from, to - from) != 0 ||
        (isnan(r->keep_ratio) ? !isnan(found->keep_ratio) : r->keep_ratio != found->keep_ratio)) {
        return false;
    }
    return !is_whole || (strcmp(r->identity, found->identity) == 0 && strcmp(r->facts, found->facts) == 0 &&
                         memcmp(r->nll, found->nll, sizeof m->nll) == 0);
}

/* Opens, or fails the test with the message. */
static inline kvl_store *open_store(const char *path, kvl_store_mode mode) {
    kvl_store *s = NULL;
    kvl_err err = {0};
    if (kvl_store_open(&s, path, mode, NULL, NULL, &err) != KVL_OK) {
        fail_msg("%s: %s", kvl_status_name(err.status), err.msg);
    }
    return s;
}

static inline void put_made_up(kvl_store *s, char group, size_t first, size_t end) {
    for (size_t i = first; i < end; i++) {
        made_up m;
        kvl_err err = {0};
        make_up(&m, group, i);
        if (kvl_store_put(s, &m.record, &err) != KVL_OK) {
            fail_msg("record %zu: %s", i, err.msg);
        }
    }
}

/* All of them are there, whole. */
static inline void check_made_up(kvl_store *s, char group, size_t first, size_t end) {
    for (size_t i = first; i < end; i++) {
        made_up m;
        kvl_record found;
        bool is_there = false;
        kvl_err err = {0};
        make_up(&m, group, i);
        if (kvl_store_get(s, m.record.key, &found, &is_there, &err) != KVL_OK) {
            fail_msg("record %zu: %s", i, err.msg);
        }
        assert_true(is_there);
        assert_true(made_up_is(&m, &found, true));
        kvl_record_free(&found);
    }
}

#endif
