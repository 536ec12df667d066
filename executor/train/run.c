#include "executor/train/run.h"

#include "base/clock.h"
#include "executor/net/world.h"

bool run_has_phase(const Run *run, const Phase *phase)
{
    const ExecutionPart *part = &run->x->part;

    return !part->given || (phase->number >= part->first && phase->number <= part->last);
}

int64_t run_phase_first(const Run *run, const Code *code, const Phase *phase)
{
    int64_t first = -1;

    for (int i = 0; i < phase->count; i++) {
        const Instruction *in = &code->code[phase->first + i];
        if (in->op != OP_FORWARD) continue;
        int64_t from = run->from_step[program_student(run->x->program, in->block, in->student)];
        if (first < 0 || from < first) first = from;
    }
    return first;
}

int64_t run_first_step(const Run *run, const Code *code, const Phase *phase)
{
    int64_t first =
        run->linked ? run->first[phase->number] : run_phase_first(run, code, phase);

    return first >= 0 ? first : run->x->program->steps;
}

int64_t run_phase_end(const Run *run, const Phase *phase)
{
    return run->x->part.given && run->x->part.until > 0 ? run->x->part.until
                                                        : phase->first_step + phase->steps;
}

void start_barrier_open(StartBarrier *barrier, int expected, World *world)
{
    *barrier = (StartBarrier){.expected = expected, .world = world};
    pthread_mutex_init(&barrier->lock, NULL);
    pthread_cond_init(&barrier->changed, NULL);
}

/* With the lock: lets all go when all have come, of other processes too. A failure of theirs
 * opens the barrier, and is known otherwise. */
static void start_barrier_look(StartBarrier *barrier)
{
    if (barrier->arrived < barrier->expected) return;
    world_barrier(barrier->world, NULL);
    barrier->arrived = 0;
    barrier->number++;
    barrier->opened_ns = clock_ns();
    pthread_cond_broadcast(&barrier->changed);
}

void start_barrier_expect(StartBarrier *barrier, int expected)
{
    pthread_mutex_lock(&barrier->lock);
    barrier->expected = expected;
    start_barrier_look(barrier);
    pthread_mutex_unlock(&barrier->lock);
}

void start_barrier_pass(StartBarrier *barrier)
{
    pthread_mutex_lock(&barrier->lock);
    int number = barrier->number;
    barrier->arrived++;
    start_barrier_look(barrier);
    while (barrier->number == number) pthread_cond_wait(&barrier->changed, &barrier->lock);
    pthread_mutex_unlock(&barrier->lock);
}

void start_barrier_close(StartBarrier *barrier)
{
    pthread_mutex_destroy(&barrier->lock);
    pthread_cond_destroy(&barrier->changed);
}

void run_fail(Run *run, const Error *err)
{
    pthread_mutex_lock(&run->lock);
    if (!atomic_load(&run->failed)) run->error = *err;
    atomic_store(&run->failed, true);
    pthread_mutex_unlock(&run->lock);
    run->transport->ops->stop(run->transport);
    run_control_fail(run->control);
    loader_stop(run->loader);
    if (run->fetcher) loader_stop(run->fetcher);
    if (run->exchange) row_exchange_stop(run->exchange);
    world_fail(run->x->world, err);
}
