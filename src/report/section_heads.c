/* Layers and heads: where low norms do mean much attention, and where they do not. */
#include "report/cells.h"
#include "report/mechanism.h"

#include <math.h>

static bool has(const kvl_content *c) { return kvl_chart_find("heads")->has(c); }

typedef struct layer_figures {
    double mean, low, high; /* correlations */
    double hidden;          /* share of attention; NAN: left alone */
} layer_figures;

static layer_figures layer_of(const kvl_portrait *p, const kvl_portrait_policy *worst, size_t layer) {
    layer_figures f = {.mean = kvli_layer_correlation(p, layer),
                       .low = (double)INFINITY,
                       .high = -(double)INFINITY,
                       .hidden = worst != NULL && layer >= p->n_skipped ? 0 : (double)NAN};
    for (size_t h = 0; h < p->n_heads; h++) {
        const double r = kvli_head_correlation(p, layer, h);
        f.low = fmin(f.low, r);
        f.high = fmax(f.high, r);
        f.hidden += isnan(f.hidden) ? 0 : kvli_hidden_attention(p, worst, layer, h) / (double)p->n_heads;
    }
    f.low = isfinite(f.low) ? f.low : (double)NAN;
    f.high = isfinite(f.high) ? f.high : (double)NAN;
    return f;
}

static kvl_status put_layers(kvl_page *p, kvl_err *err) {
    static const kvli_column columns[] = {
        {.head_en = "layer", .head_zh = "层", .is_number = true},
        {.head_en = "rank correlation, mean of heads", .head_zh = "秩相关，各头平均", .is_number = true},
        {.head_en = "lowest head", .head_zh = "最低的头", .is_number = true},
        {.head_en = "highest head", .head_zh = "最高的头", .is_number = true},
        {.head_en = "attention hidden, %", .head_zh = "被遮蔽的注意力，%", .is_number = true},
    };
    const kvl_portrait *portrait = p->content->portrait;
    const kvl_portrait_policy *worst = kvli_portrait_worst(portrait);
    kvl_texts cells = {0};
    for (size_t l = 0; l < portrait->n_layers; l++) {
        const layer_figures f = layer_of(portrait, worst, l);
        kvli_cell(&cells, "%zu", l);
        kvli_cell_number(&cells, f.mean, 2);
        kvli_cell_number(&cells, f.low, 2);
        kvli_cell_number(&cells, f.high, 2);
        kvli_cell_number(&cells, 100 * f.hidden, 1);
    }
    kvl_str_printf(p->out, "<details>\n<summary>%s</summary>\n",
                   kvl_word(p->lang, "Layer by layer", "逐层数据"));
    KVL_TRY(kvli_cells_put(
        p, &cells, kvl_word(p->lang, "Key norm and attention received, by layer", "各层的键范数与所得注意力"),
        columns, sizeof columns / sizeof columns[0], err));
    kvl_str_puts(p->out, "</details>\n");
    return KVL_OK;
}

static kvl_status write(kvl_page *p, kvl_err *err) {
    kvl_page_paragraph(
        p,
        kvl_word(
            p->lang,
            "Keeping keys of low norm assumes that they are the ones that later tokens look at. Blue cells "
            "agree with that, orange ones say the opposite.",
            "保留低范数的键，前提是后面的 token 看的正是这些键。蓝色格支持这一前提，橙色格则相反。"));
    KVL_TRY(kvl_page_chart(p, kvl_chart_find("heads"), p->content->portrait->command, err));
    return put_layers(p, err);
}

const kvl_section kvli_section_heads = {.id = "heads",
                                        .title_en = "Layers and heads",
                                        .title_zh = "层与注意力头",
                                        .has = has,
                                        .write = write,
                                        .command = "kvlab sweep --preset ucurve --portrait"};
