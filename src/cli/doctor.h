/* Checks of `kvlab doctor`: each says one line. */
#ifndef KVL_CLI_DOCTOR_H
#define KVL_CLI_DOCTOR_H

#include "base/status.h"

typedef enum kvl_check_result { KVL_CHECK_OK, KVL_CHECK_NOTE, KVL_CHECK_FAIL } kvl_check_result;

enum { KVL_MAX_CHECKS = 64 };

typedef struct kvl_doctor {
    struct {
        kvl_check_result result;
        const char *name; /* static */
        char text[640];
    } checks[KVL_MAX_CHECKS];
    size_t n;
    size_t n_failed;
} kvl_doctor;

void kvl_doctor_say(kvl_doctor *d, kvl_check_result result, const char *name, const char *fmt, ...)
    KVL_PRINTF(4, 5);

/* Every instruction set against the plain C definition. */
void kvl_doctor_kernels(kvl_doctor *d);
/* Files, tokenizer, likelihood and threads against data/doctor.json, all below `root`. */
void kvl_doctor_model(kvl_doctor *d, const char *root);

#endif
