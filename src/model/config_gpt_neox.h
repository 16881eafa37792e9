/* Fields of a GPT-NeoX config.json. */
#ifndef KVL_MODEL_CONFIG_GPT_NEOX_H
#define KVL_MODEL_CONFIG_GPT_NEOX_H

#include "model/config.h"

kvl_status kvli_config_gpt_neox(kvl_config *out, const kvli_fields *fields) KVL_MUST_USE;

#endif
