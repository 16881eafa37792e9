/* What the environment says about the hub: the only place that reads it. */
#ifndef KVL_CLI_HUB_ENV_H
#define KVL_CLI_HUB_ENV_H

#include "file/hub.h"

/* HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, HOME, HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH; borrowed. */
kvl_hub_env kvl_hub_env_read(void);
/* HF_HUB_OFFLINE: no network at all. */
bool kvl_hub_env_is_offline(void);
/* HF_HUB_DISABLE_PROGRESS_BARS. */
bool kvl_hub_env_is_quiet(void);

#endif
