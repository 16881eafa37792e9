/* Environment of the hub, with the names and the notion of "true" of huggingface_hub. */
#include "cli/hub_env.h"

#include <stdlib.h>
#include <strings.h>

kvl_hub_env kvl_hub_env_read(void) {
    return (kvl_hub_env){
        .hf_hub_cache = getenv("HF_HUB_CACHE"),
        .hf_home = getenv("HF_HOME"),
        .xdg_cache_home = getenv("XDG_CACHE_HOME"),
        .home = getenv("HOME"),
        .hf_endpoint = getenv("HF_ENDPOINT"),
        .hf_token = getenv("HF_TOKEN"),
        .hf_token_path = getenv("HF_TOKEN_PATH"),
    };
}

static bool is_true(const char *name) {
    static const char *const words[] = {"1", "on", "yes", "true"};
    const char *value = getenv(name);
    for (size_t i = 0; value != NULL && i < sizeof words / sizeof words[0]; i++) {
        if (strcasecmp(value, words[i]) == 0) {
            return true;
        }
    }
    return false;
}

bool kvl_hub_env_is_offline(void) { return is_true("HF_HUB_OFFLINE"); }
bool kvl_hub_env_is_quiet(void) { return is_true("HF_HUB_DISABLE_PROGRESS_BARS"); }
