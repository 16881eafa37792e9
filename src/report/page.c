/* The frame of a page: head, contents, sections in order, data. */
#include "report/page.h"

#include "report/page_assets.h"

#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

/* ---- head ---- */

/* The only script that a browser may run here, whatever a text in the page holds: named by its SHA-256. */
static kvl_status put_policy(kvl_str *out, kvl_err *err) {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned char text[2 * EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (EVP_Digest(kvli_page_js, sizeof kvli_page_js - 1, digest, &n, EVP_sha256(), NULL) != 1) {
        return kvl_fail(err, KVL_E_CHECK, "page: SHA-256 of its script: not to be had");
    }
    EVP_EncodeBlock(text, digest, (int)n);
    kvl_str_printf(out,
                   "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
                   "style-src 'unsafe-inline'; img-src data:; script-src 'sha256-%s'; base-uri 'none'; "
                   "form-action 'none'\">\n",
                   (const char *)text);
    return KVL_OK;
}

static void put_title(kvl_page *p) {
    KVL_SAY(p->out, p->lang, "%s", "%s", kvl_word(p->lang, "Compressing the KV cache of ", "KV 缓存压缩："));
    kvl_html_text(p->out, p->content->model);
}

static kvl_status put_head(kvl_page *p, kvl_err *err) {
    kvl_str *out = p->out;
    kvl_str_printf(out, "<!doctype html>\n<html lang=\"%s\">\n<head>\n<meta charset=\"utf-8\">\n",
                   kvl_lang_code(p->lang));
    KVL_TRY(put_policy(out, err));
    kvl_str_puts(out, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                      "<meta name=\"color-scheme\" content=\"light dark\">\n<title>");
    put_title(p);
    kvl_str_puts(out, "</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n");
    kvl_str_puts(out, kvli_page_css);
    kvl_str_puts(out, "</style>\n</head>\n");
    return KVL_OK;
}

/* ---- body ---- */

static void put_contents(kvl_page *p) {
    size_t n = 0;
    const kvl_section *const *sections = kvl_sections(&n);
    kvl_str_printf(p->out, "<nav aria-label=\"%s\">\n<ol>\n", kvl_word(p->lang, "Contents", "目录"));
    for (size_t i = 0; i < n; i++) {
        if (sections[i]->has(p->content)) {
            kvl_str_printf(p->out, "<li><a href=\"#%s\">%s</a></li>\n", sections[i]->id,
                           kvl_word(p->lang, sections[i]->title_en, sections[i]->title_zh));
        }
    }
    kvl_str_printf(p->out, "</ol>\n<button id=\"theme\" type=\"button\" hidden>%s</button>\n</nav>\n",
                   kvl_word(p->lang, "Light / dark", "浅色 / 深色"));
}

/* One of the facts under the title; nothing where it is not known. */
static void put_fact(kvl_page *p, const char *name, const char *value) {
    if (value != NULL && value[0] != '\0') {
        kvl_str_printf(p->out, "<div><dt>%s</dt><dd>", name);
        kvl_html_text(p->out, value);
        kvl_str_puts(p->out, "</dd></div>\n");
    }
}

static void put_header(kvl_page *p) {
    const kvl_content *c = p->content;
    kvl_str_puts(p->out, "<header>\n<h1>");
    put_title(p);
    kvl_str_puts(p->out, "</h1>\n<dl class=\"facts\">\n");
    put_fact(p, kvl_word(p->lang, "Preset", "预设"), c->preset);
    put_fact(p, kvl_word(p->lang, "Protocol", "协议"), c->protocol_name);
    put_fact(p, kvl_word(p->lang, "Store", "结果库"), c->store);
    put_fact(p, kvl_word(p->lang, "Made", "生成时间"), c->made);
    kvl_str_puts(p->out, "</dl>\n</header>\n");
}

static kvl_status put_section(kvl_page *p, const kvl_section *s, kvl_err *err) {
    kvl_str_printf(p->out, "<section id=\"%s\">\n<h2><a href=\"#%s\">%s</a></h2>\n", s->id, s->id,
                   kvl_word(p->lang, s->title_en, s->title_zh));
    KVL_TRY(s->write(p, err));
    kvl_str_puts(p->out, "</section>\n");
    return KVL_OK;
}

static void put_footer(kvl_page *p) {
    kvl_str_puts(p->out, "<footer>\n<p>kvlab ");
    kvl_html_text(p->out, p->content->version != NULL ? p->content->version : KVL_VERSION);
    kvl_str_puts(p->out, "</p>\n</footer>\n");
}

kvl_status kvl_page_write(kvl_str *out, const kvl_content *c, kvl_lang lang, kvl_err *err) {
    kvl_page page = {.out = out, .content = c, .lang = lang};
    size_t n = 0;
    const kvl_section *const *sections = kvl_sections(&n);
    KVL_TRY(put_head(&page, err));
    kvl_str_puts(out, "<body>\n");
    put_contents(&page);
    kvl_str_puts(out, "<main>\n");
    put_header(&page);
    for (size_t i = 0; i < n; i++) {
        if (sections[i]->has(c)) {
            KVL_TRY(put_section(&page, sections[i], err));
        }
    }
    put_footer(&page);
    kvl_str_printf(out, "</main>\n<script>%s</script>\n</body>\n</html>\n", kvli_page_js);
    return kvl_str_check(out, "page", err);
}
