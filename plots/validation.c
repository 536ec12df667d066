/* Validations: the epoch of every schedule as predicted and as measured, side by side. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "plots/palette.h"
#include "plots/plot.h"

enum { MAX_SCHEDULES = 256, INK = 0x222222, FAINT = 0x888888 };

typedef struct {
    Scene  scene;
    double x, most;          /* where the next pair goes; highest bar, s */
    int    schedules;
} Pairs;

/* Two bars, predicted and measured, with the error above; of a schedule that is impossible only its
 * name. */
static int one_schedule(Pairs *p, const JsonAt *row, Error *err)
{
    JsonAt      name_at = json_member(row, "schedule"), why = json_member(row, "impossible");
    JsonAt      predicted_at = json_member(row, "predicted_epoch_s"),
           measured_at = json_member(row, "measured_epoch_s");
    const char *name;
    double      predicted, measured;
    Schedule    schedule;
    char        text[32];

    if (json_get_object(row, err) != 0 || json_get_string(&name_at, &name, err) != 0) return -1;
    if (!schedule_find(name, &schedule))
        return json_fail(&name_at, err, "not a schedule, expected dp, ls, tr, ...");
    if (++p->schedules > MAX_SCHEDULES)
        return json_fail(row, err, "too many schedules, expected at most %d", MAX_SCHEDULES);
    scene_label(&p->scene, p->x, 0, "center offset 0,-0.8", 11, INK, name);
    if (json_has(&why)) {
        scene_label(&p->scene, p->x, 0, "left rotate by 90 offset 0,0.5", 9, FAINT, "not possible");
        p->x++;
        return 0;
    }
    if (json_get_number(&predicted_at, 0, &predicted, err) != 0
        || json_get_number(&measured_at, 0, &measured, err) != 0)
        return -1;
    if (!(predicted > 0))
        return json_fail(&predicted_at, err, "%g is no epoch, expected more than 0 s", predicted);
    scene_box(&p->scene, p->x - 0.4, p->x, 0, predicted, colour_pale(colour_of_schedule(schedule)));
    scene_box(&p->scene, p->x, p->x + 0.4, 0, measured, colour_of_schedule(schedule));
    snprintf(text, sizeof text, "%+.1f %%", 100 * (measured / predicted - 1));
    scene_label(&p->scene, p->x, fmax(predicted, measured), "center offset 0,0.6", 10, INK, text);
    p->most = fmax(p->most, fmax(predicted, measured));
    p->x++;
    return 0;
}

static int one_validation(Pairs *p, const Json *doc, Error *err)
{
    JsonAt      root = json_root(doc), name_at = json_member(&root, "trace"),
                rows = json_member(&root, "schedules");
    const char *name;
    double      first = p->x;

    if (json_check_format(doc, "pipebd-validation", 1, err) != 0) return -1;
    if (json_get_string(&name_at, &name, err) != 0 || json_get_array(&rows, 1, err) != 0) return -1;
    for (size_t i = 0; i < json_count(&rows); i++) {
        JsonAt row = json_element(&rows, i);
        if (one_schedule(p, &row, err) != 0) return -1;
    }
    scene_label(&p->scene, (first + p->x - 1) / 2, 0, "center offset 0,-1.9", 12, INK, name);
    p->x += 0.5;
    return 0;
}

static int read_all(Pairs *p, const char *const *paths, int count, Error *err)
{
    for (int i = 0; i < count; i++) {
        Json *doc;
        if (json_doc_read(&doc, paths[i], err) != 0) return -1;
        int rc = one_validation(p, doc, err);
        json_doc_free(doc);
        if (rc != 0) return -1;
    }
    return 0;
}

int plot_validation(Plot *out, const char *const *paths, int count, Error *err)
{
    Pairs p = {0};
    int   width, rc = read_all(&p, paths, count, err);

    if (rc == 0) {
        width = 140 + (int)(p.x * 74);
        plot_begin(out,
                   width < 560    ? 560
                   : width > 2400 ? 2400
                                  : width,
                   400, "Epoch time, predicted and measured",
                   "left, pale: predicted; right: measured; above: measured over predicted");
        text_printf(&out->script, "set ylabel 's'\nset xrange [-0.7:%.9g]\nset yrange [0:%.9g]\n"
                    "unset xtics\nset bmargin 4.5\n", p.x - 0.8, p.most > 0 ? 1.12 * p.most : 1);
        rc = scene_end(&p.scene, out, err);
    }
    text_free(&p.scene.boxes);
    text_free(&p.scene.thin);
    text_free(&p.scene.labels);
    text_free(&p.scene.keys);
    return rc;
}
