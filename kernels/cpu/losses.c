/* Losses and their gradients (formulas: kernels/net.h). Places are taken in a fixed number of parts
 * whose sums, in double, are added in order, so that a loss does not depend on the team. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vector.h"

enum { PARTS = 64, PIECE = 4096 };       /* PIECE: numbers whose sum is in floats */

typedef struct {
    const LossCall *call;
    double          scale;   /* 1 / what counts in the whole batch */
    double         *partial; /* [PARTS] */
} LossWork;

/* ---- one place, or a part of it; each gives its loss and writes dy times scale ---- */

VECTORISED static double squares(const float *s, const float *t, float *dy, int64_t count,
                                 float scale)
{
    float   lane[VECTOR_LANES] = {0};
    int64_t i = 0;

    for (; i + VECTOR_LANES <= count; i += VECTOR_LANES)
        for (int j = 0; j < VECTOR_LANES; j++) {
            float d = s[i + j] - t[i + j];

            dy[i + j] = scale * d;
            lane[j] += d * d;
        }
    for (; i < count; i++) {
        float d = s[i] - t[i];

        dy[i] = scale * d;
        lane[i % VECTOR_LANES] += d * d;
    }
    double total = 0.0;
    for (int j = 0; j < VECTOR_LANES; j++) total += (double)lane[j];
    return total;
}

static double squares_of_all(const float *s, const float *t, float *dy, int64_t count, double scale)
{
    double sum = 0.0;

    for (int64_t i = 0; i < count; i += PIECE)
        sum += squares(s + i, t + i, dy + i, count - i < PIECE ? count - i : PIECE, (float)scale);
    return sum;
}

typedef struct { float most, sum; } Softmax;

/* p = exp((x - most) / T), p NULL: not wanted. */
VECTORISED static Softmax exponentials(const float *x, float *p, int64_t count, float inverse)
{
    Softmax out = {vector_most(x, count), 0.0f};
    float   lane[VECTOR_LANES] = {0};
    int64_t i = 0;

    for (; i + VECTOR_LANES <= count; i += VECTOR_LANES)
        for (int j = 0; j < VECTOR_LANES; j++) {
            float e = vector_exp_below((x[i + j] - out.most) * inverse);

            if (p) p[i + j] = e;
            lane[j] += e;
        }
    for (; i < count; i++) {
        float e = vector_exp_below((x[i] - out.most) * inverse);

        if (p) p[i] = e;
        lane[i % VECTOR_LANES] += e;
    }
    out.sum = vector_total(lane);
    return out;
}

/* The sum of softmax(t / T) times u - v per number, u = (t - most) / T (0 where entropy is not
 * wanted), v = (s - most) / T; dy, which holds the student's exponentials, becomes (softmax(s / T)
 * - softmax(t / T)) scale. */
VECTORISED static double cross(const float *s, const float *t, float *dy, int64_t count,
                               Softmax of_s, Softmax of_t, float inverse, bool entropy, float scale)
{
    float   lane[VECTOR_LANES] = {0}, inverse_s = 1.0f / of_s.sum, inverse_t = 1.0f / of_t.sum,
            with = entropy ? 1.0f : 0.0f;
    int64_t i = 0;
    double  total = 0.0;

    for (; i + VECTOR_LANES <= count; i += VECTOR_LANES)
        for (int j = 0; j < VECTOR_LANES; j++) {
            float u = (t[i + j] - of_t.most) * inverse, p = vector_exp(u) * inverse_t;

            lane[j] += p * (with * u - (s[i + j] - of_s.most) * inverse);
            dy[i + j] = (dy[i + j] * inverse_s - p) * scale;
        }
    for (; i < count; i++) {
        float u = (t[i] - of_t.most) * inverse, p = vector_exp(u) * inverse_t;

        lane[i % VECTOR_LANES] += p * (with * u - (s[i] - of_s.most) * inverse);
        dy[i] = (dy[i] * inverse_s - p) * scale;
    }
    for (int j = 0; j < VECTOR_LANES; j++) total += (double)lane[j];
    return total;
}

/* sum p_t (log p_t - log p_s), without the first where entropy is not asked for; dy = (p_s - p_t)
 * scale. */
static double divergence(const float *s, const float *t, float *dy, int64_t count,
                         double temperature, bool entropy, double scale)
{
    float   inverse = (float)(1.0 / temperature);
    Softmax of_s = exponentials(s, dy, count, inverse),
            of_t = exponentials(t, NULL, count, inverse);
    double  sum = cross(s, t, dy, count, of_s, of_t, inverse, entropy, (float)scale);

    return sum + log((double)of_s.sum) - (entropy ? log((double)of_t.sum) : 0.0);
}

static int64_t largest_of(const float *t, int64_t count)
{
    int64_t best = 0;

    for (int64_t i = 1; i < count; i++) if (t[i] > t[best]) best = i;
    return best;
}

static double hard(const float *s, int64_t best, float *dy, int64_t count, double scale)
{
    Softmax of_s = exponentials(s, dy, count, 1.0f);

    for (int64_t i = 0; i < count; i++) dy[i] *= (float)(scale / (double)of_s.sum);
    dy[best] -= (float)scale;
    return log((double)of_s.sum) - (double)(s[best] - of_s.most);
}

VECTORISED static void cosine_slope(const float *s, const float *t, float *dy, int64_t count,
                                    float of_t, float of_s)
{
    for (int64_t i = 0; i < count; i++) dy[i] = of_s * s[i] - of_t * t[i];
}

VECTORISED static double dot(const float *x, const float *y, int64_t count)
{
    return (double)vector_dot(x, y, count);
}

/* d (1 - s t / (|s| |t|)) / d s = s cos / |s|^2 - t / (|s| |t|). Of a vector of zeros the cosine is
 * 0, and has no slope. */
static double cosine(const float *s, const float *t, float *dy, int64_t count, double scale)
{
    double ss = dot(s, s, count), tt = dot(t, t, count), both = sqrt(ss * tt);
    double value = both > 0.0 ? dot(s, t, count) / both : 0.0;

    cosine_slope(s, t, dy, count, both > 0.0 ? (float)(scale / both) : 0.0f,
                 both > 0.0 ? (float)(scale * value / ss) : 0.0f);
    return 1.0 - value;
}

static double place_loss(const LossWork *w, int64_t at)
{
    const LossCall *c = w->call;
    int64_t         n = c->channels;
    const float    *s = c->student + at * n, *t = c->teacher ? c->teacher + at * n : NULL;
    float          *dy = c->dy + at * n;

    switch (c->kind) {
    case LOSS_SOFT_CROSS_ENTROPY: return divergence(s, t, dy, n, 1.0, false, w->scale);
    case LOSS_KL:
        return c->temperature * c->temperature
               * divergence(s, t, dy, n, c->temperature, true, c->temperature * w->scale);
    case LOSS_HARD_CROSS_ENTROPY: return hard(s, largest_of(t, n), dy, n, w->scale);
    case LOSS_LABEL_CROSS_ENTROPY: return hard(s, c->labels[at], dy, n, w->scale);
    case LOSS_COSINE: return cosine(s, t, dy, n, w->scale);
    default: return squares_of_all(s, t, dy, n, 2.0 * (w->scale / (double)n)) / (double)n;
    }
}

/* ---- all places ---- */

static int64_t length_of(const LossCall *c, int64_t row)
{
    return c->lengths ? c->lengths[row] : c->places;
}

static bool counts(const LossCall *c, int64_t at)
{
    return c->labels ? c->labels[at] >= 0 : at % c->places < length_of(c, at / c->places);
}

static void clear(const LossCall *c, int64_t at, int64_t places)
{
    memset(c->dy + at * c->channels, 0, (size_t)(places * c->channels) * sizeof *c->dy);
}

/* begin, end: of PARTS parts of the places. */
static void places_part(void *context, int64_t begin, int64_t end, int thread)
{
    LossWork       *w = context;
    const LossCall *c = w->call;
    int64_t         all = c->rows * c->places;

    (void)thread;
    for (int64_t part = begin; part < end; part++) {
        w->partial[part] = 0.0;
        for (int64_t at = all * part / PARTS; at < all * (part + 1) / PARTS; at++) {
            if (counts(c, at)) w->partial[part] += place_loss(w, at);
            else clear(c, at, 1);
        }
    }
}

/* MSE of whole rows where every place counts: their numbers are one line. */
static void flat_part(void *context, int64_t begin, int64_t end, int thread)
{
    LossWork       *w = context;
    const LossCall *c = w->call;
    int64_t         count = c->rows * c->places * c->channels, pieces = (count + PIECE - 1) / PIECE;

    (void)thread;
    for (int64_t part = begin; part < end; part++) {
        int64_t from = pieces * part / PARTS * PIECE, to = pieces * (part + 1) / PARTS * PIECE;

        if (to > count) to = count;
        w->partial[part] = squares_of_all(c->student + from, c->teacher + from, c->dy + from,
                                          to - from, 2.0 * (w->scale / (double)c->channels))
                           / (double)c->channels;
    }
}

/* Rows of normalised MSE. */
static void rows_part(void *context, int64_t begin, int64_t end, int thread)
{
    LossWork       *w = context;
    const LossCall *c = w->call;

    (void)thread;
    for (int64_t part = begin; part < end; part++) {
        w->partial[part] = 0.0;
        for (int64_t r = c->rows * part / PARTS; r < c->rows * (part + 1) / PARTS; r++) {
            int64_t at = r * c->places, count = length_of(c, r) * c->channels;
            double  size = 0.0;

            for (int64_t i = 0; i < count; i += PIECE) {
                const float *t = c->teacher + at * c->channels + i;

                size += dot(t, t, count - i < PIECE ? count - i : PIECE);
            }
            size = size > 1e-30 ? size : 1e-30;
            w->partial[part] +=
                squares_of_all(c->student + at * c->channels, c->teacher + at * c->channels,
                               c->dy + at * c->channels, count, 2.0 * w->scale / size)
                / size;
            clear(c, at + length_of(c, r), c->places - length_of(c, r));
        }
    }
}

void cpu_loss(Device *device, const LossCall *call)
{
    double   partial[PARTS], sum = 0.0;
    LossWork work = {call, 1.0 / (double)call->global_rows, partial};
    bool     by_row = call->kind == LOSS_NORMALISED_MSE;

    if (!by_row)
        work.scale = call->lengths || call->labels ? 1.0 / (double)call->global_places
                                                   : work.scale / (double)call->places;
    cpu_parallel(cpu_device(device), PARTS, 1,
                 by_row                                     ? rows_part
                 : call->kind == LOSS_MSE && !call->lengths ? flat_part
                                                            : places_part,
                 &work);
    for (int p = 0; p < PARTS; p++) sum += partial[p];
    *call->loss = (call->add ? *call->loss : 0.0) + sum * work.scale;
}
