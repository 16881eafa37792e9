/* Time: to the first token, per token, of the compression itself, and when that has paid. */
#include "report/cells.h"

#include <math.h>

static bool has(const kvl_content *c) { return c->time != NULL || c->bench != NULL; }

/* New tokens after which faster decoding has paid for the compression. */
static void cell_break_even(kvl_texts *cells, const kvl_time_line *l, const kvl_time_line *full,
                            kvl_lang lang) {
    const double saved = full->tpot_ns - l->tpot_ns;
    if (l == full || isnan(saved) || isnan(l->compress_ns)) {
        kvli_cell(cells, "–");
    } else if (saved <= 0) {
        kvli_cell(cells, "%s", kvl_word(lang, "never", "从不"));
    } else {
        kvli_cell(cells, "%.0f", ceil(l->compress_ns / saved));
    }
}

static kvl_status put_times(kvl_page *p, const kvl_time_content *time, kvl_err *err) {
    static const kvli_column columns[] = {
        {"policy", "策略", false},
        {"TTFT ms", "TTFT ms", true},
        {"compression ms", "压缩 ms", true},
        {"TPOT ms", "TPOT ms", true},
        {"pays after tokens", "回本 token 数", true},
        {"KV KiB", "KV KiB", true},
        {"KV peak KiB", "KV 峰值 KiB", true},
        {"peak RSS MiB", "进程峰值 MiB", true},
    };
    enum { n_columns = sizeof columns / sizeof columns[0] };
    kvl_texts cells = {0};
    kvl_str caption = {0};
    for (size_t i = 0; i < time->n; i++) {
        const kvl_time_line *l = &time->lines[i];
        kvli_cell(&cells, "%s", l->policy);
        kvli_cell_number(&cells, l->ttft_ns * 1e-6, 2);
        kvli_cell_number(&cells, l->compress_ns * 1e-6, 3);
        kvli_cell_number(&cells, l->tpot_ns * 1e-6, 4);
        cell_break_even(&cells, l, &time->lines[0], p->lang);
        kvli_cell_number(&cells, (double)l->kv_bytes_live / 1024, 1);
        kvli_cell_number(&cells, (double)l->kv_bytes_peak / 1024, 1);
        kvli_cell_number(&cells, (double)l->peak_rss_bytes / 1048576, 1);
    }
    KVL_SAY(
        &caption, p->lang,
        "A prompt of %zu tokens, compressed once, then %zu tokens; medians of %zu interleaved repetitions",
        "%zu 个 token 的提示压缩一次，再生成 %zu 个 token；交替重复 %zu 次的中位数", time->n_prompt,
        time->n_new, time->n_repetitions);
    const kvl_status status = kvli_cells_put(p, &cells, kvl_str_text(&caption), columns, n_columns, err);
    kvl_str_free(&caption);
    return status;
}

static kvl_status put_bench(kvl_page *p, const kvl_bench_content *bench, kvl_err *err) {
    static const kvli_column columns[] = {
        {"test", "测试", false},
        {"policy", "策略", false},
        {"tokens per second", "token/秒", true},
        {"standard deviation", "标准差", true},
    };
    kvl_texts cells = {0};
    kvl_str caption = {0};
    for (size_t i = 0; i < bench->n; i++) {
        kvli_cell(&cells, "%s", bench->lines[i].test);
        kvli_cell(&cells, "%s", bench->lines[i].policy);
        kvli_cell_number(&cells, bench->lines[i].tokens_per_s, 2);
        kvli_cell_number(&cells, bench->lines[i].stddev, 2);
    }
    KVL_SAY(&caption, p->lang, "Speed tests on %s", "速度测试：%s", bench->cpu);
    const kvl_status status = kvli_cells_put(p, &cells, kvl_str_text(&caption), columns, 4, err);
    kvl_str_free(&caption);
    return status;
}

static kvl_status write(kvl_page *p, kvl_err *err) {
    const kvl_content *c = p->content;
    if (c->time != NULL) {
        kvl_page_paragraph(
            p,
            kvl_word(
                p->lang,
                "TTFT is the time from the call to the first new token, TPOT the time of each later "
                "one. Compression costs time of its own once; it has paid when so many tokens "
                "were generated that faster steps have made up for it.",
                "TTFT 是从调用到第一个新 token 的时间，TPOT 是其后每个 token 的时间。压缩本身要花一次时间；"
                "生成足够多的 token、每步省下的时间抵过它之后，才算回本。"));
        KVL_TRY(kvl_page_chart(p, kvl_chart_find("time"), c->time->command, err));
        KVL_TRY(kvl_page_chart(p, kvl_chart_find("breakeven"), NULL, err));
        KVL_TRY(put_times(p, c->time, err));
    }
    return c->bench != NULL ? put_bench(p, c->bench, err) : KVL_OK;
}

const kvl_section kvli_section_time = {.id = "time",
                                       .title_en = "Time",
                                       .title_zh = "时间",
                                       .has = has,
                                       .write = write,
                                       .command = "kvlab sweep --timing"};
