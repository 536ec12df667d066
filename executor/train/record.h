/* What a device did and when, in memory made before a phase begins: times of every phase,
 * and spans of the steps that are asked for. One recorder a device, used by its thread. */
#ifndef EXECUTOR_TRAIN_RECORD_H
#define EXECUTOR_TRAIN_RECORD_H

#include "executor/train/execution.h"

typedef struct {
    int         device;
    int64_t     first, steps;            /* whose spans are kept */
    PhaseTimes *phases;
    int         phase_count, phase_capacity;
    Span       *spans;
    int64_t     span_count, span_capacity;
} Recorder;

/* A phase of code_count instructions begins at start_ns. */
int record_phase(Recorder *recorder, const PhaseTimes *phase, int code_count, int64_t start_ns,
                 Error *err);

/* An instruction began at began_ns, its wait ended at ready_ns and its work at end_ns. */
void record_times(Recorder *recorder, const Instruction *in, int64_t began_ns, int64_t ready_ns,
                  int64_t end_ns);

/* So much more was waited. */
void record_wait(Recorder *recorder, Op op, int64_t ns);

/* A span, when step is one of those that are kept and it has a length. */
void record_span(Recorder *recorder, int device, Lane lane, const Instruction *in, int64_t step,
                 int64_t start_ns, int64_t end_ns);

/* A step of the phase is over. */
void record_step(Recorder *recorder, int64_t end_ns);

/* Of the whole phase. */
void record_cpu(Recorder *recorder, int64_t cpu_ns);

/* Moves what the recorders have to out, in order, relative to out->start_ns; they are then
 * empty. */
int  record_collect(ExecutionResult *out, Recorder *recorders, size_t count, Error *err);
void record_free(Recorder *recorder);

#endif
