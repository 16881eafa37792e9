/* Sections of papers: what stands in them, and what is escaped. */
#include "content_fixture.h"
#include "support.h"

#include "report/page.h"
#include "text/tokenizer.h"

#include <string.h>

static void check_has(const char *text, const char *words) {
    if (strstr(text, words) == NULL) {
        fail_msg("not written: %s\nbut:\n%s", words, text);
    }
}

/* Groups are closed, and no character acts that a name brought. */
static void check_tex(const char *tex) {
    long depth = 0;
    for (const char *at = tex; *at != '\0'; at++) {
        const bool is_comment = *at == '%';
        if (is_comment) {
            assert_true(at == tex);
            at = strchr(at, '\n');
        } else if (*at == '\\' && strchr("\\{}%&#$_", at[1]) != NULL) {
            at++;
        } else {
            depth += (*at == '{') - (*at == '}');
            assert_true(depth >= 0);
            assert_null(strchr("#_^~<>", *at));
        }
    }
    assert_int_equal(depth, 0);
}

/* Tags stand in code only, where they are text. */
static void check_md(const char *md) {
    bool is_code = false;
    for (const char *at = md; *at != '\0'; at++) {
        is_code = is_code != (*at == '`');
        if (*at == '<' && !is_code && strncmp(at - 2, "](<", 3) != 0) {
            assert_int_equal(at[-1], '\\');
        }
    }
    assert_false(is_code);
}

static void names_are_escaped(void **state) {
    static char name[] = "a_b%c&d#e$f{g}h~i^j\\k<script>\x80\x1b\xe4\xb8\xad";
    (void)state;
    kvl_content *c = content_fixture(CONTENT_RICH);
    kvl_err err = {0};
    kvl_str out = {0};
    char *before = c->model;
    c->model = name;
    assert_ok(kvl_paper_write_tex(&out, c, KVL_EN, "curve", &err));
    check_has(kvl_str_text(&out),
              "\\section{KV cache compression on "
              "a\\_b\\%c\\&d\\#e\\$f\\{g\\}h\\textasciitilde{}i\\textasciicircum{}j\\textbackslash{}k"
              "\\textless{}script\\textgreater{}{[}U+FFFD]{[}U+FFFD]{[}U+4E2D]}");
    check_tex(kvl_str_text(&out));
    kvl_str_clear(&out);
    assert_ok(kvl_paper_write_tex(&out, c, KVL_ZH, "curve", &err));
    check_has(kvl_str_text(&out), "{[}U+FFFD]{[}U+FFFD]\xe4\xb8\xad 上的 KV 缓存压缩}");
    kvl_str_clear(&out);
    assert_ok(kvl_paper_write_md(&out, c, KVL_EN, "curve", &err));
    check_has(kvl_str_text(&out),
              "# KV cache compression on a\\_b%c\\&d\\#e\\$f\\{g\\}h\\~i\\^j\\\\k\\<script\\>\xef\xbf\xbd");
    check_md(kvl_str_text(&out));
    kvl_str_free(&out);
    c->model = before;
    content_fixture_free(c);
}

static void a_section_has_its_parts(void **state) {
    static const char *const tex[] = {
        "% for \\input",
        "\\subsection{Method}",
        "tokens scored under each policy",
        "\\subsection{Results}",
        "\\toprule\npress & keep & PPL & $\\Delta$NLL {[}95 \\%] & keys and values & stage \\\\\n\\midrule",
        "\nknorm & 0.95 & ",
        "\\includegraphics[width=\\linewidth]{curve.pdf}",
        "\\caption{",
        "\\subsection{What this does not show}",
        "\\subsection{Reproduction}",
        "\\item curve: \\texttt{kvlab sweep -{}-preset",
        "\\begin{thebibliography}{9}\n\\bibitem{kvlab1} A. Devoto",
        "\\end{thebibliography}",
    };
    static const char *const md[] = {"## 方法", "## 结果", "| 压缩规则 | 保留率 | PPL |", "](<curve.png>)",
                                     "## 局限", "## 复现", "- 曲线：`kvlab sweep ",       "## 参考文献"};
    (void)state;
    kvl_content *c = content_fixture(CONTENT_RICH);
    kvl_err err = {0};
    kvl_str out = {0};
    assert_ok(kvl_paper_write_tex(&out, c, KVL_EN, "curve", &err));
    for (size_t i = 0; i < sizeof tex / sizeof tex[0]; i++) {
        check_has(kvl_str_text(&out), tex[i]);
    }
    kvl_str_clear(&out);
    assert_ok(kvl_paper_write_md(&out, c, KVL_ZH, "curve", &err));
    for (size_t i = 0; i < sizeof md / sizeof md[0]; i++) {
        check_has(kvl_str_text(&out), md[i]);
    }
    kvl_str_free(&out);
    content_fixture_free(c);
}

static void all_contents_make_whole_sections(void **state) {
    (void)state;
    for (content_kind kind = 0; kind < CONTENT_N_KINDS; kind++) {
        kvl_content *c = content_fixture(kind);
        for (kvl_lang lang = KVL_EN; lang < KVL_N_LANGS; lang++) {
            kvl_err err = {0};
            kvl_str out = {0};
            assert_ok(kvl_paper_write_tex(&out, c, lang, "curve", &err));
            check_tex(kvl_str_text(&out));
            assert_true(kvl_is_utf8(kvl_str_text(&out), out.len));
            assert_null(strstr(kvl_str_text(&out), "(null)"));
            kvl_str_clear(&out);
            assert_ok(kvl_paper_write_md(&out, c, lang, "curve", &err));
            check_md(kvl_str_text(&out));
            assert_true(kvl_is_utf8(kvl_str_text(&out), out.len));
            check_has(kvl_str_text(&out), kvl_word(lang, "## Reproduction", "## 复现"));
            kvl_str_free(&out);
        }
        content_fixture_free(c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_escaped),
        cmocka_unit_test(a_section_has_its_parts),
        cmocka_unit_test(all_contents_make_whole_sections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
