/* The program `kvlab`: finds the command, prints errors, maps statuses to exit codes. */
#include "cli/args.h"
#include "cli/cmd.h"
#include "cli/commit.h"

#include "base/os.h"
#include "kernel/kernel.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cairo.h>
#include <curl/curl.h>
#include <jansson.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <openssl/crypto.h>
#include <pango/pango.h>
#include <pcre2.h>
#include <sqlite3.h>
#include <yaml.h>

static const kvl_command commands[] = {
    {"bench", "speed of prompt and generation, beside the limits of this machine", kvl_cmd_bench},
    {"calibrate", "statistics of a model, for presses that need them", kvl_cmd_calibrate},
    {"compare", "what two stored policies, cells or models differ by, on the same tokens", kvl_cmd_compare},
    {"doctor", "whether this installation computes what it should", kvl_cmd_doctor},
    {"explain", "what causes the curve: experiments, a verdict on each hypothesis", kvl_cmd_explain},
    {"export", "what a store holds, for other programs and stores", kvl_cmd_export},
    {"fetch", "download a model into the hub cache", kvl_cmd_fetch},
    {"import", "exported results, into a store", kvl_cmd_import},
    {"inspect", "what is in a model: shape, bytes, tensors (reads headers only)", kvl_cmd_inspect},
    {"ls", "what a store holds", kvl_cmd_ls},
    {"needle", "whether facts in a context are still found in a compressed cache", kvl_cmd_needle},
    {"plan", "memory before running: weights, cache, scratch, longest prompt", kvl_cmd_plan},
    {"press", "the rules there are by which a cache is compressed, and all about one", kvl_cmd_press},
    {"recommend", "a setting to deploy: searched, confirmed on other texts, timed", kvl_cmd_recommend},
    {"report", "a page, or a section of a paper, of what a store holds", kvl_cmd_report},
    {"show", "a stored table, or all about one cell", kvl_cmd_show},
    {"sweep", "quality at every keep ratio: table and curve", kvl_cmd_sweep},
    {"tokenize", "the token ids of a text", kvl_cmd_tokenize},
    {"trace", "what every step of a sweep saw, kept and lost", kvl_cmd_trace},
    {"verify", "whether a store is whole", kvl_cmd_verify},
};
enum { n_commands = sizeof commands / sizeof commands[0] };

static volatile sig_atomic_t stop_requests;

static void on_stop(int sig) {
    stop_requests++;
    if (stop_requests > 1) {
        _exit(128 + sig);
    }
}

bool kvl_is_stopping(void) { return stop_requests != 0; }

const char *kvl_data_root(void) {
    static char path[4096];
    const char *given = getenv("KVL_DATA_DIR");
    if (given != NULL && given[0] != '\0') {
        return given;
    }
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 32);
    if (n > 0) {
        path[n] = '\0';
        char *slash = strrchr(path, '/');
        memcpy(slash, "/../share/kvlab", sizeof "/../share/kvlab");
        if (kvl_file_exists(path)) {
            return path;
        }
    }
    return kvl_file_exists(KVL_INSTALL_DATA_DIR) && !kvl_file_exists(KVL_SOURCE_DATA_DIR)
               ? KVL_INSTALL_DATA_DIR
               : KVL_SOURCE_DATA_DIR;
}

kvl_status kvl_print(const char *text, size_t n, kvl_err *err) {
    if (fwrite(text, 1, n, stdout) != n || fflush(stdout) != 0) {
        return kvl_fail(err, KVL_E_IO, "standard output: cannot be written: %s", strerror(errno));
    }
    return KVL_OK;
}

static void print_help(FILE *to) {
    fputs("kvlab: how much of a language model's key/value cache can go, by which rule, at what cost\n\n"
          "usage: kvlab COMMAND [OPTIONS]\n\ncommands:\n",
          to);
    for (size_t i = 0; i < n_commands; i++) {
        fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].summary);
    }
    fputs("\n  kvlab COMMAND --help   options of a command\n"
          "  kvlab --version        version, instruction sets, libraries\n\n"
          "start with: kvlab sweep --preset ucurve\n",
          to);
}

static void print_version(void) {
    char pcre_version[64] = "";
    pcre2_config(PCRE2_CONFIG_VERSION, pcre_version);
    printf("kvlab %s, commit %s\ncompiler: %s\ninstruction sets:", KVL_VERSION, KVL_COMMIT, __VERSION__);
    for (const char *const *name = kvl_kernels_names(); *name != NULL; name++) {
        printf(" %s", *name);
    }
    printf("\njansson %s, pcre2 %s, libcurl %s, %s\nSQLite %s (%.10s), libyaml %s, cairo %s, pango %s\n",
           jansson_version_str(), pcre_version, curl_version_info(CURLVERSION_NOW)->version,
           OpenSSL_version(OPENSSL_VERSION), sqlite3_libversion(), sqlite3_sourceid(),
           yaml_get_version_string(), cairo_version_string(), pango_version_string());
}

static kvl_status run_command(int argc, char **argv, kvl_err *err) {
    const char *names[n_commands];
    for (size_t i = 0; i < n_commands; i++) {
        names[i] = commands[i].name;
        if (strcmp(argv[1], names[i]) == 0) {
            return commands[i].run(argc, argv, err);
        }
    }
    const char *nearest = kvl_nearest_name(argv[1], strlen(argv[1]), names, n_commands);
    return kvl_fail(err, KVL_E_USAGE, "unknown command '%.80s'%s%s; kvlab --help lists all", argv[1],
                    nearest != NULL ? "; did you mean " : "", nearest != NULL ? nearest : "");
}

int main(int argc, char **argv) {
    struct sigaction action = {.sa_handler = on_stop};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (argc < 2) {
        print_help(stderr);
        return kvl_status_exit_code(KVL_E_USAGE);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help(stdout);
        return 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        print_version();
        return 0;
    }
    kvl_err err = {0};
    kvl_status status = run_command(argc, argv, &err);
    if (status != KVL_OK) {
        fprintf(stderr, "kvlab: %s: %s\n", kvl_status_name(status),
                err.msg[0] != '\0' ? err.msg : kvl_status_text(status));
    }
    return kvl_status_exit_code(status);
}
