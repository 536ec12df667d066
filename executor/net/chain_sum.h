/* Sums over a group whose devices are in several processes, in the order of the devices:
 *
 *     rank a   device 0 + device 1 --> rank b   + device 2 --> rank c   + device 3 + device 4
 *              sum <------------------ sum <------------------ sum
 *
 * Addends are added in the order of the devices, as one process would, and every rank sends and
 * receives the values twice at most, however many devices it has. Values go in chunks, so that
 * links and ranks work at the same time. Chunks are added by whoever comes last, the device or
 * the world's thread: nobody waits in it, and sums overlap with the devices' work. */
#ifndef EXECUTOR_NET_CHAIN_SUM_H
#define EXECUTOR_NET_CHAIN_SUM_H

#include "executor/transport/barrier.h"
#include "executor/transport/transport.h"

typedef struct Chain Chain;

typedef enum { CHAIN_GRADIENTS, CHAIN_STATISTICS, CHAIN_KINDS } ChainKind;

/* Where the chain's messages are sent through. */
typedef struct {
    World      *world;
    WaitPolicy  *rules;
    bool        hurry;           /* a wait may keep a core busy */
    atomic_int *sending;         /* payloads that the world still reads */
    int64_t     number;          /* of the run */
} ChainRoute;

/* group: number and member devices of a program's, borrowed; blocks: no device begins more sums of
 * gradients before it finishes the first. */
int  chain_new(Chain **out, const ChainRoute *route, int group, const Group *members, int blocks,
               Error *err);
void chain_free(Chain *chain);

/* A device begins a sum; its kind's next. runs is copied, what they point to is used until
 * chain_finish(). Statistics: values [count] instead of runs. */
int  chain_begin(Chain *chain, int device, const GradientRun *runs, int run_count, double loss,
                 Error *err);
int  chain_begin_statistics(Chain *chain, int device, double *values, int count, Error *err);

/* Waits for the oldest of the kind that the device has not finished. */
int  chain_finish(Chain *chain, ChainKind kind, int device, double *loss, Error *err);

/* When the last sum that the device finished was in flight. */
void chain_in_flight(const Chain *chain, int device, int64_t *start_ns, int64_t *end_ns);

/* Wakes those that wait, to look whether they must leave (WaitPolicy.stopped). */
void chain_wake(Chain *chain);

/* Once WaitPolicy.stopped is set: on return nobody uses what devices brought any more. */
void chain_quiet(Chain *chain);

/* Messages of the transport with these kinds are the chain's of group Message.id. */
enum { CHAIN_ADD = 100, CHAIN_SUM };             /* on its way to the last rank; back */
void *chain_place(Chain *chain, const Message *message);
void  chain_arrived(Chain *chain, const Message *message);

#endif
