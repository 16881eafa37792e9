/* The line that says how far a command is. */
#include "cli/progress.h"

#include "base/os.h"
#include "cli/terminal.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char erase[] = "\r\x1b[K";

/* ---- text ---- */

/* At most so many columns of a text; control characters as '?'. */
static void put_clean(kvl_str *out, const char *text, size_t most) {
    for (size_t n = 0; *text != '\0';) {
        const size_t n_control = kvl_control_bytes(text);
        n += ((unsigned char)*text & 0xc0) != 0x80; /* a character's first byte */
        if (n > most) {
            return;
        }
        kvl_str_append(out, n_control != 0 ? "?" : text, 1);
        text += n_control != 0 ? n_control : 1;
    }
}

static void put_bar(kvl_str *out, double share, size_t width) {
    const size_t filled = (size_t)(share * (double)width);
    kvl_str_puts(out, " [");
    for (size_t i = 0; i < width; i++) {
        kvl_str_puts(out, i < filled ? "#" : " ");
    }
    kvl_str_puts(out, "]");
}

static void put_time(kvl_str *out, double seconds) {
    const uint64_t s = (uint64_t)fmin(ceil(seconds), 9e9);
    kvl_str_printf(out, ", %llu:%02u:%02u left", (unsigned long long)(s / 3600), (unsigned)(s / 60 % 60),
                   (unsigned)(s % 60));
}

/* Parts of the line, the first to be left out last. */
typedef struct parts {
    size_t bar; /* width of the bar; 0: none */
    bool time, rate, count;
} parts;

static void write_parts(kvl_str *out, const kvl_progress_state *s, double rate, parts has, size_t width) {
    const double share = s->total != 0 ? fmin((double)s->done / (double)s->total, 1) : 0;
    const double per_unit = s->per_unit > 0 ? s->per_unit : 1;
    put_clean(out, s->what, width);
    if (has.bar != 0 && s->total != 0) {
        put_bar(out, share, has.bar);
    }
    if (has.count && s->count != NULL) {
        kvl_str_puts(out, " ");
        put_clean(out, s->count, width);
    } else if (has.count && s->total != 0) {
        kvl_str_printf(out, " %.0f %%", floor(100 * share));
    }
    if (has.rate && s->unit != NULL && rate > 0) {
        kvl_str_printf(out, ", %.*f %s/s", rate / per_unit < 100, rate / per_unit, s->unit);
    }
    /* a first short pass says little about the others */
    if (has.time && s->unit != NULL && rate > 0 && s->total >= s->done && share >= 0.01) {
        put_time(out, (double)(s->total - s->done) / rate);
    }
}

void kvl_progress_write(kvl_str *out, const kvl_progress_state *s, uint64_t first_done, double seconds,
                        size_t width) {
    static const parts ways[] = {{30, true, true, true},  {20, true, true, true}, {10, true, true, true},
                                 {10, true, false, true}, {0, true, false, true}, {0, false, false, true},
                                 {0, false, false, false}};
    const double rate = seconds > 0 && s->done > first_done ? (double)(s->done - first_done) / seconds : 0;
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        kvl_str line = {0};
        write_parts(&line, s, rate, ways[i], width);
        const bool is_last = i + 1 == sizeof ways / sizeof ways[0];
        const bool fits = kvl_text_columns(kvl_str_text(&line)) <= width;
        if (fits || is_last) {
            put_clean(out, kvl_str_text(&line), width);
        }
        kvl_str_free(&line);
        if (fits) {
            return;
        }
    }
}

/* ---- the stream ---- */

void kvl_progress_begin(kvl_progress *p, bool is_quiet) {
    p->is_quiet = is_quiet;
    p->is_terminal = kvl_terminal_is(STDERR_FILENO);
    p->start_ns = kvl_clock_ns();
    p->first_done = 0;
}

void kvl_progress_show(kvl_progress *p, const kvl_progress_state *state) {
    enum { update_ns = 100000000 };
    const uint64_t now = kvl_clock_ns();
    if (p->is_quiet || !p->is_terminal || now - p->last_ns < update_ns) {
        return;
    }
    kvl_str line = {0};
    p->last_ns = now;
    p->is_shown = true;
    /* the last column stays free: some terminals break the line there */
    kvl_progress_write(&line, state, p->first_done, (double)(now - p->start_ns) * 1e-9,
                       kvl_terminal_width(STDERR_FILENO) - 1);
    fprintf(stderr, "\r%s\x1b[K", kvl_str_text(&line));
    kvl_str_free(&line);
}

void kvl_progress_line(kvl_progress *p, const char *fmt, ...) {
    if (p->is_quiet) {
        return;
    }
    char text[1024];
    kvl_str line = {0};
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    put_clean(&line, text, sizeof text);
    kvl_progress_end(p);
    fprintf(stderr, "%s\n", kvl_str_text(&line));
    kvl_str_free(&line);
}

void kvl_progress_end(kvl_progress *p) {
    if (p->is_shown) {
        fputs(erase, stderr);
        p->is_shown = false;
    }
}
