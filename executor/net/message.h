/* What processes of a run send each other. */
#ifndef EXECUTOR_NET_MESSAGE_H
#define EXECUTOR_NET_MESSAGE_H

#include <stdint.h>

/* Each port has one listener at a time, and its own kinds of messages. */
typedef enum {
    PORT_WORLD,              /* the world's own (executor/net/world.h) */
    PORT_RUN,                /* a run's: stopping, tasks, losses, states
                              * (executor/train/run_control.h) */
    PORT_TRANSPORT,          /* rows and sums (executor/transport/remote.c) */
    PORT_STORE,              /* stored rows of other machines (executor/train/row_exchange.h) */
    PORT_WATCH,              /* whether ranks are alive */
    PORT_COUNT
} Port;

typedef struct {
    int32_t port, kind, id;
    int32_t from;            /* rank; set by world_post() */
    int64_t number;          /* with a listener's own (world_listen()): others are not for it */
    int64_t value[4];
    double  real;
    int64_t sent_ns;         /* set by world_post(): the sender's clock */
    int64_t bytes;           /* of the payload */
} Message;

#endif
