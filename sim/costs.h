/* The cost of every instruction of a program, looked up once before the run. */
#ifndef SIM_COSTS_H
#define SIM_COSTS_H

#include "schedule/program.h"
#include "traces/scenario.h"

/* A request to a tier of a machine: a station. */
typedef struct {
    int      station;        /* tier * machines + machine; a shared tier's is that of machine 0 */
    bool     write;
    int64_t  link_ns;        /* rows that lie on another machine: the way from there */
    int64_t *ns;             /* by the numbers in flight that the tier's grid lists */
    bool     direct;         /* the device makes it itself, when it comes to it */
    int64_t  own_ns;         /* else: occupies the device */
} StorageRequest;

typedef struct {
    StorageRequest *requests;
    int             count, capacity;
    int           **first;   /* [device_count][code_count + 1] those of an instruction, of requests;
                              * NULL: none */
    int             machines, stations;
} StorageCosts;

typedef struct {
    Cost **device;           /* [device_count][code_count]; those of equal neighbours are the
                              * same */
    Cost **queue;            /* [device_count][queue.code_count], so too; NULL without a queue */
    int    device_count;
    StorageCosts storage;
} Costs;

/* load: [device_count] share of the time that the other devices of each compute, or NULL:
 * the scenario's for all. */
int  costs_build(Costs *out, const Program *program, const Scenario *scenario, const double *load,
                 Error *err);
void costs_free(Costs *costs);

/* What an instruction that transfers takes of its device's core; 0 of others, and where the trace
 * has it that other cores do that. */
int  transfer_core_ns(const Program *program, const Scenario *scenario, const Instruction *in,
                      int64_t *ns, Error *err);

/* Of the store's instructions: sim/storage_costs.c. */
int  storage_costs_build(StorageCosts *out, const Program *program, const Scenario *scenario,
                         Error *err);
void storage_costs_free(StorageCosts *costs, int device_count);

/* What ONLOAD of a block brings at the start of a device's phase, and what OFFLOAD takes back at
 * its end. */
typedef struct { int64_t weights, state; } BlockBytes;
BlockBytes onload_bytes(const Trace *trace, const Code *code, int phase, int block);
BlockBytes offload_bytes(const Trace *trace, const Code *code, int phase, int block);

/* Refuses a program that names a tier which the trace does not have. */
int  storage_check_tiers(const Program *program, const Trace *trace, Error *err);

/* Rows of a batch that STOREs of each boundary leave on each machine, [block_count +
 * 1][scenario_nodes()]; those of a shared tier on machine 0. The program has passed
 * storage_check_tiers(). */
void stored_rows(int64_t *rows, const Program *program, const Scenario *scenario);

#endif
