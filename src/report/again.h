/* Commands that a reader runs for the model of a report. */
#ifndef KVL_REPORT_AGAIN_H
#define KVL_REPORT_AGAIN_H

#include "report/content.h"

/* Appends a command, as "kvlab explain", with the options behind it that name the model and its arithmetic in
 * the commands that made the content. */
void kvl_command_for(kvl_str *out, const kvl_content *c, const char *command);

#endif
