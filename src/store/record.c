/* Memory of records, and their words. */
#include "store/record.h"

#include "base/alloc.h"

const char *kvl_record_role_name(kvl_record_role role) {
    static const char *const names[] = {"policy", "baseline", "one-pass"};
    return names[role];
}

void kvl_record_free(kvl_record *r) {
    char *const texts[] = {r->identity, r->facts,  r->model,  r->preset, r->protocol,
                           r->press,    r->policy, r->sample, r->text,   r->text_key};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        kvl_free(texts[i]);
    }
    kvl_free(r->nll);
    *r = (kvl_record){0};
}

void kvl_records_free(kvl_records *r) {
    for (size_t i = 0; i < r->n; i++) {
        kvl_record_free(&r->items[i]);
    }
    kvl_free(r->items);
    *r = (kvl_records){0};
}
