/* Runs that are too long to simulate: bounds, and an estimate between them.
 *
 * A device goes on at the pace of the latest half of the steps that were simulated of its phase,
 * and in later phases is as much slower than their bound from below. What it computes is known
 * exactly; what it waits for is shared out as it was so far. */
#include <math.h>
#include <stdlib.h>

#include "base/minmax.h"
#include "sim/bounds.h"

void estimate_mark(SimDevice *dev, int64_t t)
{
    int64_t step = dev->step + 1;

    if (step & (step - 1)) return;
    dev->half_step = dev->mark_step;
    dev->half_ns = dev->mark_ns;
    dev->mark_step = step;
    dev->mark_ns = t;
}

static bool is_computed(int share)
{
    return share == SHARE_TEACHER || share == SHARE_STUDENT || share == SHARE_UPDATE;
}

/* Adds steps of what the phase computes to share[]; its first count instructions only. */
static void add_work(double *share, const Code *code, const Phase *phase, const Cost *cost,
                     int count, double steps)
{
    for (int i = phase->first; i < phase->first + count; i++)
        if (op_computes(code->code[i].op))
            share[compute_share(code->code[i].op)] +=
                steps * (double)(cost[i].ns - cost[i].wait_ns);
}

/* How a device will end. */
typedef struct {
    double end_ns, slower;       /* than its phases' bounds from below */
    double share[SHARE_COUNT];
} Outlook;

/* The rest of the phase that the device is in. */
static void end_phase(Outlook *x, const Sim *sim, const SimDevice *dev)
{
    const Phase *phase = phase_of(dev);
    double       least = (double)bounds_phase_least(sim, dev->code, phase, dev->cost);
    double       pace = least / (double)phase->steps, left = (double)(phase->steps - dev->step);

    if (dev->step > dev->half_step)
        pace = fmax(pace, (double)(dev->since_ns - dev->half_ns)
                              / (double)(dev->step - dev->half_step));
    x->slower = least > 0 ? pace * (double)phase->steps / least : 1;
    x->end_ns = fmax(x->end_ns, (double)dev->since_ns + left * pace);
    add_work(x->share, dev->code, phase, dev->cost, phase->count, left);
    add_work(x->share, dev->code, phase, dev->cost, dev->index, -1);
}

static void add_phase(Outlook *x, const Sim *sim, const Code *code, const Phase *phase,
                      const Cost *cost)
{
    x->end_ns += x->slower * (double)bounds_phase_least(sim, code, phase, cost);
    add_work(x->share, code, phase, cost, phase->count, (double)phase->steps);
}

static Outlook outlook_of(const Sim *sim, int d)
{
    const SimDevice *dev = &sim->devices[d];
    const Code      *own = &sim->program->devices[d];
    Outlook          x = {.end_ns = (double)dev->since_ns, .slower = 1};

    for (int k = 0; k < SHARE_COUNT; k++) x.share[k] = (double)dev->share_ns[k];
    if (dev->state == STATE_DONE) return x;
    end_phase(&x, sim, dev);
    for (int f = dev->phase + 1; dev->code == own && f < own->phase_count; f++)
        add_phase(&x, sim, own, &own->phases[f], sim->costs.device[d]);
    return x;
}

/* Phases of the queue that nobody has begun go to whoever is free first. */
static void take_queue(Outlook *x, const Sim *sim)
{
    const Program *p = sim->program;

    for (int f = sim->next_queued; f < p->queue.phase_count; f++) {
        int first = 0;
        for (int d = 1; d < p->device_count; d++) if (x[d].end_ns < x[first].end_ns) first = d;
        add_phase(&x[first], sim, &p->queue, &p->queue.phases[f], sim->costs.queue[first]);
    }
}

/* The device at its end, at end_ns: what it does not compute as it was so far. */
static void end_device(SimDevice *dev, const Outlook *x, int64_t end_ns)
{
    int64_t left = end_ns, waited = 0, rest;

    for (int k = 0; k < SHARE_COUNT; k++)
        if (is_computed(k)) {
            dev->share_ns[k] = smaller(llround(fmax(x->share[k], 0)), left);
            left -= dev->share_ns[k];
        } else waited += dev->share_ns[k];
    rest = left;
    for (int k = 0; k < SHARE_COUNT; k++) {
        if (is_computed(k)) continue;
        double part = waited > 0 ? (double)dev->share_ns[k] / (double)waited : 0;
        dev->share_ns[k] = smaller((int64_t)(part * (double)left), rest);
        rest -= dev->share_ns[k];
    }
    dev->share_ns[SHARE_WAIT] += rest;
    dev->since_ns = end_ns;
}

int estimate_run(Sim *sim)
{
    int      n = sim->program->device_count;
    Outlook *x;
    double   last = 0;

    if (bounds_find(sim, &sim->least_ns, &sim->most_ns) != 0) return -1;
    if (sim->least_ns >= TIME_LIMIT_NS) return sim_too_long(sim);
    x = calloc((size_t)n, sizeof *x);
    if (!x) return error_no_memory(sim->err);
    for (int d = 0; d < n; d++) if (sim->twin[d] == d) x[d] = outlook_of(sim, d);
    take_queue(x, sim);
    for (int d = 0; d < n; d++) last = fmax(last, x[d].end_ns);
    /* all by as much, where that is not between the bounds */
    double within = fmin(fmax(last, (double)sim->least_ns), (double)sim->most_ns);
    for (int d = 0; d < n; d++) {
        SimDevice *dev = &sim->devices[d];
        int64_t    end_ns = llround(last > 0 ? x[d].end_ns * (within / last) : 0);
        if (sim->twin[d] != d || dev->state == STATE_DONE) continue;
        if (x[d].end_ns >= last) end_ns = larger(end_ns, sim->least_ns);
        end_device(dev, &x[d], smaller(end_ns, sim->most_ns));
    }
    free(x);
    return 0;
}
