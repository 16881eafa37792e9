/* A headless Chromium for tests, driven through its debugging pipe. */
#ifndef KVL_TESTS_BROWSER_H
#define KVL_TESTS_BROWSER_H

#include "base/json.h"

/* Whether Chromium is installed. */
bool browser_is_there(void);
/* Starts it with one empty page; ends the test program where it cannot. */
void browser_start(void);
void browser_stop(void);

/* Calls a method of the page; returns its result, to be released. Fails the test on an error. */
json_t *browser_call(const char *method, json_t *params);
/* Loads a file and waits until it is loaded. */
void browser_open(const char *path);
/* The value of an expression, to be released; fails the test when it throws. */
json_t *browser_eval(const char *expression);
/* Window, "light" or "dark", "screen" or "print". */
void browser_show(int width, int height, const char *theme, const char *media);
/* The whole page as PNG, at least n_least bytes of it; saved to path unless it is NULL. */
void browser_shoot(const char *path, size_t n_least);
/* Errors and warnings of console and log since the last call, a line each; static. */
const char *browser_complaints(void);

#endif
