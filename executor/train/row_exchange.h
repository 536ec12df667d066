/* Stored rows of other machines, where each keeps those that its devices make (--store host):
 *
 *     owner, its first rank                      the rank whose device fetches
 *     a thread, stream after stream:             a ring of queue_depth places a stream
 *     rows of step n, packed  ---------------->  place n % depth
 *     sends n when n - depth is free  <--------  steps that are free, so far
 *
 * A stream is what one device fetches of one boundary, step after step, phase after phase. Which
 * rows that is follows from seed, step and who has which (store_machine()), so all ranks know it:
 * owners send ahead of time, and nobody asks. A place has a step's rows in the order of machines,
 * and of a machine in the order of rows; each owner's are one message.
 *
 * A full ring holds up its own stream only, so a device that waits for a row waits for an owner
 * that only reads memory. */
#ifndef EXECUTOR_TRAIN_ROW_EXCHANGE_H
#define EXECUTOR_TRAIN_ROW_EXCHANGE_H

#include "executor/data/loader.h"
#include "executor/train/execution.h"

typedef struct RowExchange RowExchange;

typedef struct {
    const Execution *x;                  /* with a store that is apart, settled; borrowed */
    int              queues;             /* streams are numbered below it */
    int64_t          number;             /* of messages: the same to all, and of this run alone */
    void           (*fail)(void *context, const Error *err);     /* rows could not be sent; from a
                                                                  * thread of its own */
    void            *context;
} RowExchangeOptions;

/* Every rank makes one, adds the same streams in the same order, and opens it; and starts it when
 * all have. *out is yours: row_exchange_free() it. */
int  row_exchange_new(RowExchange **out, const RowExchangeOptions *options, Error *err);
void row_exchange_free(RowExchange *exchange);

/* A phase of a device, not over yet, that fetches: steps from step on. */
int  row_exchange_add(RowExchange *exchange, int queue, int device, const Phase *phase,
                      const Instruction *fetch, int64_t step, int64_t steps, Error *err);

/* Rings and the thread; messages are taken from now on, and sent from row_exchange_start() on. */
int  row_exchange_open(RowExchange *exchange, Error *err);
void row_exchange_start(RowExchange *exchange);

/* A device begins to fetch in a phase that was added: before its first row. */
void row_exchange_begin(RowExchange *exchange, int queue, const Phase *phase);

/* Whether the row is another machine's, and then row_exchange_get() makes a copy of it, once it is
 * here. row_exchange_took() follows on each row of a step, whosever it is. Of a stream the steps
 * that are begun and not over are STORAGE_AHEAD at most, without a gap. */
bool row_exchange_has(const RowExchange *exchange, int queue, const RowWanted *row);
int  row_exchange_get(RowExchange *exchange, int queue, const RowWanted *row, float *out,
                      Error *err);
void row_exchange_took(RowExchange *exchange, int queue, const RowWanted *row);

/* Wakes everybody; calls fail from now on. From any thread. */
void row_exchange_stop(RowExchange *exchange);

/* Bytes of the places of a stream. */
int64_t row_exchange_bytes(const RowExchange *exchange, int queue);

#endif
