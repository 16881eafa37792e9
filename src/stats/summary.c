/* Clustered means and Student's t. */
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

static double log_gamma(double x) {
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

/* P(|T| > t) for t >= 0. */
static double t_two_sided(double t, double df) {
    double x = df / (df + t * t);
    double a = 0.5 * df;
    double b = 0.5;
    double front = exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * log(x) + b * log1p(-x));
    return x < (a + 1) / (a + b + 2) ? front * beta_fraction(a, b, x) / a
                                     : 1.0 - front * beta_fraction(b, a, 1.0 - x) / b;
}

double kvl_t975(size_t df) {
    double low = 1.0;
    double high = 20.0; /* df 1: 12.7 */
    for (int i = 0; i < 100; i++) {
        double mid = 0.5 * (low + high);
        if (t_two_sided(mid, (double)df) > 0.05) {
            low = mid;
        } else {
            high = mid;
        }
    }
    return 0.5 * (low + high);
}

kvl_estimate kvl_cluster_mean(const double *sums, const size_t *counts, size_t n_clusters) {
    double total = 0;
    double n = 0;
    for (size_t i = 0; i < n_clusters; i++) {
        total += sums[i];
        n += (double)counts[i];
    }
    kvl_estimate e = {.mean = total / n, .n_clusters = n_clusters, .has_interval = n_clusters >= 2};
    e.low = e.high = e.mean;
    if (!e.has_interval) {
        return e;
    }
    double squares = 0;
    for (size_t i = 0; i < n_clusters; i++) {
        double residual = sums[i] - e.mean * (double)counts[i];
        squares += residual * residual;
    }
    double g = (double)n_clusters;
    double error = sqrt(squares * g / (g - 1.0)) / n;
    double half = kvl_t975(n_clusters - 1) * error;
    e.low = e.mean - half;
    e.high = e.mean + half;
    return e;
}
