/* The order of a group's records. Cells end, and are kept, in any order; rows stand as the newest sweep has
 * them, those of a curve beside each other by falling keep ratio. */
#include "report/gather_int.h"

#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Where a record stands; smaller is earlier. */
typedef struct place {
    kvl_record record;
    size_t press, curve, sample; /* ranks in the sweep; what it does not name comes behind */
} place;

/* The part of a policy's text in front of its keep ratio, and behind it. */
static void split(const char *policy, size_t *n_front, const char **behind) {
    const char *keep = strstr(policy, ":keep=");
    *n_front = keep != NULL ? (size_t)(keep - policy) : strlen(policy);
    *behind = keep != NULL ? keep + 1 + strcspn(keep + 1, ":") : "";
}

/* Orders policies by all but their keep ratio: those of one curve are equal. */
static int compare_curves(const char *a, const char *b) {
    size_t n_a = 0, n_b = 0;
    const char *behind_a = NULL, *behind_b = NULL;
    split(a, &n_a, &behind_a);
    split(b, &n_b, &behind_b);
    const int front = strncmp(a, b, kvl_min_size(n_a, n_b));
    return front != 0 ? front : n_a != n_b ? (n_a < n_b ? -1 : 1) : strcmp(behind_a, behind_b);
}

static size_t n_press(const char *policy) { return strcspn(policy, ":"); }

static void rank_policy(place *p, const json_t *policies) {
    const size_t n = json_array_size(policies);
    p->press = p->curve = n;
    for (size_t i = n; i-- > 0;) {
        const char *text = json_string_value(json_array_get(policies, i));
        if (text != NULL && compare_curves(text, p->record.policy) == 0) {
            p->curve = i;
        }
        if (text != NULL && n_press(text) == n_press(p->record.policy) &&
            strncmp(text, p->record.policy, n_press(text)) == 0) {
            p->press = i;
        }
    }
}

static size_t rank_sample(const char *sample, const json_t *samples) {
    size_t i = 0;
    while (i < json_array_size(samples)) {
        const char *name = json_string_value(json_array_get(samples, i));
        if (name != NULL && strcmp(name, sample) == 0) {
            break;
        }
        i++;
    }
    return i;
}

static int by_size(size_t a, size_t b) { return a < b ? -1 : a > b; }

/* Larger first; what is not known last. */
static int by_keep(double a, double b) {
    return isnan(a) || isnan(b) ? (int)isnan(a) - (int)isnan(b) : a > b ? -1 : a < b;
}

static int compare(const void *x, const void *y) {
    const place *a = x, *b = y;
    const kvl_record *r = &a->record, *s = &b->record;
    const bool is_first = r->role != KVL_ROLE_POLICY, is_second = s->role != KVL_ROLE_POLICY;
    int order = (int)is_second - (int)is_first;
    if (!is_first && !is_second) {
        order = by_size(a->press, b->press);
        order = order != 0 ? order : strcmp(r->press, s->press);
        order = order != 0 ? order : by_size(a->curve, b->curve);
        order = order != 0 ? order : compare_curves(r->policy, s->policy);
        order = order != 0 ? order : by_keep(r->keep_ratio, s->keep_ratio);
        order = order != 0 ? order : strcmp(r->policy, s->policy);
    }
    order = order != 0 ? order : by_size(a->sample, b->sample);
    order = order != 0 ? order : strcmp(r->sample, s->sample);
    return order != 0 ? order : by_size(r->begin, s->begin);
}

kvl_status kvli_order_records(kvl_records *records, const json_t *sweep, kvl_err *err) {
    const json_t *policies = json_object_get(sweep, "policies");
    const json_t *samples = json_object_get(sweep, "samples");
    place *places = kvl_calloc(records->n, sizeof *places);
    if (places == NULL) {
        return kvl_fail_nomem(err, "report");
    }
    for (size_t i = 0; i < records->n; i++) {
        places[i].record = records->items[i];
        places[i].sample = rank_sample(records->items[i].sample, samples);
        if (i != 0 && strcmp(records->items[i].policy, records->items[i - 1].policy) == 0) {
            places[i].press = places[i - 1].press; /* cells of a policy are listed together */
            places[i].curve = places[i - 1].curve;
        } else {
            rank_policy(&places[i], policies);
        }
    }
    qsort(places, records->n, sizeof *places, compare);
    for (size_t i = 0; i < records->n; i++) {
        records->items[i] = places[i].record;
    }
    kvl_free(places);
    return KVL_OK;
}
