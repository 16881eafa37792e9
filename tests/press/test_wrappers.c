/* Presses around presses: budgets and choices against written-out arithmetic, how they nest, and where keys
 * stand after compressions that move them. */
#include "support.h"

#include "engine/engine.h"
#include "kernel/kernel.h"
#include "press/select.h"

#include <math.h>
#include <string.h>

static void check_error(const char *text, const char *part) {
    kvl_policy p;
    kvl_err err = {0};
    kvl_policy_init(&p);
    assert_int_equal(kvl_policy_parse(&p, text, &err), KVL_E_USAGE);
    if (strstr(err.msg, part) == NULL) {
        fail_msg("%s: expected '%s' in '%s'", text, part, err.msg);
    }
}

/* ---- budgets ---- */

static void check_lengths(const char *text, size_t n, const size_t *expected, uint32_t n_layers) {
    const kvl_policy p = test_policy(text);
    const kvl_shape shape = {.n_layers = n_layers, .n_kv_heads = 1};
    const kvl_moment now = {.n_seen = n, .n_prefill = n};
    for (uint32_t layer = 0; layer < n_layers; layer++) {
        const size_t found = kvl_policy_target(&p, &shape, &now, layer, 0, n);
        if (found != expected[layer]) {
            fail_msg("%s: layer %u: expected %zu, found %zu", text, layer, expected[layer], found);
        }
    }
}

static void test_budgets_of_layers(void **state) {
    (void)state;
    /* b 40: least 40 / 4 = 10, most 70, below 100 - 8; steps of 15 */
    check_lengths("pyramid(knorm,window=8,beta=4):size=40", 100, (size_t[]){70, 55, 40, 25, 10}, 5);
    /* b 60: most 105 is above 92, so 92 and 28; steps of 16 */
    check_lengths("pyramid(knorm,window=8,beta=4):size=60", 100, (size_t[]){92, 76, 60, 44, 28}, 5);
    /* least 5 is below the window: all alike */
    check_lengths("pyramid(knorm,window=8,beta=4):size=20", 100, (size_t[]){20, 20, 20}, 3);
    /* b 41, beta 2: least 20.5, most 61.5; halves to even: 62 and 20 */
    check_lengths("pyramid(knorm,window=8,beta=2):size=41", 100, (size_t[]){62, 41, 20}, 3);
    check_lengths("pyramid(knorm,window=8,beta=4):size=40", 100, (size_t[]){70}, 1);
    /* ceil(0.5 * 101), and so on; the policy's own is not used */
    check_lengths("per-layer(knorm,keep=0.5x2+0.101):keep=0.9", 101, (size_t[]){51, 51, 11, 11}, 4);
    check_lengths("per-layer(knorm,keep=0):size=50", 10, (size_t[]){1, 1}, 2);
    check_lengths("per-layer(knorm,keep=0.5):skip=0", 10, (size_t[]){10, 5}, 2);
}

static void test_budgets_of_parts(void **state) {
    (void)state;
    check_lengths("composed(knorm:keep=0.5,keydiff:keep=0.5)", 201, (size_t[]){51}, 1); /* 101, 51 */
    check_lengths("composed(knorm,keydiff):keep=0.25", 200, (size_t[]){50}, 1);
    check_lengths("composed(knorm:keep=0.5,keydiff):size=30", 200, (size_t[]){30}, 1);
    check_lengths("composed(knorm,keydiff:keep=0.5):size=60", 200, (size_t[]){30}, 1);
    check_lengths("composed(knorm:size=20,keydiff):size=30", 200, (size_t[]){20}, 1);
    check_lengths("composed(composed(knorm,keydiff),recency):keep=0.125", 512, (size_t[]){64}, 1);
    check_lengths("composed(per-layer(knorm,keep=1+0.5),keydiff:keep=0.5)", 200, (size_t[]){100, 50}, 2);
    check_lengths("composed(knorm,keydiff):keep=0.25:skip=0", 200, (size_t[]){200, 50}, 2);
    const kvl_policy p = test_policy("composed(knorm,keydiff):keep=0.36");
    const kvl_shape shape = {.n_layers = 1, .n_kv_heads = 1};
    assert_int_equal(kvl_press_part_target(p.tree, 0, &shape, 0, 200, 72), 120); /* sqrt(0.36) */
    assert_int_equal(kvl_press_part_target(p.tree, 1, &shape, 0, 120, 72), 72);
}

static void test_text(void **state) {
    (void)state;
    check_error("criticalkv(keydiff)",
                "press criticalkv: expected a press whose scores are 0 or more within it, "
                "found keydiff");
    check_error("adakv(critical-adakv(knorm))", "found knorm");
    check_error("chunk(observed)", "found observed, which looks at the attention of all tokens");
    check_error("chunk(adakv(expected-attention))", "sums over all queries");
    check_error("adakv(composed(knorm,keydiff))", "as in composed(adakv(A),B)");
    check_error("composed(key-rerotation(knorm),keydiff)", "leave keys where they are, found key-rerotation");
    check_error("composed(knorm,decoding(keydiff))", "found decoding");
    check_error("composed(kvzip,knorm)", "found kvzip");
    check_error("merging(key-rerotation(knorm))", "key-rerotation(merging(...))");
    check_error("key-rerotation(key-rerotation(knorm))", "leaves keys where they are");
    check_error("key-rerotation(knorm):order=score", "order: expected time");
    check_error("key-rerotation(knorm):positions=true", "positions: expected cache-length");
    assert_true(test_policy("key-rerotation(knorm)").is_cache_length_position);
    assert_true(!test_policy("merging(knorm)").is_cache_length_position);
    kvl_str text = {0};
    const kvl_policy p = test_policy("merging(adakv(criticalkv(snapkv(window=16)),alpha=0.3),0.5)");
    kvl_policy_press_text(&p, &text);
    assert_string_equal(kvl_str_text(&text),
                        "merging(adakv(criticalkv(snapkv(window=16)),alpha=0.3),threshold=0.5)");
    kvl_str_free(&text);
}

/* ---- one layer of a cache that the test fills: 2 heads of 2 dimensions, without rotation ---- */

enum { n_heads = 2, most_entries = 16 };

typedef struct layer {
    kvl_shape shape;
    kvl_cache *cache;
    kvl_layer_view view;
    kvl_head_view heads[n_heads];
    float scores[n_heads][most_entries];
    uint32_t slots[n_heads][most_entries];
    kvl_choice choices[n_heads];
} layer;

static float scratch[1 << 18];
static char bytes[1 << 12];

static void open_layer(layer *l, const float (*keys)[2], const float (*values)[2], size_t n, size_t target) {
    *l = (layer){.shape = {.n_layers = 1, .n_heads = 2, .n_kv_heads = n_heads, .head_dim = 2}};
    const kvl_kernels *kernels = NULL;
    assert_ok(kvl_kernels_get(&kernels, NULL, NULL));
    assert_ok(kvl_cache_create(&l->cache, &l->shape, NULL));
    assert_ok(kvl_cache_reserve(l->cache, n, NULL));
    l->view = (kvl_layer_view){
        .shape = &l->shape, .kernels = kernels, .heads = l->heads, .n_seen = n, .cache = l->cache};
    for (uint32_t k = 0; k < n_heads; k++) {
        for (size_t j = 0; j < n; j++) {
            kvl_cache_append(l->cache, 0, k, keys[k * n + j], values[k * n + j], (int32_t)j);
        }
        l->heads[k] = (kvl_head_view){.in = &l->view,
                                      .head = k,
                                      .n = n,
                                      .positions = kvl_cache_entries(l->cache, 0, k).positions,
                                      .target = target};
        l->choices[k].slots = l->slots[k];
    }
}

static void choose(layer *l, const kvl_policy *p) {
    float *scores[n_heads] = {l->scores[0], l->scores[1]};
    assert_true(kvl_press_scratch_floats(p->tree, &l->shape, most_entries) <
                sizeof scratch / sizeof *scratch);
    kvl_press_score_layer(p->tree, &l->view, scores, scratch);
    assert_ok(kvl_press_select(p->tree, &l->view, scores, l->choices, &p->protections, scratch, bytes, NULL));
    for (uint32_t k = 0; k < n_heads; k++) {
        kvl_press_alter(p->tree, &l->heads[k], l->cache, &l->choices[k], scratch);
    }
}

static void check_choice(const layer *l, uint32_t head, const uint32_t *expected, size_t n) {
    assert_int_equal(l->choices[head].n, n);
    assert_memory_equal(l->choices[head].slots, expected, n * sizeof *expected);
}

/* knorm(high): the scores are the first numbers of the keys. Chunks of 3 of 7 entries: sums over heads 3 9 6
 * | 8 2 2 | 7, means 6, 4, 7. */
static void test_chunks_of_neighbours(void **state) {
    (void)state;
    static const float keys[14][2] = {{1}, {5}, {2}, {7}, {1}, {1}, {3}, {2}, {4}, {4}, {1}, {1}, {1}, {4}};
    static const float values[14][2] = {{0}};
    layer l;
    open_layer(&l, keys, values, 7, 5);
    kvl_policy p = test_policy("chunkkv(knorm(high),chunk=3)");
    choose(&l, &p); /* floor(3 * 5 / 7) = 2 chunks: the last, short one and the first */
    check_choice(&l, 0, (uint32_t[]){0, 1, 2, 6}, 4);
    check_choice(&l, 1, (uint32_t[]){0, 1, 2, 6}, 4);
    p.protections.n_sinks = 0;
    p.protections.n_recent = 3;
    choose(&l, &p); /* 4, 5, 6 stay, then the best of the first chunk: 9 / 2 */
    check_choice(&l, 0, (uint32_t[]){1, 4, 5, 6}, 4);
    p = test_policy("adakv(chunkkv(knorm(high),chunk=3),alpha=0.5)");
    choose(&l, &p); /* fills the budget of 2 * 5: the best of the second chunk in both heads */
    check_choice(&l, 0, (uint32_t[]){0, 1, 2, 3, 6}, 5);
    check_choice(&l, 1, (uint32_t[]){0, 1, 2, 3, 6}, 5);
    p = test_policy("chunkkv(knorm(high),chunk=8)");
    choose(&l, &p); /* no whole chunk: each head by itself, the newer of 1 1 1 */
    check_choice(&l, 0, (uint32_t[]){1, 2, 3, 5, 6}, 5);
    check_choice(&l, 1, (uint32_t[]){0, 1, 2, 5, 6}, 5);
    kvl_cache_destroy(l.cache);
}

/* The same scores in chunks that are scored alone. Places: head 0 has 1 5 2 | 7 1 1 | 3, of equal ones the
 * newer first: 0, 1, 1/3 | 1, 0, 1/3 | 1. */
static void test_chunks_by_themselves(void **state) {
    (void)state;
    static const float keys[14][2] = {{1}, {5}, {2}, {7}, {1}, {1}, {3}, {2}, {4}, {4}, {1}, {1}, {1}, {4}};
    static const float values[14][2] = {{0}};
    layer l;
    open_layer(&l, keys, values, 7, 4);
    kvl_policy p = test_policy("chunk(knorm(high),chunk=3)");
    choose(&l, &p);
    static const float expected[7] = {0, 1, 1 - 2 / 3.0f, 1, 0, 1 - 2 / 3.0f, 1};
    assert_memory_equal(l.scores[0], expected, sizeof expected);
    check_choice(&l, 0, (uint32_t[]){1, 3, 5, 6}, 4);
    check_choice(&l, 1, (uint32_t[]){2, 4, 5, 6},
                 4); /* 2 4 4 | 1 1 1 | 4: newest first, 5 is best of its chunk */
    p.protections.n_sinks = 1;
    choose(&l, &p);
    check_choice(&l, 0, (uint32_t[]){0, 1, 3, 6}, 4);
    p = test_policy(
        "chunk(streaming(sinks=1),chunk=3)"); /* each chunk has first tokens: 0, 2, 1 | 3, 5, 4 | 6 */
    l.heads[0].target = l.heads[1].target = 5;
    choose(&l, &p);
    check_choice(&l, 0, (uint32_t[]){0, 2, 3, 5, 6}, 5);
    kvl_cache_destroy(l.cache);
}

static void check_value(const layer *l, uint32_t head, size_t slot, double x, double y) {
    float values[2 * most_entries];
    kvl_cache_copy_values(l->cache, 0, head, values);
    if (!(fabs((double)values[2 * slot] - x) < 1e-5 && fabs((double)values[2 * slot + 1] - y) < 1e-5)) {
        fail_msg("head %u, slot %zu: expected %g %g, found %g %g", head, slot, x, y, (double)values[2 * slot],
                 (double)values[2 * slot + 1]);
    }
}

/* recency keeps slots 2 and 3, whose keys point along the axes. The key of slot 0 is (0.8, 0.6): nearest to
 * slot 2 with cosine 0.8, |v| 1 against 3: w = 0.8 / 4 = 0.2. That of slot 1 is (0, 2): to slot 3 with cosine
 * 1, |v| 2 against 2: w = 0.5. Head 1: slot 0 is opposite to slot 2 and across slot 3: cosine 0, no weight.
 */
static void test_values_merge(void **state) {
    (void)state;
    static const float keys[8][2] = {{0.8f, 0.6f}, {0, 2},       {5, 0}, {0, 1},
                                     {-1, 0},      {0.6f, 0.8f}, {1, 0}, {0, 1}};
    static const float values[8][2] = {{0, 1}, {2, 0}, {3, 0}, {0, 2}, {9, 9}, {3, 4}, {5, 0}, {0, 5}};
    layer l;
    kvl_policy p = test_policy("merging(recency)");
    open_layer(&l, keys, values, 4, 2);
    choose(&l, &p);
    check_choice(&l, 0, (uint32_t[]){2, 3}, 2);
    check_value(&l, 0, 2, 3 / 1.2, 0.2 / 1.2);
    check_value(&l, 0, 3, 1 / 1.5, 2 / 1.5);
    check_value(&l, 1, 2, 5, 0);
    /* w = 0.8 * 5 / 10 */
    check_value(&l, 1, 3, 0.4 * 3 / 1.4, (5 + 0.4 * 4) / 1.4);
    kvl_cache_destroy(l.cache);
    open_layer(&l, keys, values, 4, 2);
    p = test_policy("merging(recency,threshold=0.9)");
    choose(&l, &p); /* the cosine of 1 alone */
    check_value(&l, 0, 2, 3, 0);
    check_value(&l, 0, 3, 1 / 1.5, 2 / 1.5);
    check_value(&l, 1, 3, 0, 5);
    kvl_cache_destroy(l.cache);
    open_layer(&l, keys, values, 4, 2);
    p = test_policy("merging(recency,fraction=0.5)");
    choose(&l, &p); /* between 0.8 and 1 lies 0.9: again that of 1; in head 1 that of 0.8 */
    check_value(&l, 0, 2, 3, 0);
    check_value(&l, 0, 3, 1 / 1.5, 2 / 1.5);
    check_value(&l, 1, 3, 0.4 * 3 / 1.4, (5 + 0.4 * 4) / 1.4);
    kvl_cache_destroy(l.cache);
}

/* ---- on a model ---- */

static kvl_model *model;
static kvl_engine *engine;     /* of 2 threads */
static kvl_engine *one_thread; /* of 1 */

static int open_model(void **state) {
    (void)state;
    const kvl_engine_options options = {.n_threads = 2};
    return kvl_model_open(&model, test_path("tests/golden/press/llama"), 1, NULL) == KVL_OK &&
                   kvl_engine_create(&engine, model, &options, NULL) == KVL_OK &&
                   kvl_engine_create(&one_thread, model, &(kvl_engine_options){.n_threads = 1}, NULL) ==
                       KVL_OK
               ? 0
               : -1;
}

static int close_model(void **state) {
    (void)state;
    kvl_engine_destroy(engine);
    kvl_engine_destroy(one_thread);
    kvl_model_close(model);
    return 0;
}

static void feed(kvl_stream *s, size_t n) {
    kvl_row rows[128];
    for (size_t i = 0; i < n; i++) {
        rows[i] = (kvl_row){.stream = s, .token = (int32_t)((s->n_seen + i) * 7919 % 331), .target = -1};
    }
    assert_ok(kvl_engine_forward(engine, rows, n, NULL));
}

static kvl_stream *stream_of(const kvl_policy *p, size_t n) {
    kvl_stream *s = NULL;
    assert_ok(kvl_stream_create(&s, engine, NULL));
    assert_ok(kvl_stream_watch(s, &model->shape, kvl_policy_needs(p, &model->shape), NULL));
    if (n != 0) {
        feed(s, n);
    }
    return s;
}

static void compress(kvl_stream *s, const kvl_policy *p) {
    kvl_err err = {0};
    if (kvl_engine_compress(engine, &(kvl_compress_job){s, p}, 1, &err) != KVL_OK) {
        fail_msg("%s: %s", kvl_policy_press(p)->name, err.msg);
    }
}

static kvl_layer_view view_of(const kvl_stream *s, uint32_t index) {
    return (kvl_layer_view){.shape = &model->shape,
                            .layer = index,
                            .n_seen = s->n_seen,
                            .cache = s->cache,
                            .rope = &model->ropes[model->layers[index].rope],
                            .is_cache_length_position = s->is_cache_length_position,
                            .n_moved = s->n_moved,
                            .len_moved = s->len_moved};
}

/* Plain keys of a head of a stream, and how many. */
static size_t plain_keys(const kvl_stream *s, uint32_t index, uint32_t head, float *dst) {
    const kvl_layer_view view = view_of(s, index);
    const kvl_head_entries entries = kvl_cache_entries(s->cache, index, head);
    const kvl_head_view h = {.in = &view, .head = head, .n = entries.n, .positions = entries.positions};
    kvl_view_plain_keys(&h, dst);
    return entries.n;
}

enum { most_tokens = 96, most_lists = 8 };
static float known[most_lists][most_tokens * 32]; /* keys before rotation of every head's tokens */

/* Feeds n tokens and takes down their keys, turned back from where they must stand: at the length of layer 0.
 */
static void feed_known(kvl_stream *s, size_t n) {
    static float rows[most_tokens * 32];
    const size_t dim = model->shape.head_dim;
    const size_t first = (size_t)s->n_seen;
    const size_t place = kvl_cache_len(s->cache, 0, 0);
    feed(s, n);
    for (uint32_t i = 0; i < model->shape.n_layers * model->shape.n_kv_heads; i++) {
        const uint32_t index = i / model->shape.n_kv_heads, head = i % model->shape.n_kv_heads;
        const size_t n_before = kvl_cache_len(s->cache, index, head) - n;
        const kvl_layer_view view = view_of(s, index);
        kvl_cache_copy_keys(s->cache, index, head, rows);
        for (size_t j = 0; j < n; j++) {
            float *key = known[i] + (first + j) * dim;
            memcpy(key, rows + (n_before + j) * dim, dim * sizeof *key);
            kvl_view_rotate(&view, key, -(double)(place + j));
        }
    }
}

/* Every entry's key, turned back from where the stream says it stands, is its token's key before rotation. No
 * press looks at layers that are skipped. */
static void check_keys(const char *text, const kvl_policy *p, const kvl_stream *s) {
    static float ours[most_tokens * 32];
    const size_t dim = model->shape.head_dim;
    for (uint32_t i = 0; i < model->shape.n_layers * model->shape.n_kv_heads; i++) {
        const uint32_t index = i / model->shape.n_kv_heads, head = i % model->shape.n_kv_heads;
        const size_t n = kvl_policy_skips(p, index) ? 0 : plain_keys(s, index, head, ours);
        const int32_t *positions = kvl_cache_entries(s->cache, index, head).positions;
        for (size_t j = 0; j < n; j++) {
            const size_t token = (size_t)positions[j];
            for (size_t d = 0; d < dim; d++) {
                const float x = ours[j * dim + d], y = known[i][token * dim + d];
                if (!(fabsf(x - y) < 1e-4f)) {
                    fail_msg("%s: layer %u, head %u, token %zu: expected %g, found %g", text, index, head,
                             token, (double)y, (double)x);
                }
            }
        }
    }
}

/* Compressions with tokens between them. With skip and pyramid layers have different lengths, so that places
 * and positions differ, or do not take part in all of them; adakv leaves heads of different lengths. */
static void test_keys_after_compressions(void **state) {
    (void)state;
    static const char *const texts[] = {
        "key-rerotation(knorm):keep=0.5",
        "key-rerotation(streaming(sinks=2)):size=20",
        "key-rerotation(knorm):keep=0.5:skip=1",
        "key-rerotation(knorm):keep=0.5:skip=0",
        "key-rerotation(pyramid(knorm,window=4,beta=4)):keep=0.5",
        "key-rerotation(pyramid(knorm,window=4,beta=4)):size=20",
        "key-rerotation(adakv(snapkv(window=8))):size=24",
        "key-rerotation(merging(snapkv(window=8))):size=24",
        "finch(window=8):size=24",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const kvl_policy p = test_policy(texts[i]);
        kvl_stream *s = stream_of(&p, 0);
        feed_known(s, 60);
        for (size_t event = 0; event < 4; event++) {
            compress(s, &p);
            check_keys(texts[i], &p, s);
            feed_known(s, 8);
            check_keys(texts[i], &p, s);
        }
        kvl_stream_destroy(s);
    }
}

static void check_same(const char *text, const kvl_stream *a, const kvl_stream *b) {
    static float rows[4][most_tokens * 32];
    const size_t dim = model->shape.head_dim;
    for (uint32_t i = 0; i < model->shape.n_layers * model->shape.n_kv_heads; i++) {
        const uint32_t index = i / model->shape.n_kv_heads, head = i % model->shape.n_kv_heads;
        const kvl_head_entries x = kvl_cache_entries(a->cache, index, head);
        const kvl_head_entries y = kvl_cache_entries(b->cache, index, head);
        kvl_cache_copy_keys(a->cache, index, head, rows[0]);
        kvl_cache_copy_keys(b->cache, index, head, rows[1]);
        kvl_cache_copy_values(a->cache, index, head, rows[2]);
        kvl_cache_copy_values(b->cache, index, head, rows[3]);
        if (x.n != y.n || memcmp(x.positions, y.positions, x.n * sizeof *x.positions) != 0 ||
            memcmp(rows[0], rows[1], x.n * dim * sizeof **rows) != 0 ||
            memcmp(rows[2], rows[3], x.n * dim * sizeof **rows) != 0) {
            fail_msg("%s: layer %u, head %u: expected the same entries, found others", text, index, head);
        }
    }
}

/* One event of a sequence leaves what its parts leave in events of their own; and as much as was foretold. */
static void test_parts_in_order(void **state) {
    (void)state;
    static const struct {
        const char *all, *parts[3];
    } cases[] = {
        {"composed(knorm:keep=0.5,keydiff:keep=0.5)", {"knorm:keep=0.5", "keydiff:keep=0.5"}},
        {"composed(snapkv(window=8),leverage):size=20:sinks=2",
         {"snapkv(window=8):size=40:sinks=2", "leverage:size=20:sinks=2"}},
        {"composed(adakv(snapkv(window=8)):keep=0.5,merging(knorm):size=12)",
         {"adakv(snapkv(window=8)):keep=0.5", "merging(knorm):size=12"}},
        {"composed(composed(knorm:size=60,adakv(keydiff):size=40),recency:keep=0.5)",
         {"knorm:size=60", "adakv(keydiff):size=40", "recency:keep=0.5"}},
        {"decoding(composed(knorm,keydiff),interval=80):size=20", {"knorm:size=40", "keydiff:size=20"}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const kvl_policy all = test_policy(cases[i].all);
        kvl_stream *one = stream_of(&all, 80);
        kvl_stream *other = stream_of(&all, 80);
        const kvl_moment now = {.n_seen = 80};
        const size_t target = kvl_policy_target(&all, &model->shape, &now, 1, 0, 80);
        assert_true(kvl_policy_fires(&all, one, &model->shape));
        compress(one, &all);
        for (size_t k = 0; k < 3 && cases[i].parts[k] != NULL; k++) {
            const kvl_policy part = test_policy(cases[i].parts[k]);
            compress(other, &part);
        }
        check_same(cases[i].all, one, other);
        if (!kvl_press_is_ragged(all.tree)) {
            assert_int_equal(kvl_cache_len(one->cache, 1, 0), target);
        }
        kvl_stream_destroy(one);
        kvl_stream_destroy(other);
    }
}

/* n tokens, `cut` at a time, and a compression; twice. */
static kvl_stream *run_twice(kvl_engine *e, const kvl_policy *p, size_t n, size_t cut) {
    kvl_stream *s = NULL;
    assert_ok(kvl_stream_create(&s, e, NULL));
    assert_ok(kvl_stream_watch(s, &model->shape, kvl_policy_needs(p, &model->shape), NULL));
    for (size_t event = 0; event < 2; event++) {
        for (size_t end = (event + 1) * n; s->n_seen < end;) {
            kvl_row rows[128];
            const size_t n_rows = kvl_min_size(cut, end - s->n_seen);
            for (size_t i = 0; i < n_rows; i++) {
                rows[i] =
                    (kvl_row){.stream = s, .token = (int32_t)((s->n_seen + i) * 7919 % 331), .target = 1};
            }
            assert_ok(kvl_engine_forward(e, rows, n_rows, NULL)); /* no NaN: predictions are checked */
        }
        assert_ok(kvl_engine_compress(e, &(kvl_compress_job){s, p}, 1, NULL));
    }
    return s;
}

/* Presses three and four deep: the same bits for threads and cuts, the budget in all, texts shorter than
 * windows and chunks. */
static void test_deep_ones(void **state) {
    (void)state;
    static const char *const texts[] = {
        "adakv(criticalkv(snapkv(window=16)),alpha=0.3):keep=0.4",
        "merging(adakv(snapkv)):keep=0.4",
        "key-rerotation(streaming):keep=0.4",
        "key-rerotation(merging(pyramid(criticalkv(snapkv(window=4)),window=4,beta=2))):keep=0.4",
        "critical-adakv(expected-attention(vnorm=off)):keep=0.4",
        "chunk(snapkv(window=8),chunk=20):keep=0.4",
        "adakv(chunk(criticalkv(snapkv(window=8)),chunk=20)):keep=0.4",
        "adakv(chunk(chunkkv(lagkv(lag=4),chunk=4),chunk=16)):keep=0.4",
        "chunk(chunk(noncausal(chunk=8),chunk=8),chunk=16):keep=0.4",
        "block-oracle(chunk(compactor,chunk=16),block=16):keep=0.4",
        "composed(adakv(snapkv),merging(keydiff)):keep=0.4",
        "decoding(composed(knorm,composed(tova,leverage)),interval=1):keep=0.4",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        const kvl_policy p = test_policy(texts[i]);
        for (size_t n = 1; n <= 44; n += n < 3 ? 1 : 41) {
            kvl_stream *first = run_twice(engine, &p, n, n);
            kvl_stream *second = run_twice(one_thread, &p, n, 7);
            check_same(texts[i], first, second);
            kvl_stream_destroy(first);
            kvl_stream_destroy(second);
        }
    }
}

/* A stream whose keys were moved predicts what one does that has only seen what stays, in layer 0. */
static void test_moved_keys_are_those_of_a_short_text(void **state) {
    (void)state;
    const kvl_policy p = test_policy("key-rerotation(recency):size=20");
    kvl_stream *s = stream_of(&p, 60);
    compress(s, &p);
    const kvl_policy none = test_policy("none");
    kvl_stream *full = NULL;
    assert_ok(kvl_stream_create(&full, engine, NULL));
    assert_true(!none.is_cache_length_position);
    kvl_row rows[21];
    for (size_t i = 0; i < 21; i++) { /* tokens 40 .. 60, at positions 0 .. 20 */
        rows[i] = (kvl_row){.stream = full, .token = (int32_t)((40 + i) * 7919 % 331), .target = -1};
    }
    assert_ok(kvl_engine_forward(engine, rows, 21, NULL));
    feed(s, 1);
    static float ours[128 * 32], theirs[128 * 32];
    for (uint32_t head = 0; head < model->shape.n_kv_heads; head++) {
        kvl_cache_copy_keys(s->cache, 0, head, ours);
        kvl_cache_copy_keys(full->cache, 0, head, theirs);
        for (size_t i = 0; i < 21 * (size_t)model->shape.head_dim; i++) {
            assert_true(fabsf(ours[i] - theirs[i]) < 1e-4f);
        }
    }
    kvl_stream_destroy(s);
    kvl_stream_destroy(full);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_budgets_of_layers),
        cmocka_unit_test(test_budgets_of_parts),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_chunks_of_neighbours),
        cmocka_unit_test(test_chunks_by_themselves),
        cmocka_unit_test(test_values_merge),
        cmocka_unit_test(test_keys_after_compressions),
        cmocka_unit_test(test_parts_in_order),
        cmocka_unit_test(test_deep_ones),
        cmocka_unit_test(test_moved_keys_are_those_of_a_short_text),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
