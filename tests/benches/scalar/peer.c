// The functions of `lang/benches/scalar/functions.evo` in C. Answers each line `CASE` with nanoseconds a call and the sum of
// the results. Built by run.py: gcc -O3 -march=native.
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SETS 256
static const double TAU = 6.283185307179586;
static double arguments[SETS * 100];

static double rastrigin(const double *x, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += x[i] * x[i] - 10 * cos(TAU * x[i]);
    return 10.0 * n + sum;
}
static double rosenbrock(const double *x, int n) {
    double sum = 0;
    for (int i = 0; i < n - 1; i++) {
        double valley = x[i + 1] - x[i] * x[i], slope = 1 - x[i];
        sum += 100 * (valley * valley) + slope * slope;
    }
    return sum;
}
__attribute__((noinline)) static double rastrigin10(const double *x) { return rastrigin(x, 10); }
__attribute__((noinline)) static double rastrigin100(const double *x) { return rastrigin(x, 100); }
__attribute__((noinline)) static double rosenbrock10(const double *x) { return rosenbrock(x, 10); }
__attribute__((noinline)) static double rosenbrock100(const double *x) { return rosenbrock(x, 100); }
__attribute__((noinline)) static double formula(const double *x) {
    double a = x[0], b = x[1], c = x[2], d = x[3];
    double s = a * b + c * d;
    double t = (a - c) / (1 + b * b);
    double u = sqrt(s * s + t * t + 0.5);
    double v = exp(-(t * t)) * (u - 0.25 * a);
    double w = fmax(a, b) - fmin(c, d) + fabs(s - u);
    double p = ((0.1 * u + 0.2) * u - 0.3) * u + 0.4;
    double q = (v + w) * (v - w) + p * p;
    double r = log(1 + q * q) / (2 + fabs(p));
    double z = cos(r) * s + (q > 0 ? t : u);
    return z * z - 0.5 * r + w;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

int main(void) {
    static const struct { const char *name; int n; double (*f)(const double *); } cases[] = {
        {"rastrigin10", 10, rastrigin10}, {"rastrigin100", 100, rastrigin100}, {"rosenbrock10", 10, rosenbrock10},
        {"rosenbrock100", 100, rosenbrock100}, {"formula", 4, formula}};
    char line[64];
    while (scanf("%63s", line) == 1) {
        for (unsigned c = 0; c < sizeof cases / sizeof *cases; c++) {
            if (strcmp(line, cases[c].name)) continue;
            int n = cases[c].n;
            for (int s = 0; s < SETS; s++)
                for (int i = 0; i < n; i++) arguments[s * n + i] = (i * 7919 + s * 104729) % 10007 / 10007.0 * 4 - 2;
            double (*volatile chosen)(const double *) = cases[c].f;
            double (*f)(const double *) = chosen, sum = 0, start = now(), time;
            long rounds = 0;
            do {
                sum = 0;
                for (int s = 0; s < SETS; s++) sum += f(arguments + s * n);
                rounds++;
                time = now() - start;
            } while (time < 0.02);
            printf("%.17g %.17g\n", time * 1e9 / (rounds * SETS), sum);
            fflush(stdout);
        }
    }
}
