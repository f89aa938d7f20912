/* What a careful C programmer writes for the same work as bench/test_lanes.py: whole runs of Adam on
   Rosenbrock's function, blocks of trials in SIMD lanes, blocks dealt to threads.

   gcc -O3 -march=native -fopenmp -fno-math-errno -ffp-contract=fast -mprefer-vector-width=512

   The arithmetic is that of the sweep: double-double powers for the bias corrections, final and best
   loss, length of the path, divergence. */

#include <math.h>

#define LANES 32
#define LIMIT 1.7976931348623157e308
#define EACH_LANE _Pragma("omp simd") for (int k = 0; k < LANES; k++)

typedef double vector[LANES] __attribute__((aligned(64)));

static inline void multiply(double *high, double *low, double base)
{
    const double splitter = 134217729.0;
    double a = splitter * *high, b = splitter * base;
    a = a - (a - *high);
    b = b - (b - base);
    double product = *high * base;
    double error = ((a * b - product) + a * (base - b) + (*high - a) * b)
                   + (*high - a) * (base - b);
    error += *low * base;
    *high = product + error;
    *low = error - (*high - product);
}

static inline void update(double g, double *p, double *m, double *v, double b1, double b2,
                          double step, double scale, double eps)
{
    double a1 = 1.0 - b1, a2 = 1.0 - b2;
    double near = *m + a1 * (g - *m), far = g + b1 * (*m - g);
    double less = a2 * *v, more = b2 * *v;
    *m = a1 < b1 ? near : far;
    *v = (less < more ? *v - less : more) + a2 * g * g;
    *p = *p - step * *m / (sqrt(*v) * scale + eps);
}

/* h is (4, trials): lr, beta1, beta2, eps; out (3, trials): final loss, best loss, path length. */
void adam_rosenbrock(long trials, long steps, double x0, double y0, const double *h, double *out)
{
#pragma omp parallel for schedule(dynamic)
    for (long first = 0; first < trials; first += LANES) {
        vector lr, b1, b2, eps, x, y, mx, my, vx, vy, gx, gy, loss, best, path, moved, diverged, last;
        vector high1, low1, high2, low2;
        for (int k = 0; k < LANES; k++) {
            long i = first + k < trials ? first + k : first;
            lr[k] = h[i], b1[k] = h[trials + i], b2[k] = h[2 * trials + i], eps[k] = h[3 * trials + i];
            x[k] = x0, y[k] = y0, mx[k] = my[k] = vx[k] = vy[k] = path[k] = moved[k] = 0.0;
            best[k] = INFINITY, diverged[k] = -1.0, last[k] = NAN;
            high1[k] = high2[k] = 1.0, low1[k] = low2[k] = 0.0;
        }
        for (long t = 0;; t++) {
            EACH_LANE {
                double a = 1.0 - x[k], b = y[k] - x[k] * x[k], now = (double)t;
                loss[k] = a * a + 100.0 * b * b;
                gx[k] = -2.0 * a - 400.0 * x[k] * b;
                gy[k] = 200.0 * b;
                now = fabs(loss[k]) <= LIMIT ? diverged[k] : now;
                diverged[k] = diverged[k] < 0.0 ? now : diverged[k];
                double lower = loss[k] < best[k] ? loss[k] : best[k];
                last[k] = diverged[k] < 0.0 ? loss[k] : last[k];
                best[k] = diverged[k] < 0.0 ? lower : best[k];
                path[k] += sqrt(moved[k]);
            }
            if (t == steps)
                break;
            EACH_LANE {
                double px = x[k], py = y[k];
                multiply(&high1[k], &low1[k], b1[k]);
                multiply(&high2[k], &low2[k], b2[k]);
                double step = lr[k] / (1.0 - high1[k]), scale = 1.0 / sqrt(1.0 - high2[k]);
                update(gx[k], &x[k], &mx[k], &vx[k], b1[k], b2[k], step, scale, eps[k]);
                update(gy[k], &y[k], &my[k], &vy[k], b1[k], b2[k], step, scale, eps[k]);
                moved[k] = (x[k] - px) * (x[k] - px) + (y[k] - py) * (y[k] - py);
            }
        }
        for (int k = 0; k < LANES && first + k < trials; k++) {
            out[first + k] = last[k];
            out[trials + first + k] = best[k];
            out[2 * trials + first + k] = path[k];
        }
    }
}
