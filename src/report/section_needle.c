/* Retrieval: what stood in the context, is it found through the compressed cache. */
#include "report/cells.h"
#include "report/mechanism.h"
#include "stats/rates.h"

static bool has(const kvl_content *c) { return c->needle != NULL && c->needle->n != 0; }

/* Of the cells that can be judged. */
static kvl_estimate rate_of(const kvl_needle_grid *g, const size_t *n_right, size_t *n_cells) {
    size_t right = 0;
    size_t trials = 0;
    *n_cells = 0;
    for (size_t i = 0; i < g->n_lengths * g->n_depths; i++) {
        right += g->is_judged[i] ? n_right[i] : 0;
        trials += g->is_judged[i] ? g->n_trials[i] : 0;
        *n_cells += g->is_judged[i];
    }
    return kvl_wilson(right, trials);
}

static void put_rate(kvl_texts *cells, const kvl_estimate *e) {
    kvl_str text = {0};
    kvli_put_share(&text, e);
    kvli_cell(cells, "%s", kvl_str_text(&text));
    kvl_str_free(&text);
}

static kvl_status put_rates(kvl_page *p, const kvl_needle_content *n, kvl_err *err) {
    static const kvli_column columns[] = {
        {.head_en = "task", .head_zh = "任务"},
        {.head_en = "policy", .head_zh = "策略"},
        {.head_en = "right [95 %]", .head_zh = "答对率 [95 %]", .is_number = true},
        {.head_en = "full cache, same prompts", .head_zh = "完整缓存，相同提示", .is_number = true},
        {.head_en = "trials", .head_zh = "试验数", .is_number = true},
        {.head_en = "cells judged", .head_zh = "参与判断的格", .is_number = true},
    };
    kvl_texts cells = {0};
    for (size_t i = 0; i < n->n; i++) {
        const kvl_needle_grid *g = &n->grids[i];
        size_t n_cells = 0;
        const kvl_estimate rate = rate_of(g, g->n_right, &n_cells);
        const kvl_estimate full = rate_of(g, g->n_right_full, &n_cells);
        kvli_cell(&cells, "%s", g->task);
        kvli_cell(&cells, "%s", g->policy);
        put_rate(&cells, &rate);
        put_rate(&cells, &full);
        kvli_cell(&cells, "%zu", rate.n_clusters);
        kvli_cell(&cells, "%zu / %zu", n_cells, g->n_lengths * g->n_depths);
    }
    return kvli_cells_put(
        p, &cells,
        kvl_word(p->lang,
                 "Right answers over all cells that can be judged, with Wilson's 95 % intervals. Cells "
                 "are chosen by the full cache's own answers, so its rate is a little too good.",
                 "所有可判断格中的答对率及 Wilson 95 % "
                 "置信区间。各格按完整缓存自己的答案选出，因此其答对率略偏高。"),
        columns, sizeof columns / sizeof columns[0], err);
}

static kvl_status write(kvl_page *p, kvl_err *err) {
    const kvl_needle_content *n = p->content->needle;
    kvl_page_paragraph(
        p, kvl_word(p->lang,
                    "Facts are hidden in a context at every depth and length; the cache is compressed; then "
                    "they are asked "
                    "for. A cell counts only where the full cache answers and something was evicted.",
                    "在上下文的各种深度与长度处隐藏事实，压缩缓存后再提问。只有完整缓存能答对且确有条目被驱逐"
                    "的格才计入。"));
    size_t n_found = 0;
    for (size_t i = 0; i < n->n; i++) {
        for (size_t k = 0; k < n->grids[i].n_lengths * n->grids[i].n_depths; k++) {
            n_found += n->grids[i].n_right_full[k];
        }
    }
    if (n_found == 0) {
        kvl_page_paragraph(
            p, kvl_word(p->lang,
                        "Here the full cache itself finds none: this model cannot do the task, so "
                        "that nothing is learnt about compression.",
                        "此处完整缓存本身一个也没有找到：该模型做不了这项任务，因此看不出压缩的影响。"));
    }
    KVL_TRY(kvl_page_chart(p, kvl_chart_find("needle"), n->command, err));
    return put_rates(p, n, err);
}

const kvl_section kvli_section_needle = {.id = "needle",
                                         .title_en = "Is it still found",
                                         .title_zh = "检索：还能找到吗",
                                         .has = has,
                                         .write = write,
                                         .command = "kvlab needle"};
