/* Presses from shared objects (include/kvlab_press.h): checked when loaded, then like all others.
 *
 * The list of presses is global: load before threads use it. What is loaded stays to the end of the process.
 */
#ifndef KVL_PRESS_PLUGIN_H
#define KVL_PRESS_PLUGIN_H

#include "press/press.h"

enum { KVL_MAX_PLUGINS = 32 };

/* Loads the press of a shared object; one that is loaded already is left as it is.
 * Errors: E_IO (no such file), E_MAGIC (no shared object, or one that cannot be linked), E_MISSING (no
 * descriptor, or a part of the press), E_VERSION (compiled against another header), E_DUP (a name that is
 * taken), E_NUM and E_TYPE (of options), E_LIMIT. */
kvl_status kvl_press_load(const char *path, kvl_err *err) KVL_MUST_USE;
/* The same for every *.so of a folder, in the order of their names. */
kvl_status kvl_press_load_folder(const char *path, kvl_err *err) KVL_MUST_USE;

/* Where a press was loaded from, and the first eight digits of that file's SHA-256; "" for a press that comes
 * with kvlab. */
const char *kvl_press_file(const kvl_press *press);
const char *kvl_press_hash(const kvl_press *press);

/* Appends to the list of presses, which has room for KVL_MAX_PLUGINS. press.c. */
void kvli_press_add(const kvl_press *press);

#endif
