/* Charts as files of their own, with title, protocol and command around them. */
#include "report/chart_int.h"
#include "report/figure_int.h"

#include "base/os.h"

enum { CHART_WIDTH = 760, MARGIN = 30 };
static const double title_size = 17;
static const double small_size = 11;

kvl_status kvl_figure_save(const kvl_figure *f, const char *title, const char *path, kvl_err *err) {
    static const char *const endings[] = {"png", "svg", "pdf"};
    kvl_status status = KVL_OK;
    for (size_t i = 0; i < 3 && status == KVL_OK; i++) {
        kvl_str bytes = {0};
        kvl_str name = {0};
        kvl_str_printf(&name, "%s.%s", path, endings[i]);
        status = i == 0   ? kvl_figure_write_png(&bytes, f, err)
                 : i == 1 ? kvl_figure_write_svg_file(&bytes, f, title, err)
                          : kvl_figure_write_pdf(&bytes, f, title, err);
        if (status == KVL_OK) {
            status = kvl_file_save(kvl_str_text(&name), kvl_str_text(&bytes), bytes.len, err);
        }
        kvl_str_free(&bytes);
        kvl_str_free(&name);
    }
    return status;
}

const kvl_chart *kvl_chart_of_sweep(const kvl_content *c) {
    size_t first = 0;
    const size_t n = kvli_find_presses(c->sweep, &first, 1);
    return n == 0 ? NULL : kvl_chart_find(n > KVLI_MOST_SERIES ? "curves" : "curve");
}

/* Moves the chart between title and line, and command. */
static kvl_status frame(kvl_figure **out, kvl_figure *chart, const kvl_caption *c, kvl_err *err) {
    const double w = kvl_figure_width(chart);
    const double x = MARGIN;
    const double line = kvl_figure_paragraph_height(chart, w, small_size, c->line);
    const double foot = kvl_figure_paragraph_height(chart, w, small_size, c->command);
    const double top = 48 + line + 14;
    const double bottom = top + kvl_figure_height(chart) + 14;
    KVL_TRY(kvl_figure_create(out, w + 2 * x, bottom + foot + 14, err));
    kvl_figure_text(*out, x, 27, title_size, KVL_ALIGN_LEFT, KVL_INK_TEXT, w, c->title);
    kvl_figure_paragraph(*out, x, 46, w, small_size, KVL_ALIGN_LEFT, KVL_INK_SOFT, c->line);
    kvli_figure_take(*out, chart, x, top);
    kvl_figure_paragraph(*out, x, bottom, w, small_size, KVL_ALIGN_LEFT, KVL_INK_SOFT, c->command);
    return KVL_OK;
}

kvl_status kvl_chart_save(const kvl_chart *chart, const kvl_content *c, kvl_lang lang,
                          const kvl_caption *caption, const char *path, kvl_err *err) {
    kvl_figure *f = NULL;
    kvl_figure *framed = NULL;
    KVL_TRY(kvl_figure_create(&f, CHART_WIDTH, chart->height(c, CHART_WIDTH), err));
    chart->draw(f, c, lang);
    kvl_status status = caption != NULL ? frame(&framed, f, caption, err) : KVL_OK;
    if (status == KVL_OK) {
        status = caption != NULL
                     ? kvl_figure_save(framed, caption->title, path, err)
                     : kvl_figure_save(f, kvl_word(lang, chart->title_en, chart->title_zh), path, err);
    }
    kvl_figure_destroy(framed);
    kvl_figure_destroy(f);
    return status;
}
