/* All that a store holds of a group, as the content of a report. */
#include "report/gather_int.h"

#include "base/alloc.h"
#include "base/os.h"

#include <string.h>

/* ---- documents ---- */

static const struct {
    const char *kind;
    void (*read)(kvli_gather *g);
} kinds[] = {
    {"explain-only", kvli_gather_explain}, /* gives way to one of all hypotheses */
    {"explain", kvli_gather_explain},      {"portrait", kvli_gather_portrait},
    {"timing", kvli_gather_timing},        {"needle", kvli_gather_needle},
    {"recommend", kvli_gather_recommend},  {"bench", kvli_gather_bench},
};

/* The newest document of each kind, of the content's model; of any, whose model it then is, where no cell has
 * named one. */
static kvl_status read_documents(kvli_gather *g, kvl_store *store) {
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        kvl_document document = {0};
        bool is_there = false;
        kvl_status status =
            kvl_store_get_document(store, kinds[i].kind, g->content->model, &document, &is_there, g->err);
        if (status == KVL_OK && is_there) {
            g->document = &document;
            if (g->content->model == NULL) {
                g->content->model = kvli_own_text(g, document.model);
            }
            kinds[i].read(g);
            status = g->status;
        }
        kvl_document_free(&document);
        KVL_TRY(status);
    }
    return KVL_OK;
}

/* ---- groups ---- */

static const kvl_store_group *find_group(const kvl_store_groups *groups, const char *model, const char *group,
                                         kvl_err *err) {
    const kvl_store_group *found = NULL;
    size_t n_found = 0;
    for (size_t i = 0; i < groups->n; i++) {
        const kvl_store_group *g = &groups->items[i];
        if (group != NULL ? strncmp(g->group, group, strlen(group)) == 0
                          : model == NULL || strcmp(g->model, model) == 0) {
            found = found != NULL ? found : g;
            n_found++;
        }
    }
    if (group != NULL && n_found != 1) {
        (void)kvl_fail(
            err, KVL_E_USAGE,
            "--group: expected the beginning of one key that `kvlab ls` lists, found '%.80s' of %zu", group,
            n_found);
        return NULL;
    }
    return found;
}

static kvl_status add_others(kvli_gather *g, const kvl_store_groups *groups, const kvl_store_group *own) {
    kvl_content *c = g->content;
    c->other_groups = kvli_own(g, groups->n, sizeof *c->other_groups);
    for (size_t i = 0; i < groups->n && c->other_groups != NULL; i++) {
        const kvl_store_group *other = &groups->items[i];
        if (other != own) {
            kvl_str_printf(&c->other_groups[c->n_other_groups++],
                           "%s · %s · %s · %zu · %s · kvlab report --group %.12s", other->model,
                           other->preset, other->protocol, other->n_cells, other->newest, other->group);
        }
    }
    return g->status;
}

static kvl_status read_group(kvli_gather *g, const kvl_store_group *own) {
    kvl_content *c = g->content;
    c->group = kvli_own_text(g, own->group);
    c->model = kvli_own_text(g, own->model);
    c->preset = kvli_own_text(g, own->preset);
    c->protocol_name = kvli_own_text(g, own->protocol);
    c->n_cells = own->n_cells;
    c->n_failed = own->n_failed;
    return g->status;
}

static kvl_status gather(kvli_gather *g, kvl_store *store, const kvl_store_groups *groups, const char *model,
                         const char *group) {
    char made[21];
    const kvl_store_group *own = find_group(groups, model, group, g->err);
    if (own == NULL && group != NULL) {
        return KVL_E_USAGE;
    }
    kvl_utc_text(made);
    g->content->made = kvli_own_text(g, made);
    g->content->version = kvli_own_text(g, KVL_VERSION);
    g->content->group = g->content->preset = g->content->protocol_name = kvli_own_text(g, "");
    if (own == NULL && model != NULL) {
        g->content->model = kvli_own_text(g, model);
    }
    if (own != NULL) {
        KVL_TRY(read_group(g, own));
        KVL_TRY(add_others(g, groups, own));
        KVL_TRY(kvli_gather_sweep(g, store));
    }
    KVL_TRY(read_documents(g, store));
    return g->content->model != NULL
               ? g->status
               : kvl_fail(g->err, KVL_E_USAGE, "store: expected results, found none; kvlab sweep makes some");
}

kvl_status kvl_content_gather(kvl_content *out, kvl_store *store, const char *model, const char *group,
                              kvl_err *err) {
    kvl_store_groups groups = {0};
    const char *path = kvl_store_path(store);
    const char *slash = strrchr(path, '/');
    *out = (kvl_content){0};
    kvli_gather g = {.content = out, .err = err};
    out->store = kvli_own_text(&g, slash != NULL ? slash + 1 : path);
    KVL_TRY(kvl_store_find_groups(store, &groups, err));
    const kvl_status status = gather(&g, store, &groups, model, group);
    kvl_store_groups_free(&groups);
    return status;
}
