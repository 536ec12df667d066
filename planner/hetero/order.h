/* The order in which devices stand along the chain of stages: searched for, as the trace
 * lists them, or one that the user wants. Matters where devices are of several kinds or
 * on several nodes. */
#ifndef PLANNER_HETERO_ORDER_H
#define PLANNER_HETERO_ORDER_H

#include "base/text.h"
#include "planner/hetero/group_cost.h"
#include "planner/stages/partition.h"

typedef enum { ORDER_SEARCHED, ORDER_GIVEN, ORDER_LISTED } OrderKind;

typedef struct {
    OrderKind  kind;
    const int *devices;          /* [count], ORDER_LISTED only: each device once */
    int        count;
} Order;

/* "search", "given" or "2,3,0,1"; *devices is what out borrows, yours: free() it. */
int order_parse(Order *out, int **devices, const char *text, Error *err);

/* Whether an order lists the scenario's devices, each once. */
int order_check(const Order *order, const Scenario *scenario, Error *err);

/* partition_search() with stages on consecutive devices of an order, [devices] of the scenario, and
 * with the shares of group_cost(): exact for that order. partitions_free() *out. */
int ordered_search(Partition **out, int *count, GroupCosts *costs, const int *order, int max_width,
                   int wanted, Error *err);

/* About how many stages a search looks at. */
double ordered_work(const GroupCosts *costs, int max_width);

/* ---- one order after another ---- */

/* Devices that are interchangeable: of a class, on a node. Orders that differ in nothing
 * else are the same. */
typedef struct {
    double total;                /* different orders */
    bool   every;                /* all of them are tried; otherwise those in which
                                  * interchangeable devices stand together */
    int    devices, types;
    int   *type_of;              /* [devices] */
    int   *sequence;             /* [devices], or [types]: which type comes next */
    int    length;
} Orders;

/* At most most orders. orders_free() out. */
int  orders_build(Orders *out, const GroupCosts *costs, int most, Error *err);
void orders_free(Orders *orders);

/* The order that orders is at, [devices]. */
void orders_get(const Orders *orders, int *order);

/* On to the next; false: that was the last. */
bool orders_next(Orders *orders);

#endif
