/* The schedules, a row each: what planner, plots, tools and library need to know of one. Adding a
 * schedule is adding its builder, its row here, and its search to the planner's table
 * (planner/compare_rows.c). */
#ifndef SCHEDULE_REGISTRY_H
#define SCHEDULE_REGISTRY_H

#include "schedule/program.h"

typedef int ScheduleBuild(Program *out, const Plan *plan, Error *err);

typedef struct {
    const char    *name, *full_name, *summary;   /* "ahd", "automatic hybrid distribution", one line
                                                  * for people */
    ScheduleBuild *build;
    bool phases;             /* stages are worked on one after another, each with the teacher from
                              * the input up to it. Else it relays: they stand along the chain, and
                              * the teacher sees each row once */
    bool lists;              /* each device has tasks of its own */
    bool whole;              /* every stage is on all devices */
    bool barrier;            /* all wait for all before they update */
    bool groups;             /* the planner chooses groups of devices */
    bool general;            /* every plan that relays, students with their teachers, is one of its
                              * plans too, or slower than one */
    bool apart;              /* students are tasks apart from the stages */
    bool partitioned;        /* its stages come of the partition search */
    bool stores;             /* boundaries are stored, for several epochs; the planner needs
                              * tiers */
    bool usual;              /* compared when nothing else is asked for */
    int  colour;             /* 0xRRGGBB, of plots */
} ScheduleRow;

/* Never NULL; static. */
const ScheduleRow *schedule_row(Schedule schedule);

/* Whether it relays, students with their teachers: stages along the chain, all at once. */
bool schedule_relays(const ScheduleRow *row);

/* Bits (1u << SCHEDULE_x) of the rows that the partition search is for. */
unsigned schedules_partitioned(void);

/* Of the rows that schedule_relays(); of those of them that are general; of the rows whose search
 * begins with the best plan of another. */
unsigned schedules_relaying(void);
unsigned schedules_general(void);
unsigned schedules_derived(void);

#endif
