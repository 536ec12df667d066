/* Stage costs in constant time, for the partition search: everything that stage_cost()
 * looks up is looked up once, and kept as sums over the blocks before.
 *
 *     prefix[b] = sum of blocks 0..b-1      blocks first..last: prefix[last+1] - prefix[first]
 *
 * The values are stage_cost()'s to the nanosecond (tests hold them to that). A step of
 * a device in a stage, without messages, is
 *
 *     max(T + S + U(first..last-1), T + max over a of (S(first..a) + R(a..last))) + U(last)
 *
 * with T, S, R, U the sums of teacher, student, all-reduce, update; the inner maximum
 * is the all-reduces' lane: the one of block a cannot begin before its backward ends,
 * and is followed by those after it. With S and R as prefix sums it is
 *     R[last+1] - S[first] + max over a of (S[a+1] - R[a]),
 * a maximum over a range: at a = last when every backward is at least as long as the
 * all-reduce before it, otherwise from a table of powers of two. */
#ifndef PLANNER_STAGES_STAGE_TABLE_H
#define PLANNER_STAGES_STAGE_TABLE_H

#include "planner/stages/stage_cost.h"

typedef struct StageTable StageTable;

/* For widths 1..max_width, at most the batch. Borrows scenario for as long as out
 * lives. stage_table_free() it. Fails only without memory: a missing timing, or a
 * device with too little memory, makes the stages that need it impossible. */
int  stage_table_build(StageTable **out, const Scenario *scenario, CostKind kind, int max_width,
                       Error *err);
void stage_table_free(StageTable *table);

/* stage_cost() of the same arguments, STAGE_IMPOSSIBLE included. table: StageTable.
 * These three have the types that PartitionProblem asks for. */
int64_t stage_table_cost(void *table, int first, int last, int device, int width);

/* The same without messages, and without the update after the last all-reduce (the one
 * part that can shrink as a stage grows): never more than the cost, and never less for
 * a stage that contains this one, as every part of it is a sum or maximum over blocks.
 * Impossible when what grows of its memory (planner/stages/stage_memory.h) is too much. */
int64_t stage_table_floor(void *table, int first, int last, int device, int width);

/* What the message out of a stage costs: never more than the cost of a stage that ends
 * with block last. */
int64_t stage_table_end(void *table, int last, int device, int width);

/* Whether cost is the same wherever a stage stands: devices of one kind on one node. */
bool stage_table_uniform(const StageTable *table);

/* The widths worth trying when it is uniform, ascending; borrowed from table. Left out
 * is a width that leaves the slowest device as many rows as a narrower one, when every
 * part costs at least as much: the narrower stage then is as fast on fewer devices, and
 * needs as much memory, which goes by the rows. */
const int *stage_table_widths(const StageTable *table, int *count);

#endif
