/* Turns text files into C strings: embed OUTPUT.h NAME.css NAME.js ... declares kvli_name_css, kvli_name_js.
 * SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

static void put_name(FILE *out, const char *path) {
    const char *slash = strrchr(path, '/');
    fputs("static const char kvli_", out);
    for (const char *c = slash != NULL ? slash + 1 : path; *c != '\0'; c++) {
        fputc(isalnum((unsigned char)*c) ? *c : '_', out);
    }
    fputs("[] =", out);
}

/* One literal a line; other bytes than printable ASCII as octal, so that no compiler reads them as text. */
static int put_file(FILE *out, const char *path) {
    FILE *in = fopen(path, "rb");
    if (in == NULL) {
        perror(path);
        return 1;
    }
    fprintf(out, "/* %s */\n", strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path);
    put_name(out, path);
    fputs("\n    \"", out);
    for (int c = fgetc(in); c != EOF; c = fgetc(in)) {
        if (c == '\n') {
            fputs("\\n\"\n    \"", out);
        } else if (c == '"' || c == '\\') {
            fprintf(out, "\\%c", c);
        } else if (c < 0x20 || c > 0x7e || c == '?') {
            fprintf(out, "\\%03o", (unsigned)c);
        } else {
            fputc(c, out);
        }
    }
    fputs("\";\n", out);
    const int is_bad = ferror(in);
    fclose(in);
    return is_bad;
}

int main(int argc, char **argv) {
    FILE *out = argc > 2 ? fopen(argv[1], "wb") : NULL;
    if (out == NULL) {
        fputs("usage: embed OUTPUT.h FILE...\n", stderr);
        return 2;
    }
    int is_bad = 0;
    for (int i = 2; i < argc; i++) {
        is_bad |= put_file(out, argv[i]);
    }
    return fclose(out) != 0 || is_bad;
}
