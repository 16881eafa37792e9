/* Picking the options of a model out of a command, as a shell reads it. */
#include "report/again.h"

#include <string.h>

/* Length of the first word: up to a blank that stands between no quotes. */
static size_t word_length(const char *text) {
    bool is_quoted = false;
    size_t n = 0;
    for (; text[n] != '\0' && (is_quoted || text[n] != ' '); n++) {
        is_quoted = is_quoted != (text[n] == '\'');
    }
    return n;
}

static bool is_word(const char *text, size_t n, const char *word) {
    return strlen(word) == n && strncmp(text, word, n) == 0;
}

/* How many words an option of the model takes, with its own: 0 for others. */
static size_t words_of(const char *text, size_t n) {
    static const char *const options[] = {"-m",        "--model", "-hf",   "--hf",   "--hf-repo",
                                          "--hf-file", "-hff",    "--hff", "--arith"};
    const char *equals = memchr(text, '=', n);
    const size_t n_name = equals != NULL ? (size_t)(equals - text) : n;
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        if (is_word(text, n_name, options[i])) {
            return equals != NULL ? 1 : 2;
        }
    }
    return is_word(text, n, "--offline") || (n > 2 && strncmp(text, "-m", 2) == 0) ? 1 : 0;
}

static const char *known_command(const kvl_content *c) {
    return c->sweep != NULL    ? c->sweep->command
           : c->cause != NULL  ? c->cause->command
           : c->choice != NULL ? c->choice->command
           : c->needle != NULL ? c->needle->command
           : c->time != NULL   ? c->time->command
           : c->bench != NULL  ? c->bench->command
                               : NULL;
}

void kvl_command_for(kvl_str *out, const kvl_content *c, const char *command) {
    const char *at = known_command(c);
    size_t n_taken = 0;
    kvl_str_puts(out, command);
    while (at != NULL && *at != '\0') {
        const size_t n = word_length(at);
        n_taken = n_taken != 0 ? n_taken : words_of(at, n);
        if (n_taken != 0) {
            kvl_str_puts(out, " ");
            kvl_str_append(out, at, n);
            n_taken--;
        }
        at += n;
        while (*at == ' ') {
            at++;
        }
    }
}
