/* --set, --scale and --vary of the command line, as the planner takes them. */
#ifndef TOOLS_EDITS_H
#define TOOLS_EDITS_H

#include "base/options.h"
#include "planner/whatif/sweep.h"

typedef struct {
    WhatIf edits[2 * OPTION_MAX_LIST];
    int    edit_count;
    Axis   axes[2 * OPTION_MAX_LIST];
    int    axis_count;
    char  *paths[3 * OPTION_MAX_LIST];
    int    path_count;
} CommandEdits;

/* "PATH=VALUE" of --set or --scale, in order. */
int edits_add(CommandEdits *edits, const OptionList *list, EditKind kind, const char *option,
              Error *err);

/* "PATH=V1,V2,...", each a value or a factor. */
int edits_add_axes(CommandEdits *edits, const OptionList *list, EditKind kind, const char *option,
                   Error *err);

/* Of --scale: one factor is an edit, several are an axis. */
int  edits_add_scales(CommandEdits *edits, const OptionList *list, Error *err);
bool edits_has_lists(const OptionList *scales);

/* Refuses an option of the cluster that --set or --vary (by) replaces. */
int  edits_check_replaced(const Option *table, const OptionList *list, const char *by, Error *err);

void edits_free(CommandEdits *edits);

#endif
