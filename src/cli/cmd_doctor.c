/* kvlab doctor: whether this installation computes what it should, one line for each check. */
#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/doctor.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/machine.h"
#include "base/os.h"
#include "kernel/kernel.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

typedef unsigned long long ull; /* for %llu */

enum { OPT_FORMAT, OPT_HELP };

static const kvl_arg table[] = {
    {OPT_FORMAT, 'o', "output", "FORMAT", "table or json"},
    {OPT_HELP, 'h', "help", NULL, "this text"},
};
enum { n_table = sizeof table / sizeof table[0] };

static const char *const result_names[] = {"ok", "note", "FAIL"};

typedef struct options {
    bool is_json;
    bool is_help;
} options;

static kvl_status set_option(void *ud, int id, const char *value, kvl_err *err) {
    options *o = ud;
    if (id == OPT_HELP) {
        o->is_help = true;
        return KVL_OK;
    }
    if (id != OPT_FORMAT) {
        return kvl_fail(err, KVL_E_USAGE, "expected options only, found '%.80s'", value);
    }
    o->is_json = strcmp(value, "json") == 0;
    if (!o->is_json && strcmp(value, "table") != 0) {
        return kvl_fail(err, KVL_E_USAGE, "--output: expected table or json, found '%.80s'", value);
    }
    return KVL_OK;
}

void kvl_doctor_say(kvl_doctor *d, kvl_check_result result, const char *name, const char *fmt, ...) {
    d->n_failed += result == KVL_CHECK_FAIL;
    if (d->n < KVL_MAX_CHECKS) {
        va_list args;
        va_start(args, fmt);
        vsnprintf(d->checks[d->n].text, sizeof d->checks[0].text, fmt, args);
        va_end(args);
        d->checks[d->n].result = result;
        d->checks[d->n++].name = name;
    }
}

/* ---- the machine ---- */

static void check_isa(kvl_doctor *d) {
    const kvl_kernels *k = NULL;
    kvl_err err = {0};
    kvl_str names = {0};
    if (kvl_kernels_get(&k, NULL, &err) != KVL_OK) {
        kvl_doctor_say(d, KVL_CHECK_FAIL, "isa", "%s", err.msg);
        return;
    }
    for (const char *const *name = kvl_kernels_names(); *name != NULL; name++) {
        kvl_str_printf(&names, " %s", *name);
    }
    kvl_doctor_say(d, KVL_CHECK_OK, "isa", "%s, chosen from%s; the processor has%s", k->name,
                   kvl_str_text(&names), kvl_cpu_extensions());
    kvl_str_free(&names);
}

static void check_processors(kvl_doctor *d, const kvl_machine *m) {
    unsigned n = kvl_cpu_count();
    if (m->cpu_quota > 0 && m->cpu_quota < n) {
        kvl_doctor_say(d, KVL_CHECK_NOTE, "processors",
                       "%u of %u may be used, but only %.2f processors' worth of time (control group): "
                       "--threads %.0f is better",
                       n, m->n_online, m->cpu_quota, m->cpu_quota < 1 ? 1 : m->cpu_quota);
    } else {
        kvl_doctor_say(d, KVL_CHECK_OK, "processors", "%u of %u may be used, no smaller quota", n,
                       m->n_online);
    }
}

static void check_memory(kvl_doctor *d, const kvl_machine *m) {
    const double mib = 1 << 20;
    kvl_doctor_say(d, m->memory_total_bytes != 0 ? KVL_CHECK_OK : KVL_CHECK_NOTE, "memory",
                   "%.0f MiB, %.0f MiB available; control group: %.0f MiB (0: no limit)",
                   (double)m->memory_total_bytes / mib, (double)m->memory_available_bytes / mib,
                   (double)m->memory_limit_bytes / mib);
}

/* Times of tokens are microseconds at least. */
static void check_clock(kvl_doctor *d, const kvl_machine *m) {
    uint64_t before = kvl_clock_ns();
    bool is_monotonic = true;
    for (int i = 0; i < 1000; i++) {
        uint64_t now = kvl_clock_ns();
        is_monotonic = is_monotonic && now >= before;
        before = now;
    }
    bool is_fine = m->clock_resolution_ns != 0 && m->clock_resolution_ns <= 1000;
    kvl_doctor_say(d,
                   !is_monotonic ? KVL_CHECK_FAIL
                   : is_fine     ? KVL_CHECK_OK
                                 : KVL_CHECK_NOTE,
                   "clock", "monotonic: %s, resolution %llu ns", is_monotonic ? "yes" : "no",
                   (ull)m->clock_resolution_ns);
}

static void check_all(kvl_doctor *d) {
    kvl_machine machine;
    kvl_machine_read(&machine, "");
    kvl_doctor_say(d, KVL_CHECK_OK, "version", "kvlab %s, compiler %s", KVL_VERSION, __VERSION__);
    check_isa(d);
    kvl_doctor_kernels(d);
    kvl_doctor_say(d, KVL_CHECK_OK, "data", "%s", kvl_data_root());
    kvl_doctor_model(d, kvl_data_root());
    check_processors(d, &machine);
    check_memory(d, &machine);
    check_clock(d, &machine);
}

/* ---- writing ---- */

static kvl_status write_result(kvl_str *out, const kvl_doctor *d, bool is_json, kvl_err *err) {
    if (!is_json) {
        for (size_t i = 0; i < d->n; i++) {
            kvl_str_printf(out, "%-4s  %-10s  %s\n", result_names[d->checks[i].result], d->checks[i].name,
                           d->checks[i].text);
        }
        return kvl_str_check(out, "doctor", err);
    }
    json_t *checks = json_array();
    for (size_t i = 0; i < d->n; i++) {
        json_array_append_new(checks,
                              json_pack("{s:s, s:s, s:s}", "check", d->checks[i].name, "result",
                                        result_names[d->checks[i].result], "text", d->checks[i].text));
    }
    return kvl_json_write(out,
                          json_pack("{s:s, s:I, s:o}", "version", KVL_VERSION, "failed",
                                    (json_int_t)d->n_failed, "checks", checks),
                          true, err);
}

static kvl_status diagnose(kvl_str *out, bool is_json, kvl_err *err) {
    kvl_doctor *d = kvl_calloc(1, sizeof *d);
    if (d == NULL) {
        return kvl_fail_nomem(err, "doctor");
    }
    check_all(d);
    kvl_status status = write_result(out, d, is_json, err);
    if (status == KVL_OK) {
        status = kvl_print(kvl_str_text(out), out->len, err);
    }
    if (status == KVL_OK && d->n_failed != 0) {
        status = kvl_fail(err, KVL_E_CHECK, "doctor: expected every check to pass, found %zu that failed",
                          d->n_failed);
    }
    kvl_free(d);
    return status;
}

kvl_status kvl_cmd_doctor(int argc, char **argv, kvl_err *err) {
    options o = {0};
    kvl_str out = {0};
    KVL_TRY(kvl_args_parse(table, n_table, argc, argv, 2, set_option, &o, err));
    kvl_status status = KVL_OK;
    if (o.is_help) {
        kvl_str_puts(&out, "usage: kvlab doctor [OPTIONS]\n\nChecks this installation; exit code 6 when a "
                           "check fails.\n\n");
        kvl_args_help(table, n_table, &out);
        status = kvl_print(kvl_str_text(&out), out.len, err);
    } else {
        status = diagnose(&out, o.is_json, err);
    }
    kvl_str_free(&out);
    return status;
}
