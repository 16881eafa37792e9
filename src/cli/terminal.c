/* Terminals: width and colours. */
#include "cli/terminal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool kvl_terminal_is(int fd) {
    const char *term = getenv("TERM");
    return isatty(fd) == 1 && (term == NULL || strcmp(term, "dumb") != 0);
}

size_t kvl_terminal_width(int fd) {
    struct winsize size = {0};
    return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col != 0 ? size.ws_col : 80;
}

bool kvl_terminal_has_color(int fd, kvl_color wanted) {
    const char *no_color = getenv("NO_COLOR");
    const bool is_refused = no_color != NULL && no_color[0] != '\0';
    return wanted == KVL_COLOR_ALWAYS || (wanted == KVL_COLOR_AUTO && !is_refused && kvl_terminal_is(fd));
}
