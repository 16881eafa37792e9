/* Reading documents of a store. They may hold anything: every value is checked for its type and size, and the
 * first fault ends the reading with the document, the line and the name of the value. */
#ifndef KVL_REPORT_GATHER_INT_H
#define KVL_REPORT_GATHER_INT_H

#include "base/json.h"
#include "report/content.h"

/* Errors stick: after the first one every call does nothing and returns 0, NAN or NULL. */
typedef struct kvli_gather {
    kvl_content *content;
    const kvl_document *document;
    size_t line; /* from 1 on */
    kvl_status status;
    kvl_err *err;
} kvli_gather;

/* Zeroed memory that lives as long as the content. */
void *kvli_own(kvli_gather *g, size_t n, size_t item_bytes) KVL_MUST_USE;
char *kvli_own_text(kvli_gather *g, const char *text) KVL_MUST_USE;

/* Lines of the document: how many at most, and a call for each that is an object. */
size_t kvli_most_lines(const kvli_gather *g);
typedef void kvli_line_fn(kvli_gather *g, const json_t *line, void *ud);
void kvli_each_line(kvli_gather *g, kvli_line_fn *fn, void *ud);
/* Whether the line's "schema" is this one. */
bool kvli_is_schema(const json_t *line, const char *schema);

/* Values of an object. A name that is not there is a fault. */
char *kvli_get_text(kvli_gather *g, const json_t *o, const char *name) KVL_MUST_USE;
bool kvli_get_bool(kvli_gather *g, const json_t *o, const char *name);
/* A whole number from 0 to 2^53. */
uint64_t kvli_get_count(kvli_gather *g, const json_t *o, const char *name);
/* NAN for null. */
double kvli_get_number(kvli_gather *g, const json_t *o, const char *name);
/* An array; NULL after a fault. */
const json_t *kvli_get_list(kvli_gather *g, const json_t *o, const char *name);
/* An object with mean, low, high, p, n_clusters, is_few, as explain writes it. */
kvl_estimate kvli_read_estimate(kvli_gather *g, const json_t *o);
kvl_estimate kvli_get_estimate(kvli_gather *g, const json_t *o, const char *name);
/* Number i of a list; NAN for null. */
double kvli_list_number(kvli_gather *g, const json_t *list, size_t i, const char *name);
/* A value is not what it should be. */
void kvli_gather_fail(kvli_gather *g, const char *name, const char *expected, const json_t *found);

/* The keep ratio in a policy's text; 1 for the full cache, NAN where there is none. */
double kvli_policy_keep(const char *policy);

/* Makes the rows of the content's group; those of the cells are freed with it. */
kvl_status kvli_gather_sweep(kvli_gather *g, kvl_store *store) KVL_MUST_USE;
void kvli_sweep_cells_free(struct kvli_sweep_cells *s);

/* Puts records into the order of a sweep's document (NULL: none), curves together by falling keep ratio. */
kvl_status kvli_order_records(kvl_records *records, const json_t *sweep, kvl_err *err) KVL_MUST_USE;

/* Each reads the document of its kind into the content. */
void kvli_gather_explain(kvli_gather *g);
void kvli_gather_portrait(kvli_gather *g);
void kvli_gather_timing(kvli_gather *g);
void kvli_gather_needle(kvli_gather *g);
void kvli_gather_recommend(kvli_gather *g);
void kvli_gather_bench(kvli_gather *g);

#endif
