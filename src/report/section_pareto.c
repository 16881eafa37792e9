/* Quality, bytes and time of settings: those that no other one beats, and what was recommended. */
#include "report/cells.h"

static bool has(const kvl_content *c) { return c->choice != NULL || c->sweep != NULL; }

static kvl_status put_choices(kvl_page *p, const kvl_choice_content *choice, kvl_err *err) {
    static const kvli_column columns[] = {
        {"setting", "设置", false},
        {"cache", "缓存类型", false},
        {"loss, nats per token [95 %]", "损失，nats/token [95 %]", true},
        {"KV KiB", "KV KiB", true},
        {"% of full", "占完整 %", true},
        {"TTFT, of full", "TTFT 之比", true},
        {"TPOT, of full", "TPOT 之比", true},
        {"", "", false},
    };
    enum { n_columns = sizeof columns / sizeof columns[0] };
    kvl_texts cells = {0};
    for (size_t i = 0; i < choice->n; i++) {
        const kvl_choice_line *l = &choice->lines[i];
        kvli_cell(&cells, "%s", l->policy);
        kvli_cell(&cells, "%s", l->cache);
        kvli_cell_estimate(&cells, &l->loss, 4);
        kvli_cell_number(&cells, l->kv_bytes / 1024, 1);
        kvli_cell_number(&cells, 100 * l->kv_share, 1);
        kvli_cell_number(&cells, l->ttft_ratio, 3);
        kvli_cell_number(&cells, l->tpot_ratio, 3);
        kvli_cell(&cells, "%s",
                  l->is_answer   ? kvl_word(p->lang, "recommended", "推荐")
                  : l->is_full   ? kvl_word(p->lang, "full cache", "完整缓存")
                  : l->qualifies ? kvl_word(p->lang, "qualifies", "合格")
                                 : "");
    }
    return kvli_cells_put(p, &cells,
                          kvl_word(p->lang, "Settings that were confirmed on texts not chosen on, and timed",
                                   "在未用于挑选的文本上确认并计时的设置"),
                          columns, n_columns, err);
}

static kvl_status write(kvl_page *p, kvl_err *err) {
    const kvl_choice_content *choice = p->content->choice;
    kvl_page_paragraph(
        p, kvl_word(p->lang,
                    "A setting is on the front when no other one of this run is at least as good in quality, "
                    "bytes and time, and better in one of them. Everything behind the front can be left "
                    "aside.",
                    "若本次没有别的设置在质量、字节和时间上都不比它差、且至少一项更好，这个设置就在前沿上；前"
                    "沿之后的都不必考虑。"));
    KVL_TRY(kvl_page_chart(p, kvl_chart_find("pareto"),
                           choice != NULL ? choice->command : p->content->sweep->command, err));
    return choice != NULL ? put_choices(p, choice, err) : KVL_OK;
}

const kvl_section kvli_section_pareto = {.id = "pareto",
                                         .title_en = "Quality, bytes, time",
                                         .title_zh = "质量、字节、时间",
                                         .has = has,
                                         .write = write,
                                         .command = "kvlab recommend"};
