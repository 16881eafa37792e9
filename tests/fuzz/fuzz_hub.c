/* Fuzz: bytes as the hub's list of a repository, and the choice made from it. */
#include "file/hub_int.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    kvli_hub_list list = {0};
    kvl_str main_path = {0}, missing = {0};
    kvl_hub_name name;
    char commit[KVLI_HUB_COMMIT + 1];
    if (kvl_hub_name_parse(&name, "a/b", NULL) == KVL_OK &&
        kvli_hub_list_parse(&list, commit, (const char *)data, size, "fuzz", NULL) == KVL_OK &&
        kvli_hub_choose(&list, &main_path, &missing, &name, NULL, NULL) == KVL_OK) {
        for (size_t i = 0; i < list.n; i++) { /* what would be written stays below its folder */
            if (!kvli_hub_is_safe_path(list.paths[i])) {
                __builtin_trap();
            }
        }
    }
    kvli_hub_list_free(&list);
    kvl_str_free(&main_path);
    kvl_str_free(&missing);
    return 0;
}
