/* kvlab: what a press in a shared object includes. docs/write-a-press.md tells how; examples/press_plugin is
 * one.
 *
 * A plug-in is written as a press of the program is (a kvl_press and its functions), and ends with
 * KVL_PRESS_PLUGIN(the struct's name). It may call the functions that press/view.h, press/press.h and
 * press/select.h declare, those of the table view->kernels, kvl_pack_panels, kvl_cache_set_key,
 * kvl_cache_set_value and kvl_fail; nothing else is there when it is loaded.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef KVLAB_PRESS_H
#define KVLAB_PRESS_H

#include "press/press.h"
#include "press/select.h"

/* Raised when a plug-in compiled before would do something else, though all sizes are the same. */
#define KVL_PRESS_ABI 1u

/* What program and plug-in must agree on. */
#define KVL_PRESS_ABI_TYPES(X)                                                                               \
    X(kvl_press)                                                                                             \
    X(kvl_press_node)                                                                                        \
    X(kvl_option)                                                                                            \
    X(kvl_moment)                                                                                            \
    X(kvl_turn)                                                                                              \
    X(kvl_context)                                                                                           \
    X(kvl_replay)                                                                                            \
    X(kvl_head_view)                                                                                         \
    X(kvl_layer_view)                                                                                        \
    X(kvl_choice) X(kvl_protections) X(kvl_needs) X(kvl_shape) X(kvl_kernels) X(kvl_calibration)

/* What a plug-in exports, under the name kvl_press_plugin_v1. */
typedef struct kvl_press_plugin {
    uint32_t abi;       /* KVL_PRESS_ABI */
    uint32_t sizes[16]; /* of KVL_PRESS_ABI_TYPES, then 0 */
    const kvl_press *press;
} kvl_press_plugin;

#define KVL_PRESS_ABI_SIZE(type) (uint32_t)sizeof(type),
#define KVL_PRESS_PLUGIN(id)                                                                                 \
    extern __attribute__((visibility("default"))) const kvl_press_plugin kvl_press_plugin_v1;                \
    const kvl_press_plugin kvl_press_plugin_v1 = {                                                           \
        KVL_PRESS_ABI, {KVL_PRESS_ABI_TYPES(KVL_PRESS_ABI_SIZE)}, &(id)}

#endif
