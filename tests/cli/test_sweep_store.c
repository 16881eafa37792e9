/* A sweep and its store: whenever it is stopped, and however, it goes on and ends with the same table. */
#include "support.h"

#include "base/rng.h"
#include "report/content.h"
#include "store/store.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* 55 cells of at most 64 tokens, in several waves since the memory is small. */
static const char *const sweep[] = {"kvlab",     "sweep", "--max-tokens", "64", "--memory", "21MiB",
                                    "--threads", "1",     "--no-chart",   "-v", "-o",       "csv",
                                    NULL};
enum { n_cells = 55, most_lines = 65536 };

/* test_temp_path that stays. */
static void set_path(char path[4096], const char *name) { snprintf(path, 4096, "%s", test_temp_path(name)); }

static char *load(const char *path) {
    char *text = NULL;
    size_t n = 0;
    kvl_err err = {0};
    if (kvl_file_load(&text, &n, path, most_lines, &err) != KVL_OK) {
        fail_msg("%s", err.msg);
    }
    return text;
}

/* Starts the program with a store; its streams go to NAME.out and NAME.err of the temporary folder. Files of
 * more than file_bytes (0: any) cannot be written. */
static pid_t start(const char *const *argv, const char *store, const char *name, size_t file_bytes) {
    char out[64], err[64];
    snprintf(out, sizeof out, "%s.out", name);
    snprintf(err, sizeof err, "%s.err", name);
    char out_path[4096];
    set_path(out_path, out);
    char err_path[4096];
    set_path(err_path, err);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const int out_fd = open(out_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        const int err_fd = open(err_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        const struct rlimit limit = {file_bytes, file_bytes};
        dup2(out_fd, STDOUT_FILENO);
        dup2(err_fd, STDERR_FILENO);
        setenv("KVL_STORE", store, 1);
        if (file_bytes != 0) {
            signal(SIGXFSZ, SIG_IGN); /* writes fail as on a full disk */
            setrlimit(RLIMIT_FSIZE, &limit);
        }
        execv(getenv("KVL_PROGRAM"), (char *const *)argv);
        _exit(127);
    }
    return pid;
}

/* -1: killed. */
static int wait_for(pid_t pid) {
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int run(const char *store, const char *name) { return wait_for(start(sweep, store, name, 0)); }

static char *load_output(const char *name, const char *stream) {
    char file[64];
    snprintf(file, sizeof file, "%s.%s", name, stream);
    return load(test_temp_path(file));
}

/* What an uninterrupted sweep prints, but for its command. */
static const char *expected_table(void) {
    static char *table;
    if (table == NULL) {
        assert_int_equal(run("none", "whole"), 0);
        table = load_output("whole", "out");
    }
    return table;
}

static void check_table(const char *name) {
    char *table = load_output(name, "out");
    assert_string_equal(table, expected_table());
    kvl_free(table);
}

static void found_fault(void *ud, const char *line) {
    (void)ud;
    print_error("%s\n", line);
}

/* The store is sound and holds each cell that the program said it had finished. Returns how many it holds. */
static size_t check_store(const char *path, const char *name) {
    kvl_store *store = NULL;
    kvl_store_groups groups = {0};
    kvl_records records = {0};
    size_t n_faults = 0;
    size_t n_told = 0;
    size_t n = 0;
    if (!kvl_file_exists(path)) {
        return 0;
    }
    if (kvl_store_open(&store, path, KVL_STORE_READ, NULL, NULL, NULL) != KVL_OK) {
        /* killed while it was made: there is nothing to read until somebody writes */
        assert_ok(kvl_store_open(&store, path, KVL_STORE_WRITE, NULL, NULL, NULL));
    }
    assert_ok(kvl_store_verify(store, found_fault, NULL, &n_faults, NULL));
    assert_int_equal(n_faults, 0);
    assert_ok(kvl_store_find_groups(store, &groups, NULL));
    if (groups.n != 0) {
        assert_int_equal(groups.n, 1);
        assert_ok(kvl_store_list(store, groups.items[0].group, &records, NULL));
    }
    for (size_t i = 0; i < records.n; i++) {
        n += records.items[i].role != KVL_ROLE_ONE_PASS;
    }
    char *told = load_output(name, "err");
    for (const char *line = told; line != NULL && line[0] != '\0';) {
        char policy[96], sample[32];
        size_t at = 0;
        if (sscanf(line, "cell %zu of 55: %95s on %31[^:]", &at, policy, sample) == 3 &&
            strchr(line, '\n') != NULL) {
            bool is_there = false;
            for (size_t i = 0; i < records.n; i++) {
                is_there = is_there || (records.items[i].role != KVL_ROLE_ONE_PASS &&
                                        strcmp(records.items[i].policy, policy) == 0 &&
                                        strcmp(records.items[i].sample, sample) == 0);
            }
            if (!is_there) {
                fail_msg("%s on %s: said to be finished, not in the store", policy, sample);
            }
            n_told++;
        }
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
    assert_true(n_told <= n);
    kvl_free(told);
    kvl_records_free(&records);
    kvl_store_groups_free(&groups);
    kvl_store_close(store);
    return n;
}

/* ---- */

static void test_kills(void **state) {
    (void)state;
    enum { n_kills = 200 };
    const uint64_t begun = kvl_clock_ns();
    assert_int_equal(run("none", "killed"), 0);
    const uint64_t run_ns = kvl_clock_ns() - begun; /* only how long to wait: no result depends on it */
    size_t n = 0;
    size_t n_partial = 0;
    for (size_t round = 0; n < n_kills; round++) {
        char file[32];
        snprintf(file, sizeof file, "kills%zu.db", round);
        char path[4096];
        set_path(path, file);
        size_t n_before = 0;
        for (int code = -1; code == -1;) {
            const double share = (double)kvl_rng_unit(1, round, n);
            const pid_t pid = start(sweep, path, "killed", 0);
            if (n < n_kills) {
                const struct timespec pause = {
                    .tv_sec = 0, .tv_nsec = (long)(share * (double)kvl_min_size(run_ns, 900000000))};
                nanosleep(&pause, NULL);
                kill(pid, SIGKILL);
            }
            code = wait_for(pid);
            n += code == -1;
            const size_t n_now = check_store(path, "killed");
            assert_true(n_now >= n_before);
            n_partial += n_now > n_before && code == -1;
            n_before = n_now;
            assert_true(code == -1 || code == 0);
        }
        assert_int_equal(n_before, n_cells);
        check_table("killed");
    }
    print_message("%zu of %zu kills met a sweep that had kept cells\n", n_partial, n);
    assert_true(n_partial > 5); /* the kills met sweeps that were at it */
}

/* A store that cannot grow: the sweep ends with the reason, what was kept is there, and it goes on. */
static void test_full_disk(void **state) {
    (void)state;
    char path[4096];
    set_path(path, "full.db");
    size_t n_before = 0;
    size_t n_failed = 0;
    for (size_t kib = 32; kib <= 512; kib *= 2) {
        const int code = wait_for(start(sweep, path, "full", kib * 1024));
        const size_t n = check_store(path, "full");
        char *told = load_output("full", "err");
        assert_true(n >= n_before);
        assert_true(code == 0 || (code == 4 && strstr(told, "E_IO") != NULL));
        n_failed += code == 4;
        n_before = n;
        kvl_free(told);
    }
    assert_true(n_failed >= 2);
    assert_int_equal(run(path, "full"), 0);
    assert_int_equal(check_store(path, "full"), n_cells);
    check_table("full");
}

static void test_two_at_once(void **state) {
    (void)state;
    char path[4096];
    set_path(path, "two.db");
    const pid_t first = start(sweep, path, "first", 0);
    const pid_t second = start(sweep, path, "second", 0);
    assert_int_equal(wait_for(first), 0);
    assert_int_equal(wait_for(second), 0);
    assert_int_equal(check_store(path, "first"), n_cells);
    check_table("first");
    check_table("second");
    char *a = load_output("first", "err");
    char *b = load_output("second", "err");
    assert_non_null(strstr(strstr(a, "55 of 55 cells from ") != NULL ? a : b, "55 of 55 cells from "));
    kvl_free(a);
    kvl_free(b);
}

/* SIGINT after the first wave's first cell: that wave ends, the others do not begin. */
static void test_interrupt(void **state) {
    (void)state;
    char path[4096];
    set_path(path, "interrupt.db");
    char err_path[4096];
    set_path(err_path, "interrupt.err");
    const pid_t pid = start(sweep, path, "interrupt", 0);
    for (bool has_cell = false; !has_cell;) {
        const struct timespec pause = {.tv_nsec = 2000000};
        nanosleep(&pause, NULL);
        assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
        if (kvl_file_exists(err_path)) {
            char *told = load(err_path);
            has_cell = strstr(told, "cell 1 of 55") != NULL;
            kvl_free(told);
        }
    }
    kill(pid, SIGINT);
    assert_int_equal(wait_for(pid), 130);
    const size_t n = check_store(path, "interrupt");
    char *told = load_output("interrupt", "err");
    char line[4200];
    snprintf(line, sizeof line, "stopped: %zu of 55 cells are in %s; the same command goes on from there\n",
             n, path);
    assert_non_null(strstr(told, line));
    assert_true(n > 0 && n < n_cells);
    kvl_free(told);
    assert_int_equal(run(path, "interrupt"), 0);
    told = load_output("interrupt", "err");
    snprintf(line, sizeof line, "%zu of 55 cells from %s\n", n, path);
    assert_non_null(strstr(told, line));
    kvl_free(told);
    check_table("interrupt");
}

static const char *run_with(const char *path, const char *options) {
    static char args[32768];
    int exit_code = 0;
    snprintf(args, sizeof args, "sweep --max-tokens 64 --no-chart -o csv --store '%s' %s", path, options);
    const char *text = test_run(&exit_code, args);
    if (exit_code != 0) {
        fail_msg("%s: %s", args, text);
    }
    return text;
}

static size_t count_groups(const char *path, size_t *n) {
    kvl_store *store = NULL;
    kvl_store_groups groups = {0};
    assert_ok(kvl_store_open(&store, path, KVL_STORE_READ, NULL, NULL, NULL));
    assert_ok(kvl_store_find_groups(store, &groups, NULL));
    *n = 0;
    for (size_t i = 0; i < groups.n; i++) {
        *n += groups.items[i].n_cells;
    }
    const size_t n_groups = groups.n;
    kvl_store_groups_free(&groups);
    kvl_store_close(store);
    return n_groups;
}

/* What changes a number makes another cell, or another group; what does not, does not. */
static void test_identity(void **state) {
    (void)state;
    char path[4096];
    set_path(path, "identity.db");
    const char *base = "--samples W1 -P knorm -r .5";
    size_t n_cells_now = 0;
    char options[256];
    (void)run_with(path, base);
    assert_int_equal(count_groups(path, &n_cells_now), 1);
    assert_int_equal(n_cells_now, 3); /* with the one-pass baseline */
    static const char *const same[] = {"--threads 1", "--preset ucurve-6row", "--memory 64MiB", "-q",
                                       "--no-resume"};
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        snprintf(options, sizeof options, "%s %s", base, same[i]);
        (void)run_with(path, options);
        assert_int_equal(count_groups(path, &n_cells_now), 1);
        assert_int_equal(n_cells_now, 3);
    }
    static const struct {
        const char *options;
        size_t n_groups, n_new;
    } others[] = {
        {"--samples W1 -P knorm -r .6", 1, 1},
        {"--samples W1 -P knorm:recent=2 -r .5", 1, 1},
        {"--samples W1 -P 'knorm(high)' -r .5", 1, 1},
        {"--samples W2 -P knorm -r .5", 1, 3},
        {"--samples W1 -P knorm -r .5 --isa c", 2, 3},
        {"--samples W1 -P knorm -r .5 -ctk f16", 3, 3},
        {"--samples W1 -P knorm -r .5 -ctk q8_0 -ctv q8_0", 4, 3},
        {"--samples W1 -P knorm -r .5 -ctk q8_0 -ctv q8_0 --kv-hadamard on", 5, 3},
        {"--samples W1 -P knorm -r .5 -ctk q8_0 -ctv q8_0 --kv-residual 16", 6, 3},
        {"--samples W1 -P knorm -r .5 --arith bf16", 7, 3},
        {"--samples W1 -P knorm -r .5 --prefill 8", 8, 2},
        {"--samples W1 -P knorm -r .5 --max-tokens 60", 9, 3},
        {"--samples B1 -P knorm -r .5 --max-tokens 200 --protocol prefill-continue --prefill 32 --score 32",
         10, 0},
    };
    size_t n_total = n_cells_now;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        (void)run_with(path, others[i].options);
        const size_t n_groups = count_groups(path, &n_cells_now);
        if (n_groups != others[i].n_groups ||
            (others[i].n_new != 0 && n_cells_now != n_total + others[i].n_new)) {
            fail_msg("%s: expected %zu groups and %zu new cells, found %zu and %zu", others[i].options,
                     others[i].n_groups, others[i].n_new, n_groups, n_cells_now - n_total);
        }
        n_total = n_cells_now;
    }
}

/* A copy of the model elsewhere is the same model; a text under another name the same text. */
static void test_places(void **state) {
    (void)state;
    char path[4096];
    set_path(path, "places.db");
    size_t n = 0;
    char options[12288];
    char command[32768];
    snprintf(
        command, sizeof command, "cp -r '%s' '%s' && head -c 600 '%s' > '%s' && mkdir '%s' && cp '%s' '%s'",
        test_path("models/novels-7m"), test_temp_path("copy"), test_path("README.md"),
        test_temp_path("a.txt"), test_temp_path("sub"), test_temp_path("a.txt"), test_temp_path("sub/b.txt"));
    assert_int_equal(system(command), 0);
    snprintf(options, sizeof options, "-P knorm -r .5 -f '%s'", test_temp_path("a.txt"));
    (void)run_with(path, options);
    assert_int_equal(count_groups(path, &n), 1);
    assert_int_equal(n, 3);
    snprintf(options, sizeof options, "-P knorm -r .5 -f '%s' -m '%s'", test_temp_path("sub/b.txt"),
             test_temp_path("copy"));
    assert_non_null(strstr(run_with(path, options), "2 of 2 cells from"));
    assert_int_equal(count_groups(path, &n), 1);
    assert_int_equal(n, 3);
}

/* The document of a text looked at closely is what reports read. */
static void test_portrait(void **state) {
    (void)state;
    char path[4096];
    kvl_store *store = NULL;
    kvl_content content;
    int exit_code = 0;
    assert_non_null(
        strstr(test_run(&exit_code, "sweep --portrait --no-store"), "--portrait: expected a store"));
    assert_int_equal(exit_code, 2);
    set_path(path, "portrait.db");
    (void)run_with(path, "--samples W1 -P knorm,recency -r .9,.5 --portrait");
    assert_ok(kvl_store_open(&store, path, KVL_STORE_READ, NULL, NULL, NULL));
    assert_ok(kvl_content_gather(&content, store, NULL, NULL, NULL));
    const kvl_portrait *p = content.portrait;
    assert_non_null(p);
    assert_int_equal(p->n_tokens, 64);
    assert_int_equal(p->n_policies, 5);
    assert_int_equal(p->n_skipped, 1);
    assert_string_equal(p->policies[0].policy, "none");
    double sum = 0;
    const size_t n = p->n_layers * p->n_heads * p->n_tokens;
    for (size_t i = 0; i < n; i++) {
        const bool is_last = i % p->n_tokens == p->n_tokens - 1; /* only predicted */
        assert_true(p->policies[0].left_at[i] == UINT32_MAX);
        assert_true(is_last || (p->norms[i] > 0 && p->attention[i] >= 0 && p->attention[i] <= 1));
        /* a key leaves after it came; none does in the layer that is left alone */
        const uint32_t left = p->policies[2].left_at[i];
        assert_true(left == UINT32_MAX || (left > i % p->n_tokens && i >= p->n_heads * p->n_tokens));
        sum += left != UINT32_MAX;
    }
    assert_true(sum > 100);
    /* the NLLs are those of the sweep's cells */
    assert_true(isnan(p->policies[2].nll[0]) && p->policies[2].nll[1] == p->policies[0].nll[1]);
    double nll = 0;
    for (size_t t = 1; t < p->n_tokens; t++) {
        nll += p->policies[2].nll[t];
    }
    const kvl_report_row *row = NULL;
    for (size_t i = 0; i < content.sweep->n_rows; i++) {
        row =
            strcmp(content.sweep->rows[i].policy, p->policies[2].policy) == 0 ? &content.sweep->rows[i] : row;
    }
    assert_non_null(row);
    assert_true(fabs(row->pooled_nll - nll / 63) < 1e-12);
    kvl_content_free(&content);
    kvl_store_close(store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity),    cmocka_unit_test(test_places),
        cmocka_unit_test(test_portrait),    cmocka_unit_test(test_interrupt),
        cmocka_unit_test(test_two_at_once), cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_kills),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
