/* The lists of sections and charts. */
#include "report/section.h"

#include <string.h>

#define X(name) extern const kvl_section name;
#include "report/section_list.def"
#undef X
#define X(name) extern const kvl_chart name;
#include "report/chart_list.def"
#undef X

#define X(name) &name,
static const kvl_section *const sections[] = {
#include "report/section_list.def"
    NULL,
};
static const kvl_chart *const charts[] = {
#include "report/chart_list.def"
    NULL,
};
#undef X

const kvl_section *const *kvl_sections(size_t *n) {
    *n = sizeof sections / sizeof sections[0] - 1;
    return sections;
}

const kvl_chart *const *kvl_charts(size_t *n) {
    *n = sizeof charts / sizeof charts[0] - 1;
    return charts;
}

const kvl_chart *kvl_chart_find(const char *id) {
    for (const kvl_chart *const *c = charts; *c != NULL; c++) {
        if (strcmp((*c)->id, id) == 0) {
            return *c;
        }
    }
    return NULL;
}
