#include "tests/loss_truth.h"

#include <math.h>

const int loss_lengths[LOSS_ROWS] = {3, 1, 2, 3, 2};
const int loss_labels[LOSS_ROWS * LOSS_PLACES] = {3, 36, -1, 0,  9,  9,  -1, -1,
                                                  1, 2,  3,  35, 30, -1, 4};

/* ---- the loss of one place as a function of the student's numbers ---- */

static double log_sum(const double *x, double temperature)
{
    double most = -INFINITY, sum = 0.0;

    for (int i = 0; i < LOSS_CHANNELS; i++) most = fmax(most, x[i] / temperature);
    for (int i = 0; i < LOSS_CHANNELS; i++) sum += exp(x[i] / temperature - most);
    return most + log(sum);
}

/* label: of the data, where the loss is of labels. */
static double place_truth(LossKind kind, double temperature, const double *s, const double *t,
                          int label)
{
    double sum = 0.0, ss = 0.0, tt = 0.0, of_s = log_sum(s, temperature),
           of_t = log_sum(t, temperature);
    int    best = 0;

    for (int i = 0; i < LOSS_CHANNELS; i++) best = t[i] > t[best] ? i : best;
    for (int i = 0; i < LOSS_CHANNELS; i++) {
        double log_s = s[i] / temperature - of_s, log_t = t[i] / temperature - of_t;

        ss += s[i] * s[i];
        tt += t[i] * t[i];
        if (kind == LOSS_MSE || kind == LOSS_NORMALISED_MSE) sum += (s[i] - t[i]) * (s[i] - t[i]);
        if (kind == LOSS_COSINE) sum += s[i] * t[i];
        if (kind == LOSS_SOFT_CROSS_ENTROPY) sum -= exp(log_t) * log_s;
        if (kind == LOSS_KL) sum += exp(log_t) * (log_t - log_s) * temperature * temperature;
    }
    if (kind == LOSS_MSE) return sum / LOSS_CHANNELS;
    if (kind == LOSS_COSINE) return 1.0 - sum / sqrt(ss * tt);
    if (kind == LOSS_HARD_CROSS_ENTROPY) return of_s - s[best];
    if (kind == LOSS_LABEL_CROSS_ENTROPY) return label < 0 ? 0.0 : of_s - s[label];
    return sum;
}

static double row_size(const double *t, int length)
{
    double sum = 0.0;

    for (int i = 0; i < length * LOSS_CHANNELS; i++) sum += t[i] * t[i];
    return sum;
}

/* What place p's loss counts for in the sum. */
static double weight_of(LossKind kind, int p, const double *t, bool masked)
{
    int row = p / LOSS_PLACES, length = masked ? loss_lengths[row] : LOSS_PLACES;

    if (kind == LOSS_LABEL_CROSS_ENTROPY)
        return loss_labels[p] < 0 ? 0.0 : 1.0 / LOSS_GLOBAL_PLACES;
    if (p % LOSS_PLACES >= length) return 0.0;
    if (kind == LOSS_NORMALISED_MSE)
        return 1.0 / row_size(t + row * LOSS_PLACES * LOSS_CHANNELS, length) / LOSS_GLOBAL_ROWS;
    return masked ? 1.0 / LOSS_GLOBAL_PLACES : 1.0 / (LOSS_GLOBAL_ROWS * LOSS_PLACES);
}

/* ---- of all places ---- */

LossCall loss_call(LossKind kind, double temperature, bool masked)
{
    return (LossCall){.kind = kind, .temperature = temperature, .rows = LOSS_ROWS,
                      .places = LOSS_PLACES, .channels = LOSS_CHANNELS,
                      .global_rows = LOSS_GLOBAL_ROWS, .lengths = masked ? loss_lengths : NULL,
                      .global_places = LOSS_GLOBAL_PLACES,
                      .labels = loss_is_of_labels(kind) ? loss_labels : NULL};
}

double loss_truth(LossKind kind, double temperature, bool masked, double *s, const double *t,
                  double *slopes)
{
    double truth = 0.0;

    for (int p = 0; p < LOSS_ROWS * LOSS_PLACES; p++) {
        double       *a = s + p * LOSS_CHANNELS, weight = weight_of(kind, p, t, masked);
        const double *b = t + p * LOSS_CHANNELS;

        truth += weight * place_truth(kind, temperature, a, b, loss_labels[p]);
        for (int i = 0; i < LOSS_CHANNELS; i++) {
            const double h = 1e-5;
            double       x = a[i], up, down;

            a[i] = x + h, up = place_truth(kind, temperature, a, b, loss_labels[p]);
            a[i] = x - h, down = place_truth(kind, temperature, a, b, loss_labels[p]);
            a[i] = x;
            slopes[p * LOSS_CHANNELS + i] = weight * (up - down) / (2.0 * h);
        }
    }
    return truth;
}
