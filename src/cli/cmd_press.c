/* kvlab press: the presses there are, and all that is known of one. */
#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/press_arg.h"
#include "cli/press_text.h"

#include "base/json.h"
#include "press/plugin.h"

#include <string.h>

enum { OPT_FORMAT, OPT_HELP };

static const kvl_arg table[] = {
    KVL_PRESS_ARGS,
    {OPT_FORMAT, 'o', "output", "FORMAT", "table, md, csv or json (default table; csv: of the list only)"},
    {OPT_HELP, 'h', "help", NULL, "this text"},
};
enum { n_table = sizeof table / sizeof table[0] };

typedef enum format { TABLE, MD, CSV, JSON } format;

typedef struct options {
    const char *words[2]; /* list, or show NAME */
    size_t n_words;
    format format;
    bool is_help;
} options;

/* ---- options ---- */

static kvl_status set_format(format *out, const char *value, kvl_err *err) {
    static const char *const names[] = {"table", "md", "csv", "json"};
    size_t index = 0;
    KVL_TRY(kvl_args_choice(&index, "--output", value, names, sizeof names / sizeof names[0], err));
    *out = (format)index;
    return KVL_OK;
}

static kvl_status set_option(void *ud, int id, const char *value, kvl_err *err) {
    options *o = ud;
    switch (id) {
    case KVL_ARG_PRESS_SO: return kvl_press_load(value, err);
    case OPT_FORMAT: return set_format(&o->format, value, err);
    case OPT_HELP: o->is_help = true; return KVL_OK;
    default:
        if (o->n_words == 2) {
            return kvl_fail(err, KVL_E_USAGE, "press: expected list or show NAME, found '%.80s' behind",
                            value);
        }
        o->words[o->n_words++] = value;
        return KVL_OK;
    }
}

/* ---- fields ---- */

/* What list and show say of a press; texts are owned. */
typedef struct card {
    const kvl_press *press;
    kvl_press_group group;
    kvl_str needs, unit, example;
} card;

static void make_card(card *c, const kvl_press *press) {
    *c = (card){.press = press, .group = kvl_press_group_of(press)};
    kvl_press_needs_text(press, &c->needs);
    kvl_press_unit_text(press, &c->unit);
    kvl_press_example(press, &c->example);
}

static void free_card(card *c) {
    kvl_str_free(&c->needs);
    kvl_str_free(&c->unit);
    kvl_str_free(&c->example);
}

static const char *kind_text(const kvl_option *o) {
    static const char *const texts[] = {"count", "number", "choice", "list"};
    return texts[o->kind];
}

static json_t *text_or_null(const char *text) {
    return text != NULL && text[0] != '\0' ? json_string(text) : json_null();
}

static json_t *options_array(const kvl_press *press) {
    json_t *list = json_array();
    for (size_t i = 0; i < press->n_options; i++) {
        const kvl_option *o = &press->options[i];
        json_t *object = json_pack("{s:s, s:s, s:s, s:s}", "name", o->name, "kind", kind_text(o), "default",
                                   o->initial, "help", o->help);
        if (o->kind == KVL_OPTION_CHOICE) {
            json_object_set_new(object, "choices", json_string(o->choices));
        } else {
            json_object_set_new(object, "min", kvl_json_number(o->min));
            json_object_set_new(object, "max", kvl_json_number(o->max));
        }
        json_array_append_new(list, object);
    }
    return list;
}

static json_t *card_object(const card *c) {
    const kvl_press *p = c->press;
    return json_pack("{s:s, s:i, s:s, s:s, s:s, s:s, s:o, s:s, s:o, s:o, s:o, s:o, s:s, s:o, s:o}", "name",
                     p->name, "version", (int)p->version, "group", kvl_press_group_text(c->group), "needs",
                     kvl_str_text(&c->needs), "unit", kvl_str_text(&c->unit), "summary", p->summary, "advice",
                     text_or_null(p->advice), "source", p->source, "formula", text_or_null(p->formula),
                     "cost", text_or_null(p->cost), "differs", text_or_null(p->differs), "options",
                     options_array(p), "example", kvl_str_text(&c->example), "plugin_file",
                     text_or_null(kvl_press_file(p)), "plugin_hash", text_or_null(kvl_press_hash(p)));
}

/* ---- list ---- */

/* A field of CSV: in quotation marks, those within doubled. */
static void put_quoted(kvl_str *out, const char *text) {
    kvl_str_puts(out, "\"");
    for (; *text != '\0'; text++) {
        kvl_str_append(out, text, 1);
        kvl_str_puts(out, *text == '"' ? "\"" : "");
    }
    kvl_str_puts(out, "\"");
}

/* Text in a cell of a Markdown table. */
static void put_cell(kvl_str *out, const char *text) {
    for (; *text != '\0'; text++) {
        kvl_str_printf(out, "%s%c", *text == '|' ? "\\" : "", *text);
    }
}

static void write_heading(kvl_str *out, format kind, kvl_press_group group) {
    const char *text = kvl_press_group_text(group);
    kvl_str_puts(out, out->len != 0 && kind != CSV ? "\n" : "");
    if (kind == MD) {
        kvl_str_printf(out, "## Presses %s\n\n| press | what stays | acts on | needs |\n|---|---|---|---|\n",
                       text);
    } else if (kind == TABLE) {
        kvl_str_printf(out, "presses %s\n", text);
    }
}

static void write_line(kvl_str *out, format kind, const card *c) {
    const char *cells[] = {kvl_press_group_text(c->group), kvl_str_text(&c->needs), kvl_str_text(&c->unit),
                           c->press->summary};
    if (kind == MD) {
        kvl_str_printf(out, "| %s | ", c->press->name);
        put_cell(out, cells[3]);
        kvl_str_printf(out, " | %s | %s |\n", cells[2], cells[1]);
        return;
    }
    if (kind == TABLE) {
        kvl_str_printf(out, "  %-26s %-16s %-36s %s\n", c->press->name, cells[2], cells[1], cells[3]);
        return;
    }
    kvl_str_puts(out, c->press->name);
    for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++) {
        kvl_str_puts(out, ",");
        put_quoted(out, cells[i]);
    }
    kvl_str_puts(out, "\n");
}

static void write_group(kvl_str *out, format kind, kvl_press_group group) {
    size_t n = 0;
    const kvl_press *const *all = kvl_presses(&n);
    bool is_first = true;
    for (size_t i = 0; i < n; i++) {
        if (kvl_press_group_of(all[i]) == group) {
            card c;
            make_card(&c, all[i]);
            if (is_first) {
                write_heading(out, kind, group);
            }
            write_line(out, kind, &c);
            free_card(&c);
            is_first = false;
        }
    }
}

static kvl_status write_list(kvl_str *out, const options *o, kvl_err *err) {
    size_t n = 0;
    const kvl_press *const *all = kvl_presses(&n);
    if (o->format == JSON) {
        json_t *list = json_array();
        for (size_t i = 0; i < n; i++) {
            card c;
            make_card(&c, all[i]);
            json_array_append_new(list, card_object(&c));
            free_card(&c);
        }
        return kvl_json_write(out, list, true, err);
    }
    if (o->format == CSV) {
        kvl_str_puts(out, "name,group,needs,unit,summary\n");
    }
    for (kvl_press_group group = 0; group < KVL_N_PRESS_GROUPS; group++) {
        write_group(out, o->format, group);
    }
    return kvl_str_check(out, "press", err);
}

/* ---- show ---- */

/* What is said one below the other; what is NULL is left out. */
enum { N_FIELDS = 7 };
static void fields_of(const card *c, const char *fields[N_FIELDS][2]) {
    const kvl_press *p = c->press;
    const char *const all[N_FIELDS][2] = {
        {"take it", p->advice},
        {"score", p->formula},
        {"needs", kvl_str_text(&c->needs)},
        {"acts on", kvl_str_text(&c->unit)},
        {"cost", p->cost},
        {"source", p->source},
        {"differs", p->differs},
    };
    memcpy(fields, all, sizeof all);
}

static void write_page(kvl_str *out, const card *c) {
    const char *fields[N_FIELDS][2];
    const char *rest = c->press->summary;
    const bool is_lower = rest[0] >= 'a' && rest[0] <= 'z';
    fields_of(c, fields);
    kvl_str_printf(out, "# %s\n\n%c%s.\n\n```\nkvlab sweep -P '%s' -r 0.5\n```\n\n", c->press->name,
                   is_lower ? rest[0] - 'a' + 'A' : rest[0], rest + (rest[0] != '\0'),
                   kvl_str_text(&c->example));
    for (size_t i = 0; i < N_FIELDS; i++) {
        if (fields[i][1] != NULL) {
            kvl_str_printf(out, "- **%s:** %s\n", fields[i][0], fields[i][1]);
        }
    }
    if (c->press->n_options != 0) {
        kvl_str_puts(out, "\n| option | default | values | meaning |\n|---|---|---|---|\n");
    }
    for (size_t i = 0; i < c->press->n_options; i++) {
        const kvl_option *o = &c->press->options[i];
        kvl_str_printf(out, "| `%s` | %s | ", o->name, o->initial);
        kvl_press_values_text(o, out);
        kvl_str_puts(out, " | ");
        put_cell(out, o->help);
        kvl_str_puts(out, " |\n");
    }
}

static void write_sheet(kvl_str *out, const card *c) {
    const char *fields[N_FIELDS][2];
    fields_of(c, fields);
    kvl_str_printf(out, "%s: %s\n\n", c->press->name, c->press->summary);
    for (size_t i = 0; i < N_FIELDS; i++) {
        if (fields[i][1] != NULL) {
            kvl_str_printf(out, "  %-9s %s\n", fields[i][0], fields[i][1]);
        }
    }
    for (size_t i = 0; i < c->press->n_options; i++) {
        const kvl_option *o = &c->press->options[i];
        kvl_str_printf(out, "  %-9s %s=%s  %s (", i == 0 ? "options" : "", o->name, o->initial, o->help);
        kvl_press_values_text(o, out);
        kvl_str_puts(out, ")\n");
    }
    kvl_str_printf(out, "  %-9s kvlab sweep -P '%s' -r 0.5\n", "try", kvl_str_text(&c->example));
    if (kvl_press_hash(c->press)[0] != '\0') {
        kvl_str_printf(out, "  %-9s %s (SHA-256 %s...)\n", "plug-in", kvl_press_file(c->press),
                       kvl_press_hash(c->press));
    } else {
        kvl_str_printf(out, "  %-9s docs/presses/%s.md\n", "page", c->press->name);
    }
}

static kvl_status write_one(kvl_str *out, const options *o, kvl_err *err) {
    const kvl_press *press = NULL;
    card c;
    KVL_TRY(kvl_press_find(&press, o->words[1], strlen(o->words[1]), err));
    if (o->format == CSV) {
        return kvl_fail(err, KVL_E_USAGE, "press show: expected -o table, md or json, found csv");
    }
    make_card(&c, press);
    kvl_status status = KVL_OK;
    if (o->format == JSON) {
        status = kvl_json_write(out, card_object(&c), true, err);
    } else {
        (o->format == MD ? write_page : write_sheet)(out, &c);
        status = kvl_str_check(out, "press", err);
    }
    free_card(&c);
    return status;
}

/* ---- the command ---- */

static kvl_status write(kvl_str *out, const options *o, kvl_err *err) {
    const char *verb = o->n_words != 0 ? o->words[0] : "nothing";
    if (o->is_help) {
        kvl_str_puts(out,
                     "usage: kvlab press list [OPTIONS]\n       kvlab press show NAME [OPTIONS]\n\n"
                     "The presses there are: what they need, on what they act; all about one of them.\n\n"
                     "options:\n");
        kvl_args_help(table, n_table, out);
        return kvl_str_check(out, "press", err);
    }
    if (strcmp(verb, "list") == 0 && o->n_words == 1) {
        return write_list(out, o, err);
    }
    if (strcmp(verb, "show") == 0) {
        return o->n_words == 2 ? write_one(out, o, err)
                               : kvl_fail(err, KVL_E_USAGE,
                                          "press show: expected a name, found nothing; kvlab "
                                          "press list shows all");
    }
    return kvl_fail(err, KVL_E_USAGE, "press: expected list or show NAME, found %s",
                    o->n_words == 2 ? o->words[1] : verb);
}

kvl_status kvl_cmd_press(int argc, char **argv, kvl_err *err) {
    options o = {0};
    kvl_str out = {0};
    KVL_TRY(kvl_press_path_load(err));
    kvl_status status = kvl_args_parse(table, n_table, argc, argv, 2, set_option, &o, err);
    if (status == KVL_OK) {
        status = write(&out, &o, err);
    }
    if (status == KVL_OK) {
        status = kvl_print(kvl_str_text(&out), out.len, err);
    }
    kvl_str_free(&out);
    return status;
}
