/* The plan: who trains which blocks with what share of the batch.
 *
 * Every schedule is a list of stages, a contiguous range of blocks on some devices:
 *   dp                a stage a block, each on all devices, one after another;
 *   ls                a stage a task (one block, one device, the whole batch); a
 *                     device runs its tasks in the order of the list. With stealing
 *                     the stages name no devices: a free one takes the next;
 *   tr, dpu, ahd, ir  one stage after another along the chain, all at once, each on
 *                     devices of its own that split the batch by rows;
 *   split             the same, but the stages run the teacher only, and every student
 *                     is a task on any devices, which split the batch by rows;
 *   sequential        a stage a block, each on all devices, one after another, as dp; but a
 *                     stage trains for all epochs before the next begins, and boundaries are stored
 *                     (stored), so that the teacher need not start from the input;
 *   store             the first epoch as ahd, with boundaries stored; in those after it every
 *                     device works on later in order, stages in any order on any devices,
 *                     which fetch what they need and compute the rest. Or turns: one stage
 *                     after another as sequential, each of any blocks on any devices.
 *
 * A boundary is made in the first epoch by the stage of the block before it (boundary 0 by the
 * first), which stores it. What is not stored a later phase computes from the nearest stored
 * boundary below, or from the input.
 *
 * A block may have several students, numbered from 0. All schedules but split train
 * them together, where their block is. */
#ifndef SCHEDULE_PLAN_H
#define SCHEDULE_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/text.h"

typedef enum {
    SCHEDULE_DP, SCHEDULE_LS, SCHEDULE_TR, SCHEDULE_DPU, SCHEDULE_IR, SCHEDULE_AHD,
    SCHEDULE_SPLIT, SCHEDULE_SEQUENTIAL, SCHEDULE_STORE, SCHEDULE_COUNT
} Schedule;

enum { PLAN_MAX_DEVICES = 4096 };

typedef struct {
    int      first, last;    /* blocks, counted from 0, both included */
    int      width;          /* devices; 0 for a task that any device may steal */
    int     *devices;        /* [width], in the order of their rows */
    int64_t *rows;           /* [width], at least 1 each; they sum to the batch */
    int      student;        /* of a task: trains this student of block first = last */
} Stage;

typedef struct {
    Arena       arena;       /* owns the rest */
    Schedule    schedule;
    bool        stealing;    /* ls only */
    int         device_count, block_count;
    int64_t     batch;
    int         stage_count;
    Stage      *stages;
    int         task_count;  /* split only: by block, then student */
    Stage      *tasks;
    int64_t     epochs;      /* that it is for; 1 but for sequential and store */
    bool        turns;       /* sequential, and store where it has no later */
    int        *stored;      /* sequential, store: [block_count + 1] the tier of a boundary, -1: not
                              * stored; else NULL */
    int         home;        /* the tier of blocks that are on no device; -1: all are on one */
    int         later_count; /* store without turns, and several epochs */
    Stage      *later;
    int        *students;    /* [block_count] students of a block; NULL: one each */
    const char *trace_name;  /* what it was made for, "" when unknown */
    uint64_t    trace_hash;
    int64_t     bottleneck_ns;           /* predicted; 0 when not known */
    int64_t     epoch_ns, step_ns;
} Plan;

/* What else there is to know of one: schedule/registry.h. */
const char *schedule_name(Schedule schedule);              /* "ahd" */
const char *schedule_summary(Schedule schedule);           /* one line for people */
bool        schedule_find(const char *name, Schedule *out);

/* Compared when nothing else is asked for, as bits (1u << SCHEDULE_x). */
unsigned    schedules_usual(void);

/* "dp,ahd" as bits (1u << SCHEDULE_x); at least one. */
int         schedule_list(unsigned *out, const char *list, Error *err);

/* A plan with room for stage_count empty stages; *out is yours: plan_free() it. */
int plan_new(Plan **out, Schedule schedule, int block_count, int device_count, int64_t batch,
             int stage_count, Error *err);

/* Sets a stage to width consecutive devices from first_device on, with shares of the
 * batch that differ by at most one row. width 0: to be stolen. */
int plan_set_stage(Plan *plan, int stage, int first_block, int last_block, int first_device,
                   int width, Error *err);

/* How many students each block has, [block_count]; NULL: one each. */
int  plan_set_students(Plan *plan, const int *students, Error *err);
int  plan_students(const Plan *plan, int block);

/* Room for the tasks of a split plan: one a student, in order, none with devices yet. */
int  plan_add_tasks(Plan *plan, Error *err);

/* Room for which boundaries are stored (none yet), and for later_count stages of later epochs. */
int  plan_set_store(Plan *plan, int64_t epochs, bool turns, int later_count, Error *err);

/* Puts a stage or a task on any devices with any rows, [width] each, copied. */
int plan_place(Plan *plan, Stage *stage, const int *devices, const int64_t *rows, int width,
               Error *err);

/* Puts the devices of every stage and task in ascending order, with the rows of each. */
void plan_sort_devices(Plan *plan);

/* A copy with an arena of its own; *out is yours: plan_free() it. */
int plan_copy(Plan **out, const Plan *plan, Error *err);

/* The rules at the head of this file, whoever wrote the plan. */
int plan_check(const Plan *plan, Error *err);

/* JSON, "format": "pipebd-plan" (docs/formats.md). A plan that is read has passed plan_check(), and
 * is yours: plan_free() it. Errors carry path:line:column; name stands for the path in messages. */
void plan_text(const Plan *plan, Text *out);
int  plan_write(const Plan *plan, const char *path, Error *err);
int  plan_read(Plan **out, const char *path, Error *err);
int  plan_parse(Plan **out, const char *name, const char *text, size_t length, Error *err);

/* The stages, and the tasks of a split plan, as JSON arrays, for reports that contain
 * a plan. */
void plan_stages_text(const Plan *plan, const char *indent, Text *out);
void plan_tasks_text(const Plan *plan, const char *indent, Text *out);

/* Members of an object, of a plan that stores: "epochs", "stored" and so on. */
void plan_store_text(const Plan *plan, const char *indent, Text *out);

void plan_free(Plan *plan);

#endif
