/* Colours of plots: a colour has one meaning, and text in a box can be read. */
#include "tests/support.h"

#include <math.h>

#include "plots/palette.h"

/* Of WCAG 2: 1 to 21. */
static double contrast(int a, int b)
{
    double light[2];

    for (int k = 0; k < 2; k++) {
        double part[3];
        for (int i = 0; i < 3; i++) {
            double c = ((k ? b : a) >> (16 - 8 * i) & 255) / 255.0;
            part[i] = c <= 0.03928 ? c / 12.92 : pow((c + 0.055) / 1.055, 2.4);
        }
        light[k] = 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2];
    }
    return (fmax(light[0], light[1]) + 0.05) / (fmin(light[0], light[1]) + 0.05);
}

static int in_the_dark(int colour)
{
    for (const ColourPair *c = colours_in_the_dark; c->light >= 0; c++)
        if (c->light == colour) return c->dark;
    return colour;
}

/* Schedules and parts of memory have no colour of what devices do, nor of each other, nor two the
 * same. */
static void colours_mean_one_thing(void **state)
{
    (void)state;
    int other[SCHEDULE_COUNT + (int)MEMORY_COUNT], count = 0;

    for (int i = 0; i < SCHEDULE_COUNT; i++) other[count++] = colour_of_schedule((Schedule)i);
    for (int i = 0; i < MEMORY_COUNT; i++) other[count++] = colour_of_memory((MemoryPart)i);
    for (int i = 0; i < count; i++) {
        for (int k = 0; k < i; k++) assert_int_not_equal(other[i], other[k]);
        for (int s = 0; s < SHARE_COUNT; s++)
            assert_int_not_equal(other[i], colour_of_share((TimeShare)s));
        for (int op = 0; op < OP_COUNT; op++) assert_int_not_equal(other[i], colour_of_op((Op)op));
    }
}

static void text_in_boxes_is_legible(void **state)
{
    (void)state;
    for (int s = 0; s < SHARE_COUNT + (int)OP_COUNT; s++) {
        int box = s < SHARE_COUNT ? colour_of_share((TimeShare)s)
                                  : colour_of_op((Op)(s - SHARE_COUNT)),
            text = colour_of_text(box);
        assert_true(contrast(box, text) > 3);
        assert_true(contrast(in_the_dark(box), in_the_dark(text)) > 3);
    }
}

/* On its page, light or dark. */
static void schedules_are_seen(void **state)
{
    (void)state;
    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        assert_true(contrast(colour_of_schedule((Schedule)i), 0xFFFFFF) > 1.5);
        assert_true(contrast(in_the_dark(colour_of_schedule((Schedule)i)), in_the_dark(0xFFFFFF))
                    > 3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(colours_mean_one_thing),
        cmocka_unit_test(text_in_boxes_is_legible),
        cmocka_unit_test(schedules_are_seen),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
