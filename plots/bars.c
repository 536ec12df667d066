/* Bars: speedup of comparisons; time and memory of simulations by device. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "plots/palette.h"
#include "plots/plot.h"

enum { MAX_BARS = 512, INK = 0x222222, FAINT = 0x888888 };

/* A bar's number above it, its name below. */
static double nice_top(double most)
{
    return most > 0 ? most * 1.1 : 1;
}

/* What a group of bars is of, below their names. */
static void group_name(Scene *scene, double x, const char *name, const char *more)
{
    scene_label(scene, x, 0, "center offset 0,-1.9", 12, INK, name);
    if (*more) scene_label(scene, x, 0, "center offset 0,-2.9", 12, INK, more);
}

/* ---- speedup --------------------------------------------------------------------- */

typedef struct {
    Scene  scene;
    double x, most;          /* where the next bar goes; highest bar */
    int    bars;
    char   over[16];         /* what speedups are over; "": several */
    int    groups;
} Bars;

/* dp may be impossible, or was not asked for. */
static int no_speedup(const JsonAt *speedup, const JsonAt *rows, Error *err)
{
    const char *name;

    for (size_t i = 0; i < json_count(rows); i++) {
        JsonAt row = json_element(rows, i), name_at = json_member(&row, "schedule");
        if (json_get_string(&name_at, &name, NULL) == 0 && strcmp(name, "dp") == 0)
            return json_fail(
                speedup, err,
                "dp is not possible here, so there is no speedup: expected a comparison with dp");
    }
    return json_fail(speedup, err,
                     "dp was not compared, so there is no speedup: expected a comparison with dp");
}

/* A bar with its value above; of a schedule that is impossible only its name. */
static int one_speedup(Bars *bars, const JsonAt *rows, const JsonAt *row, Error *err)
{
    JsonAt      name_at = json_member(row, "schedule"), why = json_member(row, "impossible");
    JsonAt      speedup = json_member(row, "speedup");
    const char *name;
    double      value;
    Schedule    schedule;
    char        text[32];

    if (json_get_string(&name_at, &name, err) != 0) return -1;
    if (!schedule_find(name, &schedule))
        return json_fail(
            &name_at, err,
            "not a schedule, expected dp, ls, tr, dpu, ir, ahd, split, sequential or store");
    scene_label(&bars->scene, bars->x, 0, "center offset 0,-0.8", 11, INK, name);
    if (json_has(&why)) {
        scene_label(&bars->scene, bars->x, 0, "left rotate by 90 offset 0,0.5", 9, FAINT,
                    "not possible");
    } else {
        if (json_has_null(&speedup)) return no_speedup(&speedup, rows, err);
        if (json_get_number(&speedup, 0, &value, err) != 0) return -1;
        snprintf(text, sizeof text, "%.2f", value);
        scene_box(&bars->scene, bars->x - 0.4, bars->x + 0.4, 0, value,
                  colour_of_schedule(schedule));
        scene_label(&bars->scene, bars->x, value, "center offset 0,0.6", 11, INK, text);
        if (value > bars->most) bars->most = value;
    }
    bars->x++;
    if (++bars->bars > MAX_BARS)
        return json_fail(row, err, "too many bars, expected at most %d", MAX_BARS);
    return 0;
}

/* A group of bars, a comparison's speedups, from bars->x on. Comparisons over different schedules
 * may stand side by side: bars->over is then empty, and each group says below what it is over. */
static int one_comparison(Bars *bars, const Json *doc, Error *err)
{
    JsonAt      root = json_root(doc), name_at = json_member(&root, "trace"),
                rows = json_member(&root, "schedules");
    JsonAt      over_at = json_member(&root, "speedup_over");
    const char *name, *over = "dp";
    double      first = bars->x;
    char        below[32] = "";

    if (json_check_format(doc, "pipebd-comparison", 1, err) != 0) return -1;
    if (json_has(&over_at) && !json_has_null(&over_at)
        && json_get_string(&over_at, &over, err) != 0)
        return -1;
    if (strcmp(over, "dp") != 0) snprintf(below, sizeof below, "over %.15s", over);
    if (bars->groups++ == 0) snprintf(bars->over, sizeof bars->over, "%.15s", over);
    else if (strcmp(bars->over, over) != 0) bars->over[0] = '\0';
    if (json_get_string(&name_at, &name, err) != 0 || json_get_array(&rows, 1, err) != 0) return -1;
    for (size_t i = 0; i < json_count(&rows); i++) {
        JsonAt row = json_element(&rows, i);
        if (json_get_object(&row, err) != 0 || one_speedup(bars, &rows, &row, err) != 0) return -1;
    }
    group_name(&bars->scene, (first + bars->x - 1) / 2, name, below);
    bars->x++;
    return 0;
}

/* Axes around the bars, and the end of the scene; frees what bars has. */
static int finish(Bars *bars, Plot *out, double top, Error *err)
{
    text_printf(&out->script,
                "set xrange [-0.8:%.9g]\nset yrange [0:%.9g]\nunset xtics\nset bmargin 4.5\n",
                bars->x - 1.2, top);
    return scene_end(&bars->scene, out, err);
}

static void bars_free(Bars *bars)
{
    text_free(&bars->scene.boxes);
    text_free(&bars->scene.thin);
    text_free(&bars->scene.labels);
    text_free(&bars->scene.keys);
}

static int width_of(const Bars *bars, int each, int rest)
{
    int width = rest + (int)(bars->x * each);

    return width < 480 ? 480 : width > 2400 ? 2400 : width;
}

int plot_speedup(Plot *out, const char *const *paths, int count, Error *err)
{
    Bars bars = {0};
    char title[64], subtitle[128], axis[48];

    for (int i = 0; i < count; i++) {
        Json *doc;
        if (json_doc_read(&doc, paths[i], err) != 0) { bars_free(&bars); return -1; }
        int rc = one_comparison(&bars, doc, err);
        json_doc_free(doc);
        if (rc != 0) { bars_free(&bars); return -1; }
    }
    const char *over = strcmp(bars.over, "dp") == 0 ? "DP"
                       : bars.over[0]               ? bars.over
                                                    : "what stands below";
    snprintf(title, sizeof title, "Speedup over %s", over);
    snprintf(subtitle, sizeof subtitle, "predicted epoch time of %s over that of each schedule",
             over);
    snprintf(axis, sizeof axis, "set ylabel 'times %s'\n", bars.over[0] ? over : "as fast");
    plot_begin(out, width_of(&bars, 46, 110), 380, title, subtitle);
    text_append(&out->script, axis);
    return finish(&bars, out, nice_top(bars.most), err);
}

/* ---- simulations by device -------------------------------------------------------- */

typedef struct {
    const char *names[SHARE_COUNT > (int)MEMORY_COUNT ? (int)SHARE_COUNT : (int)MEMORY_COUNT];
    int         colours[SHARE_COUNT];
    int         count;
    bool        memory;
    double      unit;        /* a part's value is its number over this */
    bool        seen[SHARE_COUNT];
    double      limit, least_limit;
} Stack;

/* Draws the parts that stand in object as NAME_us or NAME_bytes on top of each other. */
static int one_bar(Bars *bars, Stack *stack, const JsonAt *object, double whole, Error *err)
{
    double level = 0, number, values[SHARE_COUNT] = {0}, sum = 0;
    char   key[48], text[32];

    for (int i = 0; i < stack->count; i++) {
        snprintf(key, sizeof key, "%s_%s", stack->names[i], stack->memory ? "bytes" : "us");
        JsonAt at = json_member(object, key);
        /* of before there was such a part */
        if (stack->memory && i == MEMORY_PROCESS && !json_has(&at)) continue;
        /* of a schedule that stores nothing */
        if (!stack->memory && i == SHARE_STORAGE && !json_has(&at)) continue;
        if (json_get_number(&at, 0, &number, err) != 0) return -1;
        values[i] = whole > 0 ? 100 * number / whole : number / stack->unit;
        sum += values[i];
    }
    if (sum > bars->most) bars->most = sum;
    for (int i = 0; i < stack->count; i++) {
        if (values[i] <= 0) continue;
        scene_box(&bars->scene, bars->x - 0.44, bars->x + 0.44, level, level + values[i],
                  stack->colours[i]);
        if (whole > 0 && values[i] >= 4.5) {
            snprintf(text, sizeof text, "%.0f", values[i]);
            scene_label(&bars->scene, bars->x, level + values[i] / 2, "center", 9,
                        colour_of_text(stack->colours[i]), text);
        }
        if (stack->memory || values[i] > 0.05) stack->seen[i] = true;
        level += values[i];
    }
    return 0;
}

/* A device's bar: times as % of the epoch, or memory in stack->unit with a line at the device's
 * limit. Below it stands the device's number. */
static int one_device(Bars *bars, Stack *stack, const JsonAt *device, double epoch_us, Error *err)
{
    JsonAt  number_at = json_member(device, "device"), memory = json_member(device, "memory");
    JsonAt  limit = json_member(&memory, "limit_bytes");
    int64_t number, bytes;
    char    text[32];

    if (json_get_integer(&number_at, 0, 1 << 20, &number, err) != 0) return -1;
    if (stack->memory && json_get_object(&memory, err) != 0) return -1;
    if (one_bar(bars, stack, stack->memory ? &memory : device, stack->memory ? 0 : epoch_us, err)
        != 0)
        return -1;
    if (stack->memory && json_has(&limit) && !json_has_null(&limit)) {
        if (json_get_integer(&limit, 1, JSON_MAX_INTEGER, &bytes, err) != 0) return -1;
        double top = (double)bytes / stack->unit;
        if (stack->least_limit <= 0 || top < stack->least_limit) stack->least_limit = top;
        text_printf(&bars->scene.labels,
                    "set arrow from %.9g,%.9g to %.9g,%.9g nohead lc rgb '#D55E00' lw 2 front\n",
                    bars->x - 0.48, top, bars->x + 0.48, top);
    }
    snprintf(text, sizeof text, "%lld", (long long)number);
    scene_label(&bars->scene, bars->x, 0, "center offset 0,-0.8", 10, INK, text);
    bars->x++;
    return ++bars->bars > MAX_BARS
               ? json_fail(device, err, "too many devices, expected at most %d", MAX_BARS)
               : 0;
}

/* A group of bars, one a device, with the simulation's name and epoch below. */
static int one_simulation(Bars *bars, Stack *stack, const Json *doc, Error *err)
{
    JsonAt      root = json_root(doc), name_at = json_member(&root, "trace"),
                devices = json_member(&root, "devices");
    JsonAt schedule_at = json_member(&root, "schedule"), epoch_at = json_member(&root, "epoch_s");
    JsonAt      what_if = json_member(&root, "what_if");
    const char *name, *schedule;
    double      epoch, first = bars->x;
    char        more[80];

    if (json_check_format(doc, "pipebd-simulation", 1, err) != 0) return -1;
    if (json_get_string(&name_at, &name, err) != 0
        || json_get_string(&schedule_at, &schedule, err) != 0
        || json_get_number(&epoch_at, 0, &epoch, err) != 0 || json_get_array(&devices, 1, err) != 0)
        return -1;
    if (json_has(&what_if) && json_get_array(&what_if, 0, err) != 0) return -1;
    if (!(epoch > 0))
        return json_fail(&epoch_at, err, "%g is no epoch, expected more than 0 s", epoch);
    for (size_t i = 0; i < json_count(&devices); i++) {
        JsonAt device = json_element(&devices, i);
        if (json_get_object(&device, err) != 0
            || one_device(bars, stack, &device, epoch * 1e6, err) != 0)
            return -1;
    }
    snprintf(more, sizeof more, "%.12s%s, epoch %.4g s", schedule,
             json_has(&what_if) && json_count(&what_if) ? ", what if" : "", epoch);
    group_name(&bars->scene, (first + bars->x - 1) / 2, name, more);
    bars->x += 0.8;
    return 0;
}

static int read_simulations(Bars *bars, Stack *stack, const char *const *paths, int count,
                            Error *err)
{
    for (int i = 0; i < count; i++) {
        Json *doc;
        if (json_doc_read(&doc, paths[i], err) != 0) return -1;
        int rc = one_simulation(bars, stack, doc, err);
        json_doc_free(doc);
        if (rc != 0) return -1;
    }
    /* The legend from the top of the stack down. */
    for (int i = stack->count - 1; i >= 0; i--)
        if (stack->seen[i]) scene_key(&bars->scene, stack->colours[i], stack->names[i]);
    return 0;
}

int plot_breakdown(Plot *out, const char *const *paths, int count, Error *err)
{
    Bars  bars = {0};
    Stack stack = {.count = SHARE_COUNT, .unit = 1};

    for (int i = 0; i < SHARE_COUNT; i++) {
        stack.names[i] = share_name((TimeShare)i);
        stack.colours[i] = colour_of_share((TimeShare)i);
    }
    if (read_simulations(&bars, &stack, paths, count, err) != 0) { bars_free(&bars); return -1; }
    plot_begin(out, width_of(&bars, 44, 200), 420, "Where each device's time goes",
               "share of the simulated epoch, a bar a device");
    text_append(&out->script, "set ylabel '% of the epoch'\n");
    return finish(&bars, out, 100, err);
}

int plot_memory(Plot *out, const char *const *paths, int count, Error *err)
{
    Bars  bars = {0};
    Stack stack = {.count = MEMORY_COUNT, .memory = true, .unit = 1048576};
    char  subtitle[128];

    for (int i = 0; i < MEMORY_COUNT; i++) {
        stack.names[i] = memory_part_name((MemoryPart)i);
        stack.colours[i] = colour_of_memory((MemoryPart)i);
    }
    if (read_simulations(&bars, &stack, paths, count, err) != 0) { bars_free(&bars); return -1; }
    double top = nice_top(bars.most);
    bool   near = stack.least_limit > 0 && stack.least_limit < 3 * bars.most;
    if (near && stack.least_limit * 1.1 > top) top = stack.least_limit * 1.1;
    if (near)
        snprintf(subtitle, sizeof subtitle, "a bar a device; the line is its limit");
    else if (stack.least_limit > 0)
        snprintf(subtitle, sizeof subtitle, "a bar a device; the limit, %.0f MiB, is off the chart",
                 stack.least_limit);
    else
        snprintf(subtitle, sizeof subtitle, "a bar a device; no limit is known");
    plot_begin(out, width_of(&bars, 44, 200), 420, "Memory at its peak", subtitle);
    text_append(&out->script, "set ylabel 'MiB'\n");
    return finish(&bars, out, top, err);
}
