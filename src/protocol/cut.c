/* Choosing windows of texts. */
#include "protocol/cut.h"

#include "base/alloc.h"
#include "protocol/windows.h"

/* Takes n of the windows begin .. end - 1, evenly spread, out of a list. */
static kvl_status take(kvl_cuts *c, kvl_samples *from, size_t begin, size_t end, size_t n, kvl_err *err) {
    kvl_sample *items = kvl_resize(c->windows.items, c->windows.n, c->windows.n + n, sizeof *items);
    if (items == NULL) {
        return kvl_fail_nomem(err, "windows");
    }
    c->windows.items = items;
    for (size_t i = 0; i < n; i++) {
        kvl_sample *window = &from->items[begin + (end - begin) * (2 * i + 1) / (2 * n)];
        items[c->windows.n] = *window;
        items[c->windows.n++].text = c->n_texts;
        window->ids = (kvl_ids){0}; /* has moved */
    }
    c->n_texts++;
    return KVL_OK;
}

static kvl_status cut_text(kvl_cuts *c, kvl_sample *text, kvl_part part, const kvl_window_rule *rule,
                           size_t n_most, kvl_err *err) {
    const kvl_samples one = {text, 1};
    kvl_samples all = {0};
    size_t n_whole = 0; /* the last window may be shorter */
    if (text->ids.n >= rule->window) {
        const kvl_window_protocol *protocol = kvl_window_protocol_find("single-shot");
        const kvl_status status = kvl_windows_cut(&all, &one, protocol, rule, 0, err);
        if (status != KVL_OK) {
            kvl_samples_free(&all);
            return status;
        }
        n_whole = all.n - (all.items[all.n - 1].ids.n < rule->window);
    }
    const size_t begin = part == KVL_SECOND_HALF ? (n_whole + 1) / 2 : 0;
    const size_t end = part == KVL_FIRST_HALF ? (n_whole + 1) / 2 : n_whole;
    const size_t n = kvl_min_size(end - begin, n_most);
    c->n_short += n == 0;
    const kvl_status status = n != 0 ? take(c, &all, begin, end, n, err) : KVL_OK;
    kvl_samples_free(&all);
    return status;
}

kvl_status kvl_cut(kvl_cuts *cuts, const kvl_samples *texts, size_t first, size_t step, kvl_part part,
                   size_t prefill, size_t score, size_t n_most, kvl_err *err) {
    const size_t window = prefill + 1 + score;
    const kvl_window_rule rule = {.window = window, .stride = window, .prefill = prefill, .score = score};
    for (size_t i = first; i < texts->n; i += step) {
        KVL_TRY(cut_text(cuts, &texts->items[i], part, &rule, n_most, err));
    }
    return KVL_OK;
}

void kvl_cuts_free(kvl_cuts *cuts) {
    kvl_samples_free(&cuts->windows);
    *cuts = (kvl_cuts){0};
}
