/* What the terminal behind a stream can show. */
#ifndef KVL_CLI_TERMINAL_H
#define KVL_CLI_TERMINAL_H

#include "base/compiler.h"

typedef enum kvl_color { KVL_COLOR_AUTO, KVL_COLOR_ALWAYS, KVL_COLOR_NEVER } kvl_color;

/* Whether a descriptor is a terminal that moves its cursor: TERM is not "dumb". */
bool kvl_terminal_is(int fd);
/* Its columns now; 80 where it does not tell. */
size_t kvl_terminal_width(int fd);
/* Whether to write colours to it: as asked for, else on terminals unless NO_COLOR is set and not empty. */
bool kvl_terminal_has_color(int fd, kvl_color wanted);

#endif
