/* The rotation by a Hadamard matrix: spreads outliers of a vector over all its dimensions. */
#include "kernel/kernel.h"

#include <math.h>

void kvl_hadamard(float *x, size_t n) {
    for (size_t half = 1; half < n; half *= 2) {
        for (size_t first = 0; first < n; first += 2 * half) {
            for (size_t i = first; i < first + half; i++) {
                const float a = x[i];
                const float b = x[i + half];
                x[i] = a + b;
                x[i + half] = a - b;
            }
        }
    }
    const float scale = (float)(1.0 / sqrt((double)n));
    for (size_t i = 0; i < n; i++) {
        x[i] *= scale;
    }
}
