/* Changes to a split layout that take work from one device. */
#ifndef PLANNER_SPLIT_SPLIT_MOVES_H
#define PLANNER_SPLIT_SPLIT_MOVES_H

#include "planner/split/split_cost.h"

typedef enum {
    MOVE_PART,               /* rows of part to device */
    MOVE_SWAP,               /* part and other change devices */
    MOVE_TASK,               /* the task of part, whole, to the devices of stage, or to device */
    MOVE_UP, MOVE_DOWN,      /* the first block of stage to the stage before; the last after */
    MOVE_OUT, MOVE_IN        /* device out of the stage; into it */
} MoveKind;

typedef struct {
    MoveKind kind;
    int      part, other, device, stage;
    int64_t  rows;
} Move;

enum { MOVES_MAX = 200 };

/* Changes that may help device, to others that are less busy (busy_ns: [devices]); returns
 * how many. */
int moves_list(Move out[MOVES_MAX], SplitCost *cost, const Layout *layout,
               const int64_t *busy_ns, int device);

/* Makes the change; false, and layout is of no more use, when it cannot be made. */
bool move_make(Layout *layout, const Move *move);

#endif
