/* Files of a checkpoint folder: a name from a file may never lead out of the folder. */
#ifndef KVL_FILE_FOLDER_H
#define KVL_FILE_FOLDER_H

#include "base/str.h"

/* True for a plain file name: no slash, not empty, not "." or "..", at most 255 bytes. */
bool kvli_folder_is_base_name(const char *name);
/* Path of `name` in `dir`, with links followed and checked. Accepted links: to a plain name in the same
 * folder, and the hub cache's "../../blobs/<hexadecimal hash>" when that is a real file or one link more to
 * the cache's shared "../../blobs/<2 digits>/<hash>". Any other: E_PATH. A file that is not there is not an
 * error here: opening it says so. */
kvl_status kvli_folder_path(kvl_str *out, const char *dir, const char *name, kvl_err *err) KVL_MUST_USE;
/* Whether an entry of that name is in the folder, even a link to nothing. */
kvl_status kvli_folder_has(bool *out, const char *dir, const char *name, kvl_err *err) KVL_MUST_USE;

#endif
