/* Choosing one network out of a supernet: sets of paths, the workload that is left, and
 * the selection under a budget. */
#include "tests/support.h"

#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "executor/nas/knapsack.h"
#include "workloads/subnet.h"

static Workload *read_text(const char *text)
{
    Workload *workload;
    Error     err = {""};

    if (workload_parse(&workload, "w", text, strlen(text), &err) != 0) fail_msg("%s", err.text);
    return workload;
}

/* A workload of one block on 2x4x4, with this student. */
static Workload *with_student(const char *student)
{
    char     *text = format_text(
            "{\"format\": \"pipebd-workload\", \"version\": 1, \"name\": \"w\", \"batch\": 2, "
            "\"samples\": 4, \"input\": {\"channels\": 2, \"height\": 4, \"width\": 4}, "
            "\"training\": {\"learning_rate\": 1}, \"blocks\": [{\"name\": \"a\", \"loss\": "
            "\"mse\", \"teacher\": [{\"layer\": \"relu\"}], \"student\": %s}]}",
            student);
    Workload *workload = read_text(text);

    free(text);
    return workload;
}

#define NORM "{\"layer\": \"batchnorm\"}"
#define RELU "{\"layer\": \"relu\"}"
#define CONV(k) "{\"layer\": \"conv\", \"out\": 2, \"kernel\": " #k "}"
#define CHOICE(...) "{\"layer\": \"choice\", \"paths\": [" __VA_ARGS__ "]}"
#define SHORTCUT(body, shortcut) \
    "{\"layer\": \"residual\", \"body\": [" body "], \"shortcut\": [" shortcut "]}"
#define RESIDUAL(body) "{\"layer\": \"residual\", \"body\": [" body "]}"

/* ---- sets of paths --------------------------------------------------------- */

static void check_sets(const char *student, const char *expected)
{
    Workload     *workload = with_student(student);
    const Layers *layers = &workload->block[0].student;
    int           count = workload->block[0].choices, choices[8] = {0};
    int64_t       sets = 0;
    Text          text = {0};

    do {
        for (int i = 0; i < count; i++) text_printf(&text, "%d", choices[i]);
        text_append(&text, " ");
        sets++;
    } while (layers_next_choices(layers, choices));
    assert_string_equal(text_string(&text), expected);
    for (int i = 0; i < count; i++) assert_int_equal(choices[i], 0);
    assert_int_equal(layers_choice_count(layers, 1000), sets);
    for (int64_t limit = 1; limit <= sets; limit++)
        assert_int_equal(layers_choice_count(layers, limit), limit);
    text_free(&text);
    workload_free(workload);
}

static void sets_of_paths_come_once(void **state)
{
    (void)state;
    check_sets("[" NORM "]", " ");
    check_sets("[" CHOICE("[" NORM "], [], [" RELU "]") "]", "0 1 2 ");
    check_sets("[" CHOICE("[" NORM "], []") "," CHOICE("[" NORM "], [], [" RELU "]") "]",
               "00 01 02 10 11 12 ");
    /* the second stands in path 1 of the first: elsewhere it stays 0 */
    check_sets("[" CHOICE("[" NORM "], [" CHOICE("[], [" RELU "]") "], []") "]", "00 10 11 20 ");
    /* two in one path, one after it, one in a residual */
    check_sets("[" CHOICE("[" CHOICE("[], [" RELU "]") "," RESIDUAL(CHOICE(
                   "[" NORM "], [" RELU "]")) "], []") "," CHOICE("[" NORM "], [" RELU "]") "]",
               "0000 0001 0010 0011 0100 0101 0110 0111 1000 1001 ");
}

/* A step goes through a residual's body and its shortcut: their sets are times each other. */
static void sets_of_a_shortcut(void **state)
{
    (void)state;
    check_sets("[" SHORTCUT(CHOICE("[" NORM "], []"), CHOICE("[" RELU "], [" NORM "], [" RELU
                                                             "]")) "," CHOICE("[" NORM "], []") "]",
               "000 001 010 011 020 021 100 101 110 111 120 121 ");
    check_sets(
        "[" CHOICE("[" SHORTCUT(CHOICE("[" NORM "], []"), CHOICE("[" RELU "], []")) "], []") "]",
        "000 001 010 011 100 ");
}

/* conv of kernel 1: 4 weights at 16 places; of kernel 3: 36. */
static void macs_of_taken_paths(void **state)
{
    (void)state;
    Workload     *workload = with_student("[" CONV(1) "," CHOICE("[" CHOICE("[" CONV(1) "], [" CONV(
            3) "]") "], []") "," CHOICE("[" CONV(3) "], [" RESIDUAL(CONV(1)) "]") "]");
    const Layers *layers = &workload->block[0].student;

    assert_int_equal(layers_macs(layers, (int[]){0, 0, 0}), 64 + 64 + 576);
    assert_int_equal(layers_macs(layers, (int[]){0, 1, 1}), 64 + 576 + 64);
    assert_int_equal(layers_macs(layers, (int[]){1, 0, 1}), 64 + 64);
    workload_free(workload);
    workload = with_student("[" SHORTCUT(CHOICE("[" CONV(1) "], [" CONV(3) "]"),
                                         CHOICE("[" RELU "], [" CONV(1) "]")) "]");
    layers = &workload->block[0].student;
    assert_int_equal(layers_macs(layers, (int[]){1, 0}), 576);
    assert_int_equal(layers_macs(layers, (int[]){0, 1}), 64 + 64);
    workload_free(workload);
}

static void what_cannot_stand_alone(void **state)
{
    (void)state;
    Workload     *workload =
            with_student("[" CHOICE("[" NORM "], []") "," RESIDUAL(CHOICE("[], [" RELU "]")) "]");
    const Layers *layers = &workload->block[0].student;

    assert_true(layers_subnet_possible(layers, (int[]){0, 1}));
    /* a residual without a body */
    assert_false(layers_subnet_possible(layers, (int[]){0, 0}));
    assert_false(layers_subnet_possible(layers, (int[]){1, 1}));       /* nothing to train */
    workload_free(workload);
    workload = with_student("[" SHORTCUT(NORM, CHOICE("[" RELU "], []")) "]");
    assert_true(layers_subnet_possible(&workload->block[0].student, (int[]){0}));
    /* an empty shortcut */
    assert_false(layers_subnet_possible(&workload->block[0].student, (int[]){1}));
    workload_free(workload);
}

/* ---- the workload that is left ------------------------------------------------ */

/* Layers of the new student by name. */
static const Layer *find_layer(const Layers *layers, const char *name)
{
    for (int i = 0; i < layers->count; i++) {
        const Layer *layer = &layers->layer[i], *inside = NULL;
        if (strcmp(layer->name, name) == 0) return layer;
        for (int p = 0; p < layer->path_count && !inside; p++)
            inside = find_layer(&layer->path[p], name);
        if (inside) return inside;
    }
    return NULL;
}

/* Every layer of the new student is the same as where it came from. */
static void check_origins(const Layers *fixed, const Layers *from, const LayerOrigins *origins)
{
    for (int i = 0; i < origins->count; i++) {
        const Layer *a = find_layer(fixed, origins->layer[i].name),
                    *b = find_layer(from, origins->layer[i].origin);
        assert_non_null(a);
        assert_non_null(b);
        assert_int_equal(a->kind, b->kind);
        assert_true(shape_equal(a->in, b->in) && shape_equal(a->out, b->out));
        assert_int_equal(a->kernel, b->kernel);
        assert_int_equal(a->groups, b->groups);
        assert_int_equal(layer_parameters(a), layer_parameters(b));
    }
}

static void paths_take_the_place_of_choices(void **state)
{
    (void)state;
    Workload *workload = with_student("[" CONV(1) "," CHOICE("[" RELU "], [" CONV(3) "," RESIDUAL(
                 NORM "," CHOICE("[" RELU "], [" CONV(1) "]")) "]") "," NORM "]"),
             *fixed;
    const int    *choices[1] = {(int[]){1, 1}};
    LayerOrigins *origins;
    Text          text = {0}, list = {0};
    Error         err = {""};

    if (workload_subnet(&fixed, &origins, &text, workload, choices, "left", "t.safetensors",
                        "digits", &err)
        != 0)
        fail_msg("%s", err.text);
    for (int i = 0; i < origins[0].count; i++)
        text_printf(&list, "%s=%s ", origins[0].layer[i].name, origins[0].layer[i].origin);
    assert_string_equal(text_string(&list), "0=0 1=1.1.0 2=1.1.1 2.0=1.1.1.0 2.1=1.1.1.1.1.0 3=2 ");
    check_origins(&fixed->block[0].student, &workload->block[0].student, &origins[0]);
    assert_int_equal(fixed->block[0].choices, 0);
    assert_string_equal(fixed->name, "left");
    assert_string_equal(fixed->teacher_weights, "t.safetensors");
    assert_string_equal(fixed->data, "digits");
    assert_int_equal(layers_cost(&fixed->block[0].student).macs_most,
                     layers_macs(&workload->block[0].student, choices[0]));
    workload_free(fixed);
    workload_free(workload);
    text_free(&text);
    text_free(&list);
}

static void paths_of_a_shortcut_keep_their_place(void **state)
{
    (void)state;
    Workload     *workload = with_student("[" CHOICE("[" RELU "], []") "," SHORTCUT(
                     CONV(1) "," CHOICE("[" NORM "], [" CONV(3) "]"),
                     RELU "," CHOICE("[], [" RESIDUAL(NORM) "," CONV(1) "]")) "]"),
                 *fixed;
    const int    *choices[1] = {(int[]){1, 1, 1}};
    LayerOrigins *origins;
    Text          text = {0}, list = {0};
    Error         err = {""};

    if (workload_subnet(&fixed, &origins, &text, workload, choices, "left", NULL, NULL, &err) != 0)
        fail_msg("%s", err.text);
    for (int i = 0; i < origins[0].count; i++)
        text_printf(&list, "%s=%s ", origins[0].layer[i].name, origins[0].layer[i].origin);
    assert_string_equal(
        text_string(&list),
        "0=1 0.0=1.0 0.1=1.1.1.0 0.shortcut.0=1.shortcut.0 0.shortcut.1=1.shortcut.1.1.0 "
        "0.shortcut.1.0=1.shortcut.1.1.0.0 0.shortcut.2=1.shortcut.1.1.1 ");
    check_origins(&fixed->block[0].student, &workload->block[0].student, &origins[0]);
    assert_null(fixed->data);
    assert_int_equal(layers_cost(&fixed->block[0].student).macs_most,
                     layers_macs(&workload->block[0].student, choices[0]));
    workload_free(fixed);
    workload_free(workload);
    text_free(&text);
    text_free(&list);
}

/* Random paths of the bundled supernets. */
static void supernets_are_fixed(void **state)
{
    static const char *const names[] = {"nas-cifar10", "nas-imagenet"};
    Rng rng = {test_seed("supernets_are_fixed", 5), 0};

    (void)state;
    for (int round = 0; round < 20; round++) {
        Workload     *workload, *fixed;
        LayerOrigins *origins;
        Text          text = {0};
        Error         err = {""};
        int           numbers[6][4];
        const int    *choices[6];
        if (workload_read(&workload, names[round % 2], &err) != 0) fail_msg("%s", err.text);
        for (int b = 0; b < 6; b++) {
            workload_choose(numbers[b], &workload->block[b], b, rng_next(&rng), 0);
            choices[b] = numbers[b];
        }
        if (workload_subnet(&fixed, &origins, &text, workload, choices, "left", NULL, NULL, &err)
            != 0)
            fail_msg("%s", err.text);
        for (int b = 0; b < 6; b++) {
            check_origins(&fixed->block[b].student, &workload->block[b].student, &origins[b]);
            assert_int_equal(layers_cost(&fixed->block[b].student).macs_mean,
                             layers_macs(&workload->block[b].student, choices[b]));
        }
        workload_free(fixed);
        workload_free(workload);
        text_free(&text);
    }
}

static void fixing_out_of_memory(void **state)
{
    (void)state;
    Workload     *workload = with_student("[" CHOICE("[" RESIDUAL(NORM) "], []") "]"), *fixed;
    const int    *choices[1] = {(int[]){0}};
    LayerOrigins *origins;

    for (long n = 1;; n++) {
        Text  text = {0};
        Error err = {""};
        alloc_fail_after(n);
        int rc =
            workload_subnet(&fixed, &origins, &text, workload, choices, "left", NULL, NULL, &err);
        int reached = alloc_fail_reached();
        alloc_fail_after(0);
        assert_int_equal(rc, reached ? -1 : 0);
        if (rc != 0) assert_string_equal(err.text, "out of memory");
        workload_free(fixed);
        text_free(&text);
        if (!reached) { assert_true(n > 4); break; }
    }
    workload_free(workload);
}

/* ---- selection ------------------------------------------------------------------- */

enum { BLOCKS = 5, MOST = 5 };

typedef struct {
    KnapsackItem  candidate[BLOCKS][MOST];
    Candidates blocks[BLOCKS];
    int        count;
} Instance;

/* Few different numbers, so that sums tie; losses are quarters, so that sums are exact. */
static void make_instance(Instance *out, Rng *rng)
{
    out->count = (int)rng_range(rng, 1, BLOCKS);
    for (int b = 0; b < out->count; b++) {
        out->blocks[b] = (Candidates){out->candidate[b], (int)rng_range(rng, 1, MOST)};
        for (int i = 0; i < out->blocks[b].count; i++)
            out->candidate[b][i] =
                (KnapsackItem){rng_range(rng, 0, 12), (double)rng_range(rng, 0, 16) / 4};
    }
}

typedef struct { int64_t macs; double loss; } Total;

static Total total_of(const Instance *instance, const int *chosen)
{
    Total total = {0};

    for (int b = 0; b < instance->count; b++) {
        total.macs += instance->candidate[b][chosen[b]].macs;
        total.loss += instance->candidate[b][chosen[b]].loss;
    }
    return total;
}

/* All combinations; false when none keeps the budget. */
static int brute_force(const Instance *instance, int64_t max_macs, Total *best)
{
    int chosen[BLOCKS] = {0}, found = 0, b;

    do {
        Total total = total_of(instance, chosen);
        int   better =
            total.loss < best->loss || (total.loss == best->loss && total.macs < best->macs);
        if (total.macs <= max_macs && (!found || better)) { *best = total; found = 1; }
        for (b = 0; b < instance->count && ++chosen[b] == instance->blocks[b].count; b++)
            chosen[b] = 0;
    } while (b < instance->count);
    return found;
}

static void selection_is_the_best_of_all(void **state)
{
    (void)state;
    Rng rng = {test_seed("selection_is_the_best_of_all", 11), 0};

    for (int round = 0; round < 5000; round++) {
        Instance instance;
        Total    best = {0};
        int      chosen[BLOCKS];
        Error    err = {""};
        make_instance(&instance, &rng);
        int64_t  max_macs =
             round % 5 == 0 ? SELECT_ANY_MACS : rng_range(&rng, 0, 12 * instance.count);
        int      found = brute_force(&instance, max_macs, &best);
        assert_int_equal(select_candidates(chosen, instance.blocks, instance.count, max_macs, &err),
                         found ? 0 : -1);
        if (!found) { assert_non_null(strstr(err.text, "but the cheapest paths need ")); continue; }
        Total total = total_of(&instance, chosen);
        assert_true(total.loss == best.loss);
        assert_int_equal(total.macs, best.macs);
    }
}

/* 13 blocks of 40 candidates each, losses that fall as costs rise: as a search would
 * meet them, and every one of them on the front of its block. */
static void selection_of_many(void **state)
{
    enum { MANY = 13, EACH = 40 };
    static KnapsackItem candidate[MANY][EACH];
    Candidates       blocks[MANY];
    Rng              rng = {test_seed("selection_of_many", 12), 0};
    int              chosen[MANY];
    int64_t          macs = 0;
    Error            err = {""};

    (void)state;
    for (int b = 0; b < MANY; b++) {
        blocks[b] = (Candidates){candidate[b], EACH};
        for (int i = 0; i < EACH; i++)
            candidate[b][i] = (KnapsackItem){1000000 + 100000 * i + rng_range(&rng, 0, 99999),
                                             1.0 / (i + 1 + rng_range(&rng, 0, 9) / 10.0)};
    }
    if (select_candidates(chosen, blocks, MANY, 13 * 2000000, &err) != 0) fail_msg("%s", err.text);
    for (int b = 0; b < MANY; b++) macs += candidate[b][chosen[b]].macs;
    assert_int_in_range(macs, 13 * 1900000, 13 * 2000000);
}

static void selecting_out_of_memory(void **state)
{
    (void)state;
    KnapsackItem  candidate[2] = {{1, 2}, {2, 1}};
    Candidates blocks[2] = {{candidate, 2}, {candidate, 2}};

    for (long n = 1;; n++) {
        int   chosen[2];
        Error err = {""};
        alloc_fail_after(n);
        int rc = select_candidates(chosen, blocks, 2, 3, &err);
        int reached = alloc_fail_reached();
        alloc_fail_after(0);
        assert_int_equal(rc, reached ? -1 : 0);
        if (!reached) { assert_true(n > 4); return; }
        assert_string_equal(err.text, "out of memory");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_of_paths_come_once),
        cmocka_unit_test(sets_of_a_shortcut),
        cmocka_unit_test(macs_of_taken_paths),
        cmocka_unit_test(what_cannot_stand_alone),
        cmocka_unit_test(paths_take_the_place_of_choices),
        cmocka_unit_test(paths_of_a_shortcut_keep_their_place),
        cmocka_unit_test(supernets_are_fixed),
        cmocka_unit_test(fixing_out_of_memory),
        cmocka_unit_test(selection_is_the_best_of_all),
        cmocka_unit_test(selection_of_many),
        cmocka_unit_test(selecting_out_of_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
