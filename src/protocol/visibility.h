/* What queries could see: figures of a log of departures. Pure functions; heads of skipped layers are left
 * out. `skip` has a bit for each layer, as kvl_policy.skip, or is NULL: none is skipped.
 */
#ifndef KVL_PROTOCOL_VISIBILITY_H
#define KVL_PROTOCOL_VISIBILITY_H

#include "engine/departures.h"

/* For the query of a token, the share of heads that see the key j tokens before: share [n_lags], of the lags
 * from 1 on; 0 beyond the beginning of the text, and everywhere when all layers are skipped. */
void kvl_visible_lags(float *share, size_t n_lags, const kvl_departures *d, const uint64_t *skip,
                      size_t token);
/* Keys that the query of a token sees, its own included, in the mean over heads. */
double kvl_visible_keys(const kvl_departures *d, const uint64_t *skip, size_t token);
/* Steps since the last compression before the query of a token: 0 right behind it. SIZE_MAX: none yet. */
size_t kvl_step_phase(const kvl_departures *d, size_t token);

enum { KVL_N_LAGS = 64, KVL_OLD_STEPS = 32 };

/* Sums over steps and heads; means by kvl_visibility_mean. */
typedef struct kvl_visibility {
    double n;                  /* pairs of step and head */
    double n_lags[KVL_N_LAGS]; /* of them, for how many there is a token of lag j + 1 */
    double lags[KVL_N_LAGS];   /* and how many see it */
    double run;                /* length of the unbroken run of lags from 1 on */
    double n_keys;             /* visible keys, the query's own included; so in the next two */
    double age;                /* their mean age in steps */
    double old;                /* their share older than KVL_OLD_STEPS */
    double n_compressions;     /* pairs of compression and head */
    double n_newest;           /* of them, how many dropped the newest token at once */
} kvl_visibility;

/* Adds the steps [first, end) of a text. */
void kvl_visibility_add(kvl_visibility *v, const kvl_departures *d, const uint64_t *skip, size_t first,
                        size_t end);
/* Adds all compressions of a text. */
void kvl_visibility_add_compressions(kvl_visibility *v, const kvl_departures *d, const uint64_t *skip);
/* The same fields divided by their counts; NAN where there are none. */
kvl_visibility kvl_visibility_mean(const kvl_visibility *v);

#endif
