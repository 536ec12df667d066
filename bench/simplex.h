/* Minimising a function of a few variables that has no derivatives: the simplex method of Nelder
 * and Mead (Computer Journal 1965). Deterministic. */
#ifndef BENCH_SIMPLEX_H
#define BENCH_SIMPLEX_H

#include <string.h>

enum { SIMPLEX_MOST = 8 };

typedef double SimplexFunction(const double *x, void *context);

typedef struct {
    int              n;
    SimplexFunction *f;
    void            *context;
    double           x[SIMPLEX_MOST + 1][SIMPLEX_MOST], value[SIMPLEX_MOST + 1];
    int              best, worst, second;        /* second: the worst but one */
} Simplex;

static inline void simplex_order(Simplex *s)
{
    s->best = s->worst = 0;
    for (int i = 1; i <= s->n; i++) {
        if (s->value[i] < s->value[s->best]) s->best = i;
        if (s->value[i] >= s->value[s->worst]) s->worst = i;
    }
    s->second = s->best;
    for (int i = 0; i <= s->n; i++)
        if (i != s->worst && s->value[i] > s->value[s->second]) s->second = i;
}

/* The point centre + factor * (worst - centre), centre being the mean of the others. */
static inline double simplex_try(Simplex *s, double factor, double *point)
{
    for (int j = 0; j < s->n; j++) {
        double centre = 0;
        for (int i = 0; i <= s->n; i++)
            if (i != s->worst) centre += s->x[i][j] / s->n;
        point[j] = centre + factor * (s->x[s->worst][j] - centre);
    }
    return s->f(point, s->context);
}

static inline void simplex_take(Simplex *s, const double *point, double value)
{
    memcpy(s->x[s->worst], point, sizeof s->x[0]);
    s->value[s->worst] = value;
}

static inline void simplex_shrink(Simplex *s)
{
    for (int i = 0; i <= s->n; i++) {
        if (i == s->best) continue;
        for (int j = 0; j < s->n; j++) s->x[i][j] = 0.5 * (s->x[i][j] + s->x[s->best][j]);
        s->value[i] = s->f(s->x[i], s->context);
    }
}

static inline void simplex_step(Simplex *s)
{
    double reflected[SIMPLEX_MOST] = {0}, other[SIMPLEX_MOST] = {0};

    simplex_order(s);
    double value = simplex_try(s, -1, reflected), further;
    if (value < s->value[s->best]) {
        further = simplex_try(s, -2, other);
        if (further < value) simplex_take(s, other, further);
        else simplex_take(s, reflected, value);
    } else if (value < s->value[s->second]) {
        simplex_take(s, reflected, value);
    } else {
        double nearer = simplex_try(s, value < s->value[s->worst] ? -0.5 : 0.5, other);
        if (nearer < value && nearer < s->value[s->worst]) simplex_take(s, other, nearer);
        else simplex_shrink(s);
    }
}

/* x: [n], where to start; becomes the best that steps found, which is returned. */
static inline double simplex_minimise(SimplexFunction *f, void *context, double *x, int n,
                                      double size, int steps)
{
    Simplex s = {.n = n, .f = f, .context = context};

    for (int i = 0; i <= n; i++) {
        memcpy(s.x[i], x, (size_t)n * sizeof *x);
        if (i > 0) s.x[i][i - 1] += size;
        s.value[i] = f(s.x[i], context);
    }
    for (int i = 0; i < steps; i++) simplex_step(&s);
    simplex_order(&s);
    memcpy(x, s.x[s.best], (size_t)n * sizeof *x);
    return s.value[s.best];
}

#endif
