/* How far a command is, on stderr: on a terminal one line that is drawn over itself and erased at the end;
 * elsewhere a line for each part that is finished.
 */
#ifndef KVL_CLI_PROGRESS_H
#define KVL_CLI_PROGRESS_H

#include "base/str.h"

/* Lines for a command's option table: -q, and its other name. */
#define KVL_QUIET_ARGS(id)                                                                                   \
    {id, 'q', "quiet", NULL, "no progress on stderr"}, { id, 0, "no-progress", NULL, NULL }

typedef struct kvl_progress {
    bool is_quiet;    /* nothing is written */
    bool is_terminal; /* of stderr */
    bool is_shown;    /* a line stands there, to be drawn over */
    uint64_t start_ns, first_done, last_ns;
} kvl_progress;

typedef struct kvl_progress_state {
    const char *what;     /* in front of the bar */
    const char *count;    /* behind it, as "3 of 40 cells"; NULL: per cent */
    uint64_t done, total; /* work; total 0: not known, without a bar */
    const char *unit;     /* of rates, "tokens"; NULL: no rate, no time left */
    double per_unit;      /* work of one unit, as 1e6 bytes of "MB"; 0: 1 */
} kvl_progress_state;

/* Starts the clock of rates, also anew for a next part. */
void kvl_progress_begin(kvl_progress *p, bool is_quiet);
/* Draws the line on a terminal, at most ten times a second, as wide as the terminal is then. */
void kvl_progress_show(kvl_progress *p, const kvl_progress_state *state);
/* A line that stays, above the one that is drawn; without its end. Nothing when quiet. */
void kvl_progress_line(kvl_progress *p, const char *fmt, ...) KVL_PRINTF(2, 3);
/* Erases the line, if one is there. */
void kvl_progress_end(kvl_progress *p);

/* Appends the line of a state after so many seconds, in which work went from first_done on: at most `width`
 * columns, for which less important parts are left out. Control characters are shown as '?'. */
void kvl_progress_write(kvl_str *out, const kvl_progress_state *state, uint64_t first_done, double seconds,
                        size_t width);

#endif
