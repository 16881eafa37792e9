/* Student's t and the normal distribution. */
#include "stats/distribution.h"

#include "stats/stats.h"

#include <math.h>

/* Continued fraction of the incomplete beta function (Lentz's method; Press et al., Numerical Recipes, 6.4).
 */
static double beta_fraction(double a, double b, double x) {
    const double tiny = 1e-300;
    double c = 1.0;
    double d = 1.0 / fmax(fabs(1.0 - (a + b) * x / (a + 1.0)), tiny);
    double h = d;
    for (int m = 1; m <= 500; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        d = 1.0 + even * d;
        c = 1.0 + even / c;
        d = 1.0 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        h *= d * c;
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1.0 + odd * d;
        c = 1.0 + odd / c;
        d = 1.0 / (fabs(d) < tiny ? tiny : d);
        c = fabs(c) < tiny ? tiny : c;
        h *= d * c;
        if (fabs(d * c - 1.0) < 1e-15) {
            break;
        }
    }
    return h;
}

double kvli_log_gamma(double x) {
    /* Lanczos, g = 7, n = 9: lgamma of the C library writes a global sign */
    static const double c[] = {0.99999999999980993,  676.5203681218851,     -1259.1392167224028,
                               771.32342877765313,   -176.61502916214059,   12.507343278686905,
                               -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7};
    double sum = c[0];
    for (int i = 1; i < 9; i++) {
        sum += c[i] / (x - 1 + i);
    }
    double t = x + 6.5;
    return 0.91893853320467274178 + (x - 0.5) * log(t) - t + log(sum);
}

double kvli_t_two_sided(double t, double df) {
    if (isinf(t)) {
        return 0;
    }
    double x = df / (df + t * t);
    double a = 0.5 * df;
    double b = 0.5;
    double front =
        exp(kvli_log_gamma(a + b) - kvli_log_gamma(a) - kvli_log_gamma(b) + a * log(x) + b * log1p(-x));
    return x < (a + 1) / (a + b + 2) ? front * beta_fraction(a, b, x) / a
                                     : 1.0 - front * beta_fraction(b, a, 1.0 - x) / b;
}

static double t_density(double t, double df) {
    double scale =
        exp(kvli_log_gamma(0.5 * (df + 1)) - kvli_log_gamma(0.5 * df)) / sqrt(3.14159265358979323846 * df);
    return scale * exp(-0.5 * (df + 1) * log1p(t * t / df));
}

/* Newton's steps on the logarithm of the tail, which is nearly straight wherever the tail is small. */
double kvli_t_quantile(double share, double df, double start) {
    double t = start;
    for (int i = 0; i < 200; i++) {
        double tail = 0.5 * kvli_t_two_sided(t, df);
        double step = log(tail / share) * tail / t_density(t, df);
        t = fmax(t + step, 0);
        if (fabs(step) <= 1e-14 * t) {
            break;
        }
    }
    return t;
}

double kvli_normal_quantile(double share, double start) {
    double z = start;
    for (int i = 0; i < 200; i++) {
        double tail = 0.5 * erfc(z * 0.70710678118654752440);
        double step = log(tail / share) * tail / (0.39894228040143267794 * exp(-0.5 * z * z));
        z = fmax(z + step, 0);
        if (fabs(step) <= 1e-14 * z) {
            break;
        }
    }
    return z;
}

double kvl_t975(size_t df) { return kvli_t_quantile(0.025, (double)df, 2.0); }
