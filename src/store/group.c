/* Groups of cells: what may stand in one table. */
#include "store/store_int.h"

#include "base/alloc.h"

#include <string.h>

void kvl_store_groups_free(kvl_store_groups *g) {
    for (size_t i = 0; i < g->n; i++) {
        kvl_free(g->items[i].model);
        kvl_free(g->items[i].preset);
        kvl_free(g->items[i].protocol);
    }
    kvl_free(g->items);
    *g = (kvl_store_groups){0};
}

/* The group where stmt stands: its newest cell, checked, and its counts behind that. */
static kvl_status read_group(kvl_store *s, sqlite3_stmt *stmt, kvl_store_group *out, kvl_err *err) {
    const int at = sqlite3_column_count(stmt) - 3;
    kvli_cell cell;
    const char *group = (const char *)sqlite3_column_text(stmt, at);
    kvl_status status = kvli_read_cell(s, stmt, false, &cell, err);
    if (status == KVL_OK &&
        (group == NULL || strcmp(cell.record.group, group) != 0 || strlen(cell.made) >= sizeof out->newest)) {
        status = kvl_fail(err, KVL_E_STORE, "%s: damaged: group %s: its newest record is of group %s",
                          s->path, group != NULL ? group : "of no name", cell.record.group);
    }
    if (status == KVL_OK) {
        *out = (kvl_store_group){.model = cell.record.model,
                                 .preset = cell.record.preset,
                                 .protocol = cell.record.protocol,
                                 .n_cells = (size_t)sqlite3_column_int64(stmt, at + 1),
                                 .n_failed = (size_t)sqlite3_column_int64(stmt, at + 2)};
        memcpy(out->group, cell.record.group, sizeof out->group);
        memcpy(out->newest, cell.made, strlen(cell.made) + 1);
        cell.record.model = cell.record.preset = cell.record.protocol = NULL;
    }
    kvli_cell_free(&cell);
    return status;
}

kvl_status kvl_store_find_groups(kvl_store *s, kvl_store_groups *out, kvl_err *err) {
    sqlite3_stmt *stmt = NULL;
    bool is_row = true;
    size_t room = 0;
    kvl_status status = KVL_OK;
    *out = (kvl_store_groups){0};
    KVL_TRY(kvli_prepare(s, &stmt,
                         KVLI_SELECT_CELL ", tally.group_key, n_done, n_failed FROM tally "
                                          "LEFT JOIN cell ON cell.id = newest ORDER BY newest DESC",
                         err));
    for (;;) {
        KVL_GO(kvli_step(s, stmt, &is_row, "listing groups", err));
        if (!is_row) {
            break;
        }
        if (out->n == room) {
            const size_t more = room != 0 ? 2 * room : 16;
            void *grown = kvl_resize(out->items, room, more, sizeof *out->items);
            if (grown == NULL) {
                status = kvl_fail_nomem(err, s->path);
                goto done;
            }
            out->items = grown;
            room = more;
        }
        KVL_GO(read_group(s, stmt, &out->items[out->n], err));
        out->n++;
    }
done:
    kvli_release(stmt);
    if (status != KVL_OK) {
        kvl_store_groups_free(out);
    }
    return status;
}
