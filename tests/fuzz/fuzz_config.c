/* Fuzz: bytes as config.json. */
#include "model/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    kvl_config config;
    (void)!kvli_config_parse(&config, (const char *)data, size, "fuzz", NULL);
    return 0;
}
