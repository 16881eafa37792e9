/* kvlab report: what a store holds of a model, as a page to read, a section of a paper, and pictures. */
#include "cli/cmd.h"
#include "cli/report_arg.h"

#include "base/os.h"

#include <stdio.h>
#include <string.h>

enum { OPT_GROUP, OPT_OUT, OPT_FORMAT, OPT_CHARTS, OPT_HELP };

static const kvl_arg table[] = {
    {OPT_OUT, 0, "out", "FILE", "what is written (default out/report.html, .md or .tex)"},
    {OPT_FORMAT, 0, "format", "html|md|tex", "a page, or a section of a paper with its figure beside (html)"},
    KVL_LANG_ARGS,
    {OPT_CHARTS, 0, "charts", "DIR", "save every chart as PNG, SVG and PDF too"},
    {OPT_GROUP, 0, "group", "KEY", "which cells, as kvlab ls lists them (default: the newest)"},
    KVL_STORE_FILE_ARGS,
    {OPT_HELP, 'h', "help", NULL, "this text"},
};
enum { n_table = sizeof table / sizeof table[0] };

typedef enum format { FORMAT_HTML, FORMAT_MD, FORMAT_TEX, N_FORMATS } format;
static const char *const format_names[N_FORMATS] = {"html", "md", "tex"};

typedef struct session {
    kvl_store_arg store;
    kvl_report_arg report; /* path and language */
    const char *group, *charts;
    format format;
    bool is_help;
    kvl_content content;
} session;

static kvl_status set_option(void *ud, int id, const char *value, kvl_err *err) {
    session *s = ud;
    bool is_taken = false;
    size_t choice = 0;
    KVL_TRY(kvl_report_arg_take(&s->report, id, value, &is_taken, err));
    if (is_taken || kvl_store_arg_take(&s->store, id, value)) {
        return KVL_OK;
    }
    switch (id) {
    case OPT_OUT: s->report.path = value; return KVL_OK;
    case OPT_GROUP: s->group = value; return KVL_OK;
    case OPT_CHARTS: s->charts = value; return KVL_OK;
    case OPT_HELP: s->is_help = true; return KVL_OK;
    case OPT_FORMAT:
        KVL_TRY(kvl_args_choice(&choice, "--format", value, format_names, N_FORMATS, err));
        s->format = (format)choice;
        return KVL_OK;
    default: return kvl_fail(err, KVL_E_USAGE, "expected options only, found '%.80s'", value);
    }
}

/* ---- charts ---- */

static kvl_status save_charts(const session *s, kvl_err *err) {
    size_t n = 0;
    const kvl_chart *const *charts = kvl_charts(&n);
    char base[4096];
    KVL_TRY(kvl_dir_create(s->charts, err));
    for (size_t i = 0; i < n; i++) {
        if (charts[i]->has(&s->content)) {
            snprintf(base, sizeof base, "%s/%s", s->charts, charts[i]->id);
            KVL_TRY(kvl_chart_save(charts[i], &s->content, s->report.lang, NULL, base, err));
            fprintf(stderr, "chart: %s.png, .svg and .pdf\n", base);
        }
    }
    return KVL_OK;
}

/* ---- the report ---- */

/* The path of the section's figure without its ending, beside the section: report-curve for report.tex. */
static void put_figure_base(kvl_str *out, const char *target) {
    const char *slash = strrchr(target, '/');
    const char *dot = strrchr(target, '.');
    const bool has_ending = dot != NULL && (slash == NULL || dot > slash + 1) && dot != target;
    kvl_str_append(out, target, has_ending ? (size_t)(dot - target) : strlen(target));
    kvl_str_puts(out, "-curve");
}

/* The section, and its figure beside it. */
static kvl_status save_section(const session *s, kvl_str *out, const char *target, kvl_err *err) {
    const kvl_chart *chart = kvl_chart_find("curve");
    kvl_str base = {0};
    put_figure_base(&base, target);
    const char *slash = strrchr(kvl_str_text(&base), '/');
    const char *name = slash != NULL ? slash + 1 : kvl_str_text(&base);
    kvl_status status = s->format == FORMAT_MD
                            ? kvl_paper_write_md(out, &s->content, s->report.lang, name, err)
                            : kvl_paper_write_tex(out, &s->content, s->report.lang, name, err);
    KVL_GO(status);
    KVL_GO(kvl_report_save(target, out, err));
    if (chart->has(&s->content)) {
        status = kvl_chart_save(chart, &s->content, s->report.lang, NULL, kvl_str_text(&base), err);
    }
done:
    kvl_str_free(&base);
    return status;
}

static kvl_status save_page(const session *s, kvl_str *out, const char *target, kvl_err *err) {
    KVL_TRY(kvl_page_write(out, &s->content, s->report.lang, err));
    return kvl_report_save(target, out, err);
}

static kvl_status run(session *s, kvl_err *err) {
    kvl_str text = {0};
    char path[4096];
    kvl_status status = KVL_OK;
    snprintf(path, sizeof path, "out/report.%s", format_names[s->format]);
    const char *target = s->report.path != NULL ? s->report.path : path;
    KVL_GO(kvl_report_read(&s->content, &s->store, NULL, NULL, s->group, err));
    KVL_GO(s->format == FORMAT_HTML ? save_page(s, &text, target, err) : save_section(s, &text, target, err));
    KVL_GO(s->charts != NULL ? save_charts(s, err) : KVL_OK);
    kvl_str_clear(&text);
    kvl_str_printf(&text, "%s\n", target);
    KVL_GO(kvl_print(kvl_str_text(&text), text.len, err));
done:
    kvl_str_free(&text);
    return status;
}

kvl_status kvl_cmd_report(int argc, char **argv, kvl_err *err) {
    session s = {0};
    KVL_TRY(kvl_args_parse(table, n_table, argc, argv, 2, set_option, &s, err));
    if (s.is_help) {
        kvl_str help = {0};
        kvl_str_puts(&help,
                     "usage: kvlab report [OPTIONS]\n\nWrites what a store holds of a model: one HTML file "
                     "without any other, or a section\nof a paper. Its path is the one line on stdout.\n\n");
        kvl_args_help(table, n_table, &help);
        const kvl_status status = kvl_print(kvl_str_text(&help), help.len, err);
        kvl_str_free(&help);
        return status;
    }
    const kvl_status status = run(&s, err);
    kvl_content_free(&s.content);
    return status;
}
