/* What the commands that measure time, retrieval and settings found. */
#include "report/gather_int.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- time ---- */

static void read_timing(kvli_gather *g, const json_t *line, void *ud) {
    kvl_time_content *t = ud;
    kvl_time_line *l = &t->lines[t->n++];
    l->policy = kvli_get_text(g, line, "policy");
    l->keep_ratio = l->policy != NULL ? kvli_policy_keep(l->policy) : (double)NAN;
    l->ttft_ns = kvli_get_number(g, line, "ttft_ns");
    l->compress_ns = kvli_get_number(g, line, "compress_ns");
    l->tpot_ns = kvli_get_number(g, line, "tpot_ns");
    l->kv_bytes_live = kvli_get_count(g, line, "kv_bytes_live");
    l->kv_bytes_peak = kvli_get_count(g, line, "kv_bytes_peak");
    l->peak_rss_bytes = kvli_get_count(g, line, "peak_rss_bytes");
    t->n_prompt = kvli_get_count(g, line, "n_prompt");
    t->n_new = kvli_get_count(g, line, "n_new");
    t->n_repetitions = kvli_get_count(g, line, "n_repetitions");
    t->n_threads = (unsigned)kvli_get_count(g, line, "threads");
    t->isa = kvli_get_text(g, line, "isa");
}

void kvli_gather_timing(kvli_gather *g) {
    kvl_time_content *t = kvli_own(g, 1, sizeof *t);
    kvl_time_line *lines = kvli_own(g, kvli_most_lines(g), sizeof *lines);
    if (lines == NULL) {
        return;
    }
    t->lines = lines;
    t->command = kvli_own_text(g, g->document->command);
    kvli_each_line(g, read_timing, t);
    g->content->time = t->n != 0 ? t : NULL;
}

/* ---- speed ---- */

/* As llama-bench names its tests: "pp512", "tg128 @ d4096". */
static char *test_name(kvli_gather *g, const json_t *line) {
    const uint64_t n_prompt = kvli_get_count(g, line, "n_prompt");
    const uint64_t n_gen = kvli_get_count(g, line, "n_gen");
    const uint64_t n_depth = kvli_get_count(g, line, "n_depth");
    kvl_str name = {0};
    if (n_prompt != 0) {
        kvl_str_printf(&name, "pp%llu", (unsigned long long)n_prompt);
    }
    if (n_gen != 0) {
        kvl_str_printf(&name, "%stg%llu", n_prompt != 0 ? "+" : "", (unsigned long long)n_gen);
    }
    if (n_depth != 0) {
        kvl_str_printf(&name, " @ d%llu", (unsigned long long)n_depth);
    }
    char *own = kvli_own_text(g, kvl_str_text(&name));
    kvl_str_free(&name);
    return own;
}

static void read_bench(kvli_gather *g, const json_t *line, void *ud) {
    kvl_bench_content *b = ud;
    kvl_bench_line *l = &b->lines[b->n++];
    l->test = test_name(g, line);
    l->policy = kvli_get_text(g, line, "policy");
    l->tokens_per_s = kvli_get_number(g, line, "avg_ts");
    l->stddev = kvli_get_number(g, line, "stddev_ts");
    b->cpu = kvli_get_text(g, line, "cpu_info");
}

void kvli_gather_bench(kvli_gather *g) {
    kvl_bench_content *b = kvli_own(g, 1, sizeof *b);
    kvl_bench_line *lines = kvli_own(g, kvli_most_lines(g), sizeof *lines);
    if (lines == NULL) {
        return;
    }
    b->lines = lines;
    b->command = kvli_own_text(g, g->document->command);
    kvli_each_line(g, read_bench, b);
    g->content->bench = b->n != 0 ? b : NULL;
}

/* ---- recommendation ---- */

/* [value, low, high] */
static const json_t *get_triple(kvli_gather *g, const json_t *line, const char *name) {
    const json_t *list = kvli_get_list(g, line, name);
    if (list != NULL && json_array_size(list) != 3) {
        kvli_gather_fail(g, name, "three numbers", list);
        return NULL;
    }
    return list;
}

static void read_choice(kvli_gather *g, const json_t *line, void *ud) {
    kvl_choice_content *c = ud;
    kvl_choice_line *l = &c->lines[c->n++];
    const json_t *loss = get_triple(g, line, "loss");
    const json_t *ttft = get_triple(g, line, "ttft_ratio");
    const json_t *tpot = get_triple(g, line, "tpot_ratio");
    const char *lacks = kvli_get_text(g, line, "lacks");
    l->policy = kvli_get_text(g, line, "policy");
    l->cache = kvli_get_text(g, line, "cache");
    l->is_answer = kvli_get_bool(g, line, "is_answer");
    l->is_behind = kvli_get_bool(g, line, "is_dominated");
    l->qualifies = lacks != NULL && lacks[0] == '\0';
    l->kv_bytes = kvli_get_number(g, line, "kv_bytes_end");
    l->is_full = json_object_get(line, "repetitions_again") != NULL; /* only its line has them */
    c->n_clusters = kvli_get_count(g, line, "n_clusters");
    c->max_loss = kvli_get_number(g, line, "max_loss");
    if (g->status == KVL_OK) {
        l->ttft_ratio = kvli_list_number(g, ttft, 0, "ttft_ratio");
        l->tpot_ratio = kvli_list_number(g, tpot, 0, "tpot_ratio");
        l->loss = (kvl_estimate){.mean = kvli_list_number(g, loss, 0, "loss"),
                                 .low = kvli_list_number(g, loss, 1, "loss"),
                                 .high = kvli_list_number(g, loss, 2, "loss"),
                                 .n_clusters = c->n_clusters,
                                 .is_few = c->n_clusters < KVL_FEW_CLUSTERS,
                                 .p = (double)NAN};
        l->loss.has_interval = !l->is_full && !isnan(l->loss.low) && !isnan(l->loss.high);
    }
}

void kvli_gather_recommend(kvli_gather *g) {
    kvl_choice_content *c = kvli_own(g, 1, sizeof *c);
    kvl_choice_line *lines = kvli_own(g, kvli_most_lines(g), sizeof *lines);
    double full_bytes = (double)NAN;
    if (lines == NULL) {
        return;
    }
    c->lines = lines;
    c->command = kvli_own_text(g, g->document->command);
    kvli_each_line(g, read_choice, c);
    for (size_t i = 0; i < c->n; i++) {
        full_bytes = c->lines[i].is_full ? c->lines[i].kv_bytes : full_bytes;
    }
    for (size_t i = 0; i < c->n; i++) {
        c->lines[i].kv_share = c->lines[i].kv_bytes / full_bytes;
    }
    g->content->choice = c->n != 0 ? c : NULL;
}

/* ---- retrieval ---- */

/* A cell of a grid, before the grids are known. */
typedef struct needle_cell {
    char *task, *policy;
    size_t length, depth, n, n_right, n_right_full;
    bool is_judged;
} needle_cell;

enum { MOST_NEEDLE_CELLS = 8192 }; /* grids are found by looking at all of them for each */

typedef struct needle_cells {
    needle_cell *items;
    size_t n;
} needle_cells;

static void read_needle(kvli_gather *g, const json_t *line, void *ud) {
    needle_cells *cells = ud;
    if (!kvli_is_schema(line, "kvlab.needle-cell/1")) {
        return;
    }
    if (cells->n == MOST_NEEDLE_CELLS) {
        kvli_gather_fail(g, "line", "at most 8192 cells of grids", line);
        return;
    }
    needle_cell *c = &cells->items[cells->n++];
    const char *verdict = kvli_get_text(g, line, "verdict");
    *c = (needle_cell){.task = kvli_get_text(g, line, "task"),
                       .policy = kvli_get_text(g, line, "policy"),
                       .length = kvli_get_count(g, line, "n_tokens"),
                       .depth = kvli_get_count(g, line, "depth"),
                       .n = kvli_get_count(g, line, "n"),
                       .n_right = kvli_get_count(g, line, "n_right"),
                       .n_right_full = kvli_get_count(g, line, "n_right_full"),
                       .is_judged = verdict != NULL && strcmp(verdict, "rate") == 0};
    if (c->n_right > c->n || c->n_right_full > c->n) {
        kvli_gather_fail(g, "n_right", "at most n", json_object_get(line, "n_right"));
    }
}

static bool is_same_grid(const needle_cell *a, const needle_cell *b) {
    return strcmp(a->task, b->task) == 0 && strcmp(a->policy, b->policy) == 0;
}

/* Adds a number to a rising list that does not hold it. */
static void add_rising(size_t *list, size_t *n, size_t value) {
    size_t at = 0;
    while (at < *n && list[at] < value) {
        at++;
    }
    if (at < *n && list[at] == value) {
        return;
    }
    memmove(&list[at + 1], &list[at], (*n - at) * sizeof *list);
    list[at] = value;
    (*n)++;
}

static size_t index_of(const size_t *list, size_t value) {
    size_t i = 0;
    while (list[i] != value) {
        i++;
    }
    return i;
}

/* The grid of the cells like `first`. */
static void make_grid(kvli_gather *g, kvl_needle_grid *grid, const needle_cells *cells,
                      const needle_cell *first) {
    size_t n_own = 0;
    grid->task = first->task;
    grid->policy = first->policy;
    for (size_t i = 0; i < cells->n; i++) {
        n_own += is_same_grid(&cells->items[i], first);
    }
    grid->lengths = kvli_own(g, n_own, sizeof *grid->lengths);
    grid->depths = kvli_own(g, n_own, sizeof *grid->depths);
    for (size_t i = 0; i < cells->n && g->status == KVL_OK; i++) {
        if (is_same_grid(&cells->items[i], first)) {
            add_rising(grid->lengths, &grid->n_lengths, cells->items[i].length);
            add_rising(grid->depths, &grid->n_depths, cells->items[i].depth);
        }
    }
    const size_t n = grid->n_lengths * grid->n_depths;
    if (n > MOST_NEEDLE_CELLS) {
        kvli_gather_fail(g, "depth", "grids of at most 8192 cells", NULL);
        return;
    }
    grid->n_right = kvli_own(g, n, sizeof *grid->n_right);
    grid->n_right_full = kvli_own(g, n, sizeof *grid->n_right_full);
    grid->n_trials = kvli_own(g, n, sizeof *grid->n_trials);
    grid->is_judged = kvli_own(g, n, sizeof *grid->is_judged);
    for (size_t i = 0; i < cells->n && g->status == KVL_OK; i++) {
        const needle_cell *c = &cells->items[i];
        if (is_same_grid(c, first)) {
            const size_t at =
                index_of(grid->lengths, c->length) * grid->n_depths + index_of(grid->depths, c->depth);
            grid->n_right[at] = c->n_right;
            grid->n_right_full[at] = c->n_right_full;
            grid->n_trials[at] = c->n;
            grid->is_judged[at] = c->is_judged;
        }
    }
}

static bool is_first_of_grid(const needle_cells *cells, size_t i) {
    for (size_t j = 0; j < i; j++) {
        if (is_same_grid(&cells->items[j], &cells->items[i])) {
            return false;
        }
    }
    return true;
}

void kvli_gather_needle(kvli_gather *g) {
    needle_cells cells = {.items = kvli_own(g, kvli_most_lines(g), sizeof *cells.items)};
    kvl_needle_content *content = kvli_own(g, 1, sizeof *content);
    if (content == NULL) {
        return;
    }
    kvli_each_line(g, read_needle, &cells);
    content->command = kvli_own_text(g, g->document->command);
    content->grids = kvli_own(g, cells.n, sizeof *content->grids);
    for (size_t i = 0; i < cells.n && g->status == KVL_OK; i++) {
        if (is_first_of_grid(&cells, i)) {
            make_grid(g, &content->grids[content->n++], &cells, &cells.items[i]);
        }
    }
    g->content->needle = content->n != 0 ? content : NULL;
}
