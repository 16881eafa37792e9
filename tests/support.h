/* What every test program shares: cmocka in the right order, paths into the source tree, golden files. */
#ifndef KVL_TESTS_SUPPORT_H
#define KVL_TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/os.h"
#include "base/str.h"
#include "press/policy.h"

/* Path below the source tree; static buffer, valid for the next 8 calls. */
const char *test_path(const char *relative);
/* A fresh empty folder below $TMPDIR for this program; static. */
const char *test_temp_dir(void);
/* Path below test_temp_dir; static buffer as test_path. */
const char *test_temp_path(const char *name);
/* Loads a file or a JSON document of the source tree; fails the test when absent. */
char *test_load(const char *relative, size_t *n_bytes);
json_t *test_load_json(const char *relative);
/* Writes bytes to a path; fails the test otherwise. */
void test_save(const char *path, const void *bytes, size_t n);
/* Runs the program with these words of a shell command; both streams of its output, and its exit code.
 * Static. */
const char *test_run(int *exit_code, const char *args);
/* The policy of a text on top of defaults; fails the test with the message otherwise. */
kvl_policy test_policy(const char *text);
/* Loads the presets that come with the program; fails the test otherwise. */
void test_load_presets(void);
struct kvl_engine;
/* Statistics of the engine's model from the ids `calibration` of tests/golden/press/ids.json. */
kvl_calibration *test_calibrate(struct kvl_engine *engine);
/* Asserts success, printing the error text otherwise. */
#define assert_ok(call)                                                                                      \
    do {                                                                                                     \
        kvl_err assert_ok_err = {0};                                                                         \
        (void)assert_ok_err;                                                                                 \
        kvl_status assert_ok_status = (call);                                                                \
        if (assert_ok_status != KVL_OK) {                                                                    \
            fail_msg("%s: %s", kvl_status_name(assert_ok_status), #call);                                    \
        }                                                                                                    \
    } while (0)

#endif
