#include "tests/slow_sequence.h"

#include <math.h>
#include <stdlib.h>

static double slow_function(Function f, double x)
{
    switch (f) {
    case FUNCTION_RELU: return x > 0.0 ? x : 0.0;
    case FUNCTION_GELU: return 0.5 * x * erfc(-x / sqrt(2.0));
    case FUNCTION_GELU_TANH:
        return 0.5 * x * (1.0 + tanh(sqrt(2.0 / M_PI) * (x + 0.044715 * x * x * x)));
    case FUNCTION_SILU: return x / (1.0 + exp(-x));
    case FUNCTION_TANH: return tanh(x);
    }
    return NAN;
}

/* Central differences: of a smooth function of doubles right to 1e-9. */
static double slow_slope(Function f, double x)
{
    const double h = 1e-5;

    if (f == FUNCTION_RELU) return x > 0.0;
    return (slow_function(f, x + h) - slow_function(f, x - h)) / (2.0 * h);
}

static double *slow_token(Tensor t, int64_t row, int64_t token)
{
    return t.v + (row * t.shape.height * t.shape.width + token) * t.shape.channels;
}

static int slow_length(const Slow *s, int64_t row, int tokens)
{
    return s->lengths ? s->lengths[row] : tokens;
}

static void slow_layernorm(Slow *s, const Layer *l, SlowRecord *r, const Tensor *dy,
                           const Tensor *dx)
{
    int     n = l->in.channels;
    bool    centred = l->kind == LAYER_LAYERNORM;
    double *w = slow_value(s, l->name, "weight"), *b = slow_value(s, l->name, "bias");
    double *dw = dy ? slow_gradient(s, l->name, "weight") : NULL,
           *db = dy ? slow_gradient(s, l->name, "bias") : NULL;

    for (int64_t i = 0; i < slow_count(r->x) / n; i++) {
        const double *x = r->x.v + i * n;
        double        mean = 0.0, square = 0.0, inverse, sum = 0.0, dot = 0.0;

        for (int c = 0; centred && c < n; c++) mean += x[c] / n;
        for (int c = 0; c < n; c++) square += (x[c] - mean) * (x[c] - mean) / n;
        inverse = 1.0 / sqrt(square + l->eps);
        for (int c = 0; !dy && c < n; c++)
            r->y.v[i * n + c] = (x[c] - mean) * inverse * w[c] + (b ? b[c] : 0.0);
        if (!dy) continue;
        for (int c = 0; c < n; c++) {
            double d = dy->v[i * n + c], h = (x[c] - mean) * inverse;

            sum += centred ? d * w[c] / n : 0.0;
            dot += d * w[c] * h / n;
            dw[c] += d * h;
            if (db) db[c] += d;
        }
        for (int c = 0; c < n; c++)
            dx->v[i * n + c] =
                inverse * (dy->v[i * n + c] * w[c] - sum - (x[c] - mean) * inverse * dot);
    }
}

static void slow_gated(const Layer *l, SlowRecord *r, const Tensor *dy, const Tensor *dx)
{
    int n = l->out.channels;

    for (int64_t i = 0; i < slow_count(r->y); i++) {
        int64_t at = i / n * 2 * n + i % n;
        double  gate = r->x.v[at], value = r->x.v[at + n];

        if (!dy) r->y.v[i] = slow_function(l->function, gate) * value;
        else {
            dx->v[at] = dy->v[i] * value * slow_slope(l->function, gate);
            dx->v[at + n] = dy->v[i] * slow_function(l->function, gate);
        }
    }
}

static void slow_embedding(Slow *s, const Layer *l, SlowRecord *r, const Tensor *dy)
{
    const char *names[] = {"weight", "positions", "types"};

    for (int64_t row = 0; row < r->x.rows; row++)
        for (int t = 0; t < l->out.height; t++) {
            double *x = slow_token(r->x, row, t);
            int     place[] = {(int)x[0], t, l->types > 0 ? (int)x[1] : 0};

            for (int k = 0; k < 3; k++) {
                double *table = slow_value(s, l->name, names[k]),
                       *gradient = dy ? slow_gradient(s, l->name, names[k]) : NULL;

                for (int c = 0; table && c < l->out.channels; c++) {
                    int64_t at = (int64_t)place[k] * l->out.channels + c;

                    if (!dy) slow_token(r->y, row, t)[c] += table[at];
                    else if (t < slow_length(s, row, l->out.height))
                        gradient[at] += slow_token(*dy, row, t)[c];
                }
            }
        }
}

static void slow_tokens(Slow *s, const Layer *l, SlowRecord *r, const Tensor *dy, const Tensor *dx)
{
    double *token = slow_value(s, l->name, "class_token"),
           *positions = slow_value(s, l->name, "positions");
    double *dtoken = dy ? slow_gradient(s, l->name, "class_token") : NULL;
    double *dpositions = dy ? slow_gradient(s, l->name, "positions") : NULL;
    int     n = l->out.channels;

    for (int64_t row = 0; row < r->x.rows; row++)
        for (int t = 0; t < l->out.height; t++)
            for (int c = 0; c < n; c++) {
                int    place = t - l->class_token;
                double d = dy ? slow_token(*dy, row, t)[c] : 0.0;

                if (!dy) {
                    slow_token(r->y, row, t)[c] =
                        (place < 0 ? token[c] : slow_token(r->x, row, place)[c])
                        + (positions ? positions[t * n + c] : 0.0);
                    continue;
                }
                if (place < 0) dtoken[c] += d;
                else slow_token(*dx, row, place)[c] += d;
                if (dpositions) dpositions[t * n + c] += d;
            }
}

static void slow_sequence_pool(Slow *s, const Layer *l, SlowRecord *r, const Tensor *dy,
                               const Tensor *dx)
{
    for (int64_t row = 0; row < r->x.rows; row++) {
        int count = l->pooling == POOLING_MEAN ? slow_length(s, row, l->in.height) : 1;

        for (int t = 0; t < count; t++)
            for (int c = 0; c < l->in.channels; c++) {
                if (dy) slow_token(*dx, row, t)[c] += slow_token(*dy, row, 0)[c] / count;
                else slow_token(r->y, row, 0)[c] += slow_token(r->x, row, t)[c] / count;
            }
    }
}

/* Llama 3's three cases, as its code has them. */
static double slow_frequency(const Rotary *rotary, int i)
{
    double f = pow(rotary->theta, -2.0 * i / rotary->dim), wave = 2.0 * M_PI / f, smooth;

    if (!(rotary->factor > 1.0) || wave < rotary->original / rotary->high) return f;
    if (wave > rotary->original / rotary->low) return f / rotary->factor;
    smooth = (rotary->original / wave - rotary->low) / (rotary->high - rotary->low);
    return (1.0 - smooth) * f / rotary->factor + smooth * f;
}

/* out [dim] = the head's x, normed and turned; back: from d, gradient of that, to dx and dw. */
static void slow_head(const Layer *l, const double *w, const double *x, int position, double *out,
                      const double *d, double *dx, double *dw)
{
    const Attention *a = &l->attention;
    int              n = a->head_dim, half = a->rotary.dim / 2;
    double           square = 0.0, inverse, dot = 0.0, back[256];

    for (int i = 0; i < n; i++) square += x[i] * x[i] / n;
    inverse = 1.0 / sqrt(square + l->eps);
    for (int i = 0; out && i < n; i++) {
        double scaled[2];
        int    other = i < half ? i + half : i - half;

        scaled[0] = w ? x[i] * inverse * w[i] : x[i];
        if (i >= 2 * half) { out[i] = scaled[0]; continue; }
        scaled[1] = w ? x[other] * inverse * w[other] : x[other];
        double angle = position * slow_frequency(&a->rotary, i % half);
        out[i] = i < half ? scaled[0] * cos(angle) - scaled[1] * sin(angle)
                          : scaled[0] * cos(angle) + scaled[1] * sin(angle);
    }
    if (!d) return;
    for (int i = 0; i < n; i++) {
        int other = i < half ? i + half : i - half;

        if (i >= 2 * half) { back[i] = d[i]; continue; }
        double angle = position * slow_frequency(&a->rotary, i % half);
        back[i] = i < half ? d[i] * cos(angle) + d[other] * sin(angle)
                           : d[i] * cos(angle) - d[other] * sin(angle);
    }
    for (int i = 0; w && i < n; i++)
        dw[i] += back[i] * x[i] * inverse, back[i] *= w[i], dot += back[i] * x[i] * inverse / n;
    for (int i = 0; i < n; i++) dx[i] += w ? inverse * (back[i] - x[i] * inverse * dot) : back[i];
}

static bool slow_sees(const Attention *a, int query, int key, int length)
{
    return key < length && !(a->causal && key > query)
           && !(a->window > 0 && abs(query - key) >= a->window);
}

/* One head of one sequence. */
static void slow_attend(Slow *s, const Layer *l, SlowRecord *r, int64_t row, int head,
                        const Tensor *dy, const Tensor *dx)
{
    const Attention *a = &l->attention;
    int     n = a->head_dim, kv = head / (a->heads / a->kv_heads), tokens = l->in.height,
        length = slow_length(s, row, tokens);
    int     at_q = head * n, at_k = (a->heads + kv) * n, at_v = (a->heads + a->kv_heads + kv) * n;
    double *wq = slow_value(s, l->name, "q_norm"), *wk = slow_value(s, l->name, "k_norm"),
           scale = 1.0 / sqrt(n);
    double *dwq = dy ? slow_gradient(s, l->name, "q_norm") : NULL,
           *dwk = dy ? slow_gradient(s, l->name, "k_norm") : NULL;
    double *q = calloc((size_t)(4 * tokens * n), sizeof *q), *k = q + tokens * n,
           *dq = k + tokens * n, *dk = dq + tokens * n;
    double *p = calloc((size_t)(2 * tokens), sizeof *p), *dp = p + tokens;

    for (int t = 0; t < length; t++) {
        slow_head(l, wq, slow_token(r->x, row, t) + at_q, t, q + t * n, NULL, NULL, NULL);
        slow_head(l, wk, slow_token(r->x, row, t) + at_k, t, k + t * n, NULL, NULL, NULL);
    }
    for (int i = 0; i < length; i++) {
        double sum = 0.0, most = -INFINITY, mean = 0.0, *y = slow_token(r->y, row, i) + at_q;

        for (int j = 0; j < length; j++) {
            p[j] = 0.0;
            for (int c = 0; c < n; c++) p[j] += q[i * n + c] * k[j * n + c] * scale;
            if (slow_sees(a, i, j, length)) most = fmax(most, p[j]);
        }
        for (int j = 0; j < length; j++)
            sum += p[j] = slow_sees(a, i, j, length) ? exp(p[j] - most) : 0.0;
        for (int j = 0; j < length; j++) {
            const double *v = slow_token(r->x, row, j) + at_v;

            p[j] /= sum;
            dp[j] = 0.0;
            for (int c = 0; c < n; c++) {
                if (!dy) y[c] += p[j] * v[c];
                else dp[j] += slow_token(*dy, row, i)[at_q + c] * v[c];
            }
            mean += p[j] * dp[j];
        }
        for (int j = 0; dy && j < length; j++)
            for (int c = 0; c < n; c++) {
                double ds = p[j] * (dp[j] - mean) * scale;

                slow_token(*dx, row, j)[at_v + c] += p[j] * slow_token(*dy, row, i)[at_q + c];
                dq[i * n + c] += ds * k[j * n + c];
                dk[j * n + c] += ds * q[i * n + c];
            }
    }
    for (int t = 0; dy && t < length; t++) {
        slow_head(l, wq, slow_token(r->x, row, t) + at_q, t, NULL, dq + t * n,
                  slow_token(*dx, row, t) + at_q, dwq);
        slow_head(l, wk, slow_token(r->x, row, t) + at_k, t, NULL, dk + t * n,
                  slow_token(*dx, row, t) + at_k, dwk);
    }
    free(q), free(p);
}

void slow_sequence(Slow *s, const Layer *l, SlowRecord *r, const Tensor *dy, const Tensor *dx)
{
    switch (l->kind) {
    case LAYER_EMBEDDING: slow_embedding(s, l, r, dy); break;
    case LAYER_TOKENS: slow_tokens(s, l, r, dy, dx); break;
    case LAYER_POOL: slow_sequence_pool(s, l, r, dy, dx); break;
    case LAYER_LAYERNORM: case LAYER_RMSNORM: slow_layernorm(s, l, r, dy, dx); break;
    case LAYER_GATED: slow_gated(l, r, dy, dx); break;
    case LAYER_ATTENTION:
        for (int64_t row = 0; row < r->x.rows; row++)
            for (int head = 0; head < l->attention.heads; head++)
                slow_attend(s, l, r, row, head, dy, dx);
        break;
    default:                             /* gelu, silu, tanh */
        for (int64_t i = 0; i < slow_count(r->x); i++) {
            if (!dy) r->y.v[i] = slow_function(l->function, r->x.v[i]);
            else dx->v[i] = dy->v[i] * slow_slope(l->function, r->x.v[i]);
        }
    }
}
