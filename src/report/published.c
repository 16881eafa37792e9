/* Published figures, as they stand in their source. */
#include "report/published.h"

#include <math.h>
#include <string.h>

static const kvl_published_row eleven_rows[] = {
    {0.95, 240.87}, {0.9, 176.28}, {0.85, 154.59}, {0.8, 143.87}, {0.75, 136.79},
    {0.7, 140.67},  {0.6, 135.12}, {0.5, 136.74},  {0.4, 139.64}, {0.3, 140.14},
};
static const kvl_published_row six_rows[] = {
    {0.9, 165.81}, {0.8, 135.16}, {0.7, 124.54}, {0.5, 122.10}, {0.3, 123.22},
};
/* (3 WikiText + 2 PG-19) / 5 of the two published means: 75.03 and 39.72; 84.55 and 57.48; 89.41 and 50.59;
 * 161.37 and 51.73 */
static const kvl_published_row two_phases[] = {{0.9, 73.722}, {0.5, 73.882}, {0.1, 117.514}};
static const kvl_published_row compare_knorm[] = {
    {0.9, 71.3}, {0.8, 64.6}, {0.7, 60.75}, {0.6, 60.7},  {0.5, 59.15},
    {0.4, 59.1}, {0.3, 59.8}, {0.2, 59.2},  {0.1, 61.45},
};
static const kvl_published_row compare_recency[] = {
    {0.9, 57.1}, {0.8, 57.9}, {0.7, 58.1}, {0.6, 58.4}, {0.5, 59.0},
    {0.4, 60.3}, {0.3, 62.0}, {0.2, 61.7}, {0.1, 66.1},
};

#define ROWS(list) list, sizeof(list) / sizeof(list)[0]
#define ANALYSIS "U_CURVE_EXPLANATION_CN.md"
#define PLOT "results/compression_comparison.png"

static const kvl_published tables[] = {
    {"ucurve", "knorm", ANALYSIS, "mean PPL of 3 WikiText and 2 PG-19 samples",
     "3 个 WikiText 与 2 个 PG-19 样本的平均 PPL", 5, 60.81, ROWS(eleven_rows)},
    {"ucurve-11row", "knorm", ANALYSIS, "mean PPL of 3 WikiText and 2 PG-19 samples",
     "3 个 WikiText 与 2 个 PG-19 样本的平均 PPL", 5, 60.81, ROWS(eleven_rows)},
    {"ucurve-6row", "knorm", ANALYSIS, "mean PPL of 2 WikiText and 2 PG-19 samples",
     "2 个 WikiText 与 2 个 PG-19 样本的平均 PPL", 4, 51.91, ROWS(six_rows)},
    {"ucurve-2phase", "knorm", "the last note on PPL beside " ANALYSIS,
     "mean of 3 WikiText and 2 PG-19 samples, computed from the two means that were published",
     "由所公布的两个均值（3 个 WikiText、2 个 PG-19 样本）算得的平均值", 5, 60.906, ROWS(two_phases)},
    {"ucurve-compare", "knorm", PLOT, "5 PG-19 books, read off a plot to about 0.1",
     "5 本 PG-19 书，从图中读出，误差约 0.1", 5, 47.35, ROWS(compare_knorm)},
    {"ucurve-compare", "recency", PLOT, "5 PG-19 books, read off a plot to about 0.1",
     "5 本 PG-19 书，从图中读出，误差约 0.1", 5, 47.35, ROWS(compare_recency)},
};

const kvl_published *kvl_published_find(const char *preset, const char *press) {
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
        if (strcmp(tables[i].preset, preset) == 0 && strcmp(tables[i].press, press) == 0) {
            return &tables[i];
        }
    }
    return NULL;
}

double kvl_published_ratio(const kvl_published *p, double keep_ratio) {
    for (size_t i = 0; i < p->n; i++) {
        if (fabs(p->rows[i].keep_ratio - keep_ratio) < 1e-9) {
            return p->rows[i].ppl / p->full;
        }
    }
    return (double)NAN;
}

const kvl_published_row *kvl_published_worst(const kvl_published *p) {
    const kvl_published_row *worst = &p->rows[0];
    for (size_t i = 1; i < p->n; i++) {
        worst = p->rows[i].ppl > worst->ppl ? &p->rows[i] : worst;
    }
    return worst;
}

const kvl_published_row *kvl_published_best(const kvl_published *p) {
    const kvl_published_row *best = &p->rows[0];
    for (size_t i = 1; i < p->n; i++) {
        best = p->rows[i].ppl < best->ppl ? &p->rows[i] : best;
    }
    return best;
}
