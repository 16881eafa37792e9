/* Reading pages for tests. */
#include "report/html_check.h"

#include "support.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DEPTH = 64, NAME_BYTES = 32 };

typedef struct reader {
    html_page *page;
    const char *html, *at;
    char stack[MOST_DEPTH][NAME_BYTES];
    size_t depth;
    kvl_str text;
} reader;

static void fail_at(const reader *r, const char *what) {
    fail_msg("page: %s at byte %zu: %.60s", what, (size_t)(r->at - r->html), r->at);
}

static bool is_void(const char *tag) {
    static const char *const names[] = {"meta", "link", "br", "hr", "img", "input", "!doctype"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(tag, names[i]) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_within(const reader *r, const char *tag) {
    for (size_t i = 0; i < r->depth; i++) {
        if (strcmp(r->stack[i], tag) == 0) {
            return true;
        }
    }
    return false;
}

static void note(char **list, size_t *n, const char *text, size_t n_text) {
    assert_true(*n < HTML_MOST);
    list[(*n)++] = kvl_strndup(text, n_text);
}

/* ---- attributes ---- */

static void check_entities(const reader *r, const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (text[i] == '&') {
            const size_t end = strspn(text + i + 1, "#abcdefghijklmnopqrstuvwxyz0123456789");
            if (end == 0 || text[i + 1 + end] != ';') {
                fail_at(r, "an & that begins no entity");
            }
        }
    }
}

static void read_attribute(reader *r, const char *name, size_t n_name, const char *value, size_t n) {
    html_page *p = r->page;
    check_entities(r, value, n);
    if (n_name == 2 && strncmp(name, "id", 2) == 0) {
        note(p->ids, &p->n_ids, value, n);
    } else if (n_name == 4 && strncmp(name, "href", 4) == 0) {
        if (n != 0 && value[0] == '#') {
            note(p->anchors, &p->n_anchors, value + 1, n - 1);
        } else if (strncmp(value, "data:", 5) != 0) {
            fail_at(r, "a link out of the page");
        }
    } else if ((n_name == 3 && strncmp(name, "src", 3) == 0) || strncmp(name, "on", 2) == 0) {
        fail_at(r, "something to load or to run");
    }
}

/* Attributes up to the end of the tag; whether it closes itself. */
static bool read_attributes(reader *r) {
    for (;;) {
        r->at += strspn(r->at, " \n");
        if (strncmp(r->at, "/>", 2) == 0) {
            r->at += 2;
            return true;
        }
        if (*r->at == '>') {
            r->at++;
            return false;
        }
        const char *name = r->at;
        const size_t n_name =
            strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-:");
        if (n_name == 0) {
            fail_at(r, "no attribute");
        }
        r->at += n_name;
        if (*r->at == '=') {
            if (r->at[1] != '"') {
                fail_at(r, "an attribute without quotes");
            }
            const char *value = r->at + 2;
            const size_t n = strcspn(value, "\"<");
            if (value[n] != '"') {
                fail_at(r, "an attribute that does not end");
            }
            read_attribute(r, name, n_name, value, n);
            r->at = value + n + 1;
        }
    }
}

/* ---- tags ---- */

static void read_name(reader *r, char tag[NAME_BYTES]) {
    size_t n = 0;
    while (n + 1 < NAME_BYTES && (isalnum((unsigned char)*r->at) || *r->at == '!')) {
        tag[n++] = *r->at++;
    }
    tag[n] = '\0';
    if (n == 0) {
        fail_at(r, "a < that begins no tag");
    }
}

static void close_tag(reader *r) {
    char tag[NAME_BYTES];
    r->at += 2;
    read_name(r, tag);
    if (r->depth == 0 || strcmp(r->stack[r->depth - 1], tag) != 0 || *r->at != '>') {
        fail_at(r, "a tag is closed that was not opened");
    }
    r->at++;
    r->depth--;
}

/* What stands between the tags of a script or style is not markup. */
static void skip_raw(reader *r, const char *tag) {
    char end[NAME_BYTES + 2];
    snprintf(end, sizeof end, "</%s", tag);
    const char *found = strstr(r->at, end);
    if (found == NULL) {
        fail_at(r, "a script or style that does not end");
    }
    r->at = found;
}

static void open_tag(reader *r) {
    char tag[NAME_BYTES];
    r->at++;
    read_name(r, tag);
    const bool is_closed = read_attributes(r);
    html_page *p = r->page;
    p->n_elements++;
    p->n_svg += strcmp(tag, "svg") == 0;
    p->n_tables += strcmp(tag, "table") == 0;
    p->n_scripts += strcmp(tag, "script") == 0;
    if (is_closed || is_void(tag)) {
        return;
    }
    assert_true(r->depth < MOST_DEPTH);
    memcpy(r->stack[r->depth++], tag, NAME_BYTES);
    if (strcmp(tag, "script") == 0 || strcmp(tag, "style") == 0) {
        skip_raw(r, tag);
    }
}

static void read_text(reader *r) {
    const size_t n = strcspn(r->at, "<");
    check_entities(r, r->at, n);
    if (memchr(r->at, '>', n) != NULL) {
        fail_at(r, "a > in text");
    }
    if (!is_within(r, "code") && !is_within(r, "pre")) {
        kvl_str_append(&r->text, r->at, n);
        kvl_str_puts(&r->text, "\n");
    }
    r->at += n;
}

static int compare(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

void html_read(html_page *out, const char *html) {
    memset(out, 0, sizeof *out);
    reader r = {.page = out, .html = html, .at = html};
    while (*r.at != '\0') {
        if (strncmp(r.at, "</", 2) == 0) {
            close_tag(&r);
        } else if (*r.at == '<') {
            open_tag(&r);
        } else {
            read_text(&r);
        }
    }
    if (r.depth != 0) {
        fail_msg("page: <%s> is not closed", r.stack[r.depth - 1]);
    }
    qsort(out->ids, out->n_ids, sizeof out->ids[0], compare);
    for (size_t i = 1; i < out->n_ids; i++) {
        if (strcmp(out->ids[i - 1], out->ids[i]) == 0) {
            fail_msg("page: id '%s' is there twice", out->ids[i]);
        }
    }
    for (size_t i = 0; i < out->n_anchors; i++) {
        if (bsearch(&out->anchors[i], out->ids, out->n_ids, sizeof out->ids[0], compare) == NULL) {
            fail_msg("page: a link to '#%s', which is not there", out->anchors[i]);
        }
    }
    out->text = r.text.data;
}

void html_free(html_page *p) {
    for (size_t i = 0; i < p->n_ids; i++) {
        kvl_free(p->ids[i]);
    }
    for (size_t i = 0; i < p->n_anchors; i++) {
        kvl_free(p->anchors[i]);
    }
    kvl_free(p->text);
    memset(p, 0, sizeof *p);
}
