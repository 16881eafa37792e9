/* Fields that Qwen2 and Qwen3 share. */
#ifndef KVL_MODEL_CONFIG_QWEN_H
#define KVL_MODEL_CONFIG_QWEN_H

#include "model/config_common.h"

kvl_status kvli_config_qwen(kvl_config *out, const kvli_fields *f) KVL_MUST_USE;

#endif
