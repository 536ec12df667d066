/* Parts of a program that stores (schedule/program_parts.h), in the simulator. Where the trace has
 * part_us, a phase waits until those of earlier parts have ended everywhere, and then so long; the
 * networks that it is the first to make on its machine are made before it begins; those of a
 * device's first phase, in the first part, before the run.
 *
 * Invariant: phases_left[p] counts the phases of part p that have not ended; with part_us, phases
 * of part p + 1 begin when it is 0. */
#include <stdlib.h>

#include "schedule/program_parts.h"
#include "sim/engine.h"

/* Numbers of rows that networks of a block were made for on a machine; of more, the latest are
 * remembered. */
enum { ROWS_KNOWN = 4 };
typedef struct { int64_t rows[ROWS_KNOWN]; int next; } KnownRows;

/* Where it is known what networks there are: of a machine, a block, teacher or student. */
static KnownRows *known_of(const Sim *sim, KnownRows *known, int d, const Instruction *in)
{
    int machine = scenario_node(sim->scenario, d), block = in->block;

    return &known[2 * (machine * sim->program->block_count + block) + (in->op == OP_FORWARD)];
}

static bool makes_network(const Instruction *in)
{
    return in->op == OP_TEACHER || in->op == OP_FORWARD;
}

/* Networks of the phase that are not known yet. */
static int64_t count_new(const Sim *sim, KnownRows *known, int d, const Phase *phase)
{
    int64_t count = 0;

    for (int at = phase->first; at < phase->first + phase->count; at++) {
        const Instruction *in = &sim->program->devices[d].code[at];
        bool               found = !makes_network(in);
        for (int i = 0; i < ROWS_KNOWN && !found; i++)
            found = known_of(sim, known, d, in)->rows[i] == in->rows;
        count += !found;
    }
    return count;
}

static void learn(const Sim *sim, KnownRows *known, int d, const Phase *phase)
{
    for (int at = phase->first; at < phase->first + phase->count; at++) {
        const Instruction *in = &sim->program->devices[d].code[at];
        if (!makes_network(in)) continue;
        KnownRows *k = known_of(sim, known, d, in);
        bool       found = false;
        for (int i = 0; i < ROWS_KNOWN && !found; i++) found = k->rows[i] == in->rows;
        if (found) continue;
        k->rows[k->next] = in->rows;
        k->next = (k->next + 1) % ROWS_KNOWN;
    }
}

/* Setup of the phases of a number: devices make the same networks at the same time. next:
 * [devices] phase to come, moved behind them. */
static void set_up_number(Sim *sim, KnownRows *known, int number, int *next)
{
    const Program *p = sim->program;

    for (int d = 0; d < p->device_count; d++) {
        if (next[d] == p->devices[d].phase_count) continue;
        const Phase *phase = &p->devices[d].phases[next[d]];
        if (phase->number != number) continue;
        if (next[d] > 0 || sim->storage.part[number] > 0)
            sim->storage.setup_ns[d][next[d]] =
                count_new(sim, known, d, phase) * sim->scenario->trace->network_ns;
    }
    for (int d = 0; d < p->device_count; d++) {
        if (next[d] == p->devices[d].phase_count) continue;
        const Phase *phase = &p->devices[d].phases[next[d]];
        if (phase->number != number) continue;
        learn(sim, known, d, phase);
        sim->storage.phases_left[sim->storage.part[number]]++;
        next[d]++;
    }
}

static int set_up_all(Sim *sim)
{
    const Program *p = sim->program;
    size_t         places = 2 * (size_t)scenario_nodes(sim->scenario) * (size_t)p->block_count;
    KnownRows     *known = calloc(places, sizeof *known);
    int           *next = calloc((size_t)p->device_count, sizeof *next);
    int            rc = known && next ? 0 : error_no_memory(sim->err);

    for (int d = 0; rc == 0 && d < p->device_count; d++) {
        sim->storage.setup_ns[d] =
            calloc((size_t)p->devices[d].phase_count + 1, sizeof **sim->storage.setup_ns);
        if (!sim->storage.setup_ns[d]) rc = error_no_memory(sim->err);
    }
    for (int n = 0; rc == 0 && n < program_numbers(p); n++) set_up_number(sim, known, n, next);
    free(known);
    free(next);
    return rc;
}

int storage_parts_new(Sim *sim)
{
    Storage     *storage = &sim->storage;
    ProgramParts parts;
    int          rc = program_parts_find(&parts, sim->program, sim->err);
    size_t       numbers = (size_t)program_numbers(sim->program);

    if (rc == 0) {
        storage->part = calloc(numbers + 1, sizeof *storage->part);
        storage->phases_left = calloc((size_t)parts.count + 1, sizeof *storage->phases_left);
        storage->part_end_ns = calloc((size_t)parts.count + 1, sizeof *storage->part_end_ns);
        storage->setup_ns =
            calloc((size_t)sim->program->device_count, sizeof *storage->setup_ns);
        if (!storage->part || !storage->phases_left || !storage->part_end_ns || !storage->setup_ns)
            rc = error_no_memory(sim->err);
    }
    for (int i = 0; rc == 0 && i < parts.count; i++)
        for (int n = parts.part[i].first; n <= parts.part[i].last; n++) storage->part[n] = i;
    program_parts_free(&parts);
    return rc == 0 ? set_up_all(sim) : -1;
}

void storage_parts_free(Sim *sim)
{
    Storage *storage = &sim->storage;

    for (int d = 0; storage->setup_ns && d < sim->program->device_count; d++)
        free(storage->setup_ns[d]);
    free(storage->setup_ns);
    free(storage->part);
    free(storage->phases_left);
    free(storage->part_end_ns);
}

bool storage_part_begins(const Sim *sim, const Phase *phase, int64_t *ready)
{
    int part = sim->storage.part[phase->number];

    if (part == 0 || sim->scenario->trace->part_ns == 0) return true;
    if (sim->storage.phases_left[part - 1] > 0) return false;
    int64_t begins = sim->storage.part_end_ns[part - 1] + sim->scenario->trace->part_ns;
    if (begins > *ready) *ready = begins;
    return true;
}

bool storage_part_ends(Sim *sim, const Phase *phase, int64_t t)
{
    int part = sim->storage.part[phase->number];

    if (t > sim->storage.part_end_ns[part]) sim->storage.part_end_ns[part] = t;
    return --sim->storage.phases_left[part] == 0;
}
