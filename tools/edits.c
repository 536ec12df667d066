#include "tools/edits.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_VALUES = 10000 };

/* "PATH=REST"; the path is kept. */
static int split(CommandEdits *e, const char *argument, const char *option, char **path,
                 const char **rest, Error *err)
{
    if (whatif_split(path, rest, argument, option, err) != 0) return -1;
    e->paths[e->path_count++] = *path;
    return 0;
}

/* Behind the last "=", as a block's name may hold a comma. */
static bool is_list(const char *argument)
{
    const char *equals = strrchr(argument, '=');

    return equals && strchr(equals, ',');
}

static int add_edit(CommandEdits *e, const char *argument, EditKind kind, const char *option,
                    Error *err)
{
    char       *path;
    const char *rest;
    double      value;

    if (split(e, argument, option, &path, &rest, err) != 0) return -1;
    if (is_list(argument))
        return error_set(
            err, "--%s %s: \"%.40s\" is a list, expected one %s; pipebd-sim --%s sweeps lists",
            option, path, rest, kind == EDIT_SCALE ? "factor" : "value",
            kind == EDIT_SCALE ? "scale" : "vary");
    if (whatif_number(&value, rest, strlen(rest), option, err) != 0) return -1;
    e->edits[e->edit_count++] = (WhatIf){kind, path, value};
    return 0;
}

int edits_add(CommandEdits *e, const OptionList *list, EditKind kind, const char *option,
              Error *err)
{
    for (int i = 0; i < list->count; i++)
        if (add_edit(e, list->values[i], kind, option, err) != 0) return -1;
    return 0;
}

/* "1,2,4": each value once. */
static int add_values(Axis *axis, const char *list, const char *option, Error *err)
{
    size_t room = 1;

    for (const char *c = list; *c; c++) room += *c == ',';
    if (room > MAX_VALUES)
        return error_set(err, "--%s %s: %zu values, expected at most %d", option, axis->path, room,
                         MAX_VALUES);
    axis->values = calloc(room, sizeof *axis->values);
    if (!axis->values) return error_no_memory(err);
    for (const char *at = list;; at++) {
        size_t length = strcspn(at, ",");
        double value;
        if (whatif_number(&value, at, length, option, err) != 0) return -1;
        for (int i = 0; i < axis->count; i++)
            if (axis->values[i] == value)
                return error_set(err, "--%s %s: %g twice, expected each value once", option,
                                 axis->path, value);
        axis->values[axis->count++] = value;
        at += length;
        if (!*at) return 0;
    }
}

static int add_axis(CommandEdits *e, const char *argument, EditKind kind, const char *option,
                    Error *err)
{
    char       *path;
    const char *rest;

    if (split(e, argument, option, &path, &rest, err) != 0) return -1;
    for (int a = 0; a < e->axis_count; a++)
        if (e->axes[a].kind == kind && strcmp(e->axes[a].path, path) == 0)
            return error_set(err, "--%s %s: given twice, expected all its values in one", option,
                             path);
    e->axes[e->axis_count] = (Axis){.path = path, .kind = kind};
    return add_values(&e->axes[e->axis_count++], rest, option, err);
}

int edits_add_axes(CommandEdits *e, const OptionList *list, EditKind kind, const char *option,
                   Error *err)
{
    for (int i = 0; i < list->count; i++)
        if (add_axis(e, list->values[i], kind, option, err) != 0) return -1;
    return 0;
}

bool edits_has_lists(const OptionList *scales)
{
    for (int i = 0; i < scales->count; i++)
        if (is_list(scales->values[i])) return true;
    return false;
}

int edits_add_scales(CommandEdits *e, const OptionList *list, Error *err)
{
    for (int i = 0; i < list->count; i++) {
        const char *argument = list->values[i];
        if ((is_list(argument) ? add_axis(e, argument, EDIT_SCALE, "scale", err)
                               : add_edit(e, argument, EDIT_SCALE, "scale", err))
            != 0)
            return -1;
    }
    return 0;
}

int edits_check_replaced(const Option *table, const OptionList *list, const char *by, Error *err)
{
    static const struct { const char *option, *path;
    } same[] = {
        {"devices", "devices"},         {"batch", "batch"},         {"steps", "steps"},
        {"queue-depth", "queue_depth"}, {"memory", "memory_bytes"},
    };

    for (int i = 0; i < list->count; i++)
        for (size_t k = 0; k < sizeof same / sizeof *same; k++) {
            size_t length = strlen(same[k].path);
            if (strncmp(list->values[i], same[k].path, length) == 0
                && list->values[i][length] == '=' && option_given(table, same[k].option))
                return error_set(err, "--%s: no effect with --%s %s", same[k].option, by,
                                 same[k].path);
        }
    return 0;
}

void edits_free(CommandEdits *e)
{
    for (int i = 0; i < e->path_count; i++) free(e->paths[i]);
    for (int i = 0; i < e->axis_count; i++) free(e->axes[i].values);
}
