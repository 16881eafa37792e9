/* KVL_PRESS_PATH: presses that are there without an option. */
#include "cli/press_arg.h"

#include "base/str.h"
#include "press/plugin.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

kvl_status kvl_press_path_load(kvl_err *err) {
    const char *rest = getenv("KVL_PRESS_PATH");
    kvl_str item = {0};
    kvl_status status = KVL_OK;
    while (rest != NULL && *rest != '\0' && status == KVL_OK) {
        const size_t n = strcspn(rest, ":");
        struct stat info;
        kvl_str_clear(&item);
        kvl_str_append(&item, rest, n);
        rest += n + (rest[n] == ':');
        if (n != 0) {
            const char *path = kvl_str_text(&item);
            const bool is_folder = stat(path, &info) == 0 && S_ISDIR(info.st_mode);
            status = is_folder ? kvl_press_load_folder(path, err) : kvl_press_load(path, err);
        }
    }
    kvl_str_free(&item);
    return status;
}
