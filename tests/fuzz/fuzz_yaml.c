/* Fuzz: bytes as a YAML file, and that as a preset. */
#include "protocol/preset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    kvl_yaml *doc = NULL;
    kvl_preset *preset = NULL;
    if (kvl_yaml_parse(&doc, (const char *)data, size, "fuzz", NULL) == KVL_OK) {
        (void)!kvl_preset_check(doc, "fuzz", NULL);
        if (kvl_preset_read(&preset, doc, "fuzz", NULL) == KVL_OK) {
            kvl_preset_destroy(preset);
        }
    }
    kvl_yaml_free(doc);
    return 0;
}
