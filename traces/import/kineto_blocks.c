/* What is a block: ranges named block:NAME, teacher:NAME or student:NAME where there are such; with
 * a list the ranges and modules in it; else modules at a depth, and those above it that hold no
 * others. */
#include "traces/import/kineto.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const KinetoFile *file;
    const char       *file_name;
    KinetoBlocks     *blocks;
    int              *depth_of;      /* [names] of modules, where they are first met; 0: no
                                      * module */
    bool             *holds;         /* [names] a module that holds modules */
    int64_t          *first_start;   /* [names] of ranges and modules; INT64_MAX: never */
} Finder;

/* ---- modules --------------------------------------------------------------------------------- */

/* Depths of modules, by what is open on a thread when they start. Those that a backward runs again
 * lie in a node and are passed over. */
static int measure_depths(Finder *f, Error *err)
{
    const KinetoSpan **open = malloc((f->file->span_count + 1) * sizeof *open);
    int          count = 0;
    int32_t      thread = -1;
    int64_t      node_end = INT64_MIN;

    if (!open) return error_no_memory(err);
    for (size_t i = 0; i < f->file->span_count; i++) {
        const KinetoSpan *s = &f->file->spans[i];
        if (s->thread != thread) {
            thread = s->thread;
            node_end = INT64_MIN;
            count = 0;
        }
        if (s->type == SPAN_NODE && s->end_ns > node_end) node_end = s->end_ns;
        if ((s->type != SPAN_MODULE && s->type != SPAN_RANGE) || s->start_ns < node_end) continue;
        if (s->start_ns < f->first_start[s->name]) f->first_start[s->name] = s->start_ns;
        if (s->type != SPAN_MODULE) continue;
        while (count > 0 && open[count - 1]->end_ns <= s->start_ns) count--;
        if (count > 0) f->holds[open[count - 1]->name] = true;
        open[count++] = s;
        if (f->depth_of[s->name] == 0) f->depth_of[s->name] = count;
        if (count > f->blocks->deepest) f->blocks->deepest = count;
    }
    free(open);
    return 0;
}

/* An outermost module that holds no others is a loss, unless all are so. */
static bool at_depth(const Finder *f, int name, int depth)
{
    int own = f->depth_of[name];

    if (own == 1) return depth == 1 && (f->holds[name] || f->blocks->deepest == 1);
    return own == depth || (own > 0 && own < depth && !f->holds[name]);
}

/* The least depth with two blocks; where none has, the deepest. */
static int choose_depth(const Finder *f)
{
    for (int depth = 1; depth <= f->blocks->deepest; depth++) {
        int found = 0;
        for (int i = 0; i < f->file->names.count; i++) found += at_depth(f, i, depth);
        if (found >= 2) return depth;
    }
    return f->blocks->deepest;
}

/* ---- which names are blocks ------------------------------------------------------------------ */

static const char *without_prefix(const char *name, BlockRole *role)
{
    static const struct { const char *prefix; BlockRole role; } known[] = {
        {"block:", ROLE_BOTH}, {"teacher:", ROLE_TEACHER}, {"student:", ROLE_STUDENT}};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t length = strlen(known[i].prefix);
        if (strncmp(name, known[i].prefix, length) != 0 || !name[length]) continue;
        *role = known[i].role;
        return name + length;
    }
    return NULL;
}

static bool in_list(const char *list, const char *name)
{
    size_t length = strlen(name);

    for (const char *at = list; *at; at += strcspn(at, ","), at += *at == ',')
        if (strcspn(at, ",") == length && memcmp(at, name, length) == 0) return true;
    return false;
}

/* The block's name and role, where that range or module is one; NULL: it is none. */
static const char *block_name(const Finder *f, int name, const char *list, BlockRole *role)
{
    const char *text = f->file->names.strings[name];

    *role = ROLE_BOTH;
    if (f->first_start[name] == INT64_MAX) return NULL;
    if (f->blocks->source == BLOCKS_OF_RANGES) return without_prefix(text, role);
    if (f->blocks->source == BLOCKS_OF_LIST) return in_list(list, text) ? text : NULL;
    return at_depth(f, name, f->blocks->depth) ? text : NULL;
}

static bool has_ranges(const Finder *f)
{
    BlockRole role;

    for (int i = 0; i < f->file->names.count; i++)
        if (f->first_start[i] != INT64_MAX && without_prefix(f->file->names.strings[i], &role))
            return true;
    return false;
}

/* What a message says where blocks are missing and the file has a compiled region: what runs in one
 * leaves no ranges and no modules (PyTorch 2.15). */
static const char *hint(const Finder *f)
{
    return !f->blocks->compiled ? ""
         : "; if torch.compile compiled the whole model, it hides them: compile each block";
}

static int check_list(const Finder *f, const char *list, Error *err)
{
    for (const char *at = list; *at; at += strcspn(at, ","), at += *at == ',') {
        int name = intern_find(&f->file->names, at, strcspn(at, ","));
        if (name < 0 || f->first_start[name] == INT64_MAX)
            return error_set(err, "%s: --blocks: no range and no nn.Module is called \"%.*s\"%s",
                             f->file_name, (int)strcspn(at, ","), at, hint(f));
    }
    return 0;
}

/* The operator that stands for a call of what torch.compile made. */
static const char compiled[] = "Torch-Compiled Region";

/* Chooses what the blocks are: those of list, else ranges that say so, else modules at a depth. */
static int choose_source(Finder *f, const char *list, int depth, Error *err)
{
    KinetoBlocks *b = f->blocks;
    bool          modules = false;

    for (int i = 0; i < f->file->names.count; i++) {
        modules |= f->depth_of[i] > 0;
        b->compiled |= strncmp(f->file->names.strings[i], compiled, strlen(compiled)) == 0;
    }
    if (list) {
        b->source = BLOCKS_OF_LIST;
        return check_list(f, list, err);
    }
    if (depth == 0 && has_ranges(f)) {
        b->source = BLOCKS_OF_RANGES;
        return 0;
    }
    b->source = BLOCKS_OF_DEPTH;
    if (!modules)
        return error_set(
            err,
            "%s: nothing says which work is which block's: expected record_function ranges named "
            "block:NAME, nn.Module events (with_stack=True), or --blocks%s",
            f->file_name, hint(f));
    if (depth > b->deepest)
        return error_set(err, "%s: --depth %d: modules lie at most %d deep in each other",
                         f->file_name, depth, b->deepest);
    b->depth = depth > 0 ? depth : choose_depth(f);
    return 0;
}

/* ---- in order -------------------------------------------------------------------------------- */

static int by_first_start(const void *a, const void *b, void *finder)
{
    const Finder *f = finder;
    int           x = *(const int *)a, y = *(const int *)b;

    if (f->first_start[x] != f->first_start[y])
        return f->first_start[x] < f->first_start[y] ? -1 : 1;
    return x - y;
}

static int find_block(const KinetoBlocks *b, const char *name)
{
    for (int i = 0; i < b->count; i++)
        if (strcmp(b->names[i], name) == 0) return i;
    return -1;
}

/* Numbers the names that are blocks, in the order in which they first start. list: --blocks, or
 * NULL. */
static int number_blocks(Finder *f, const char *list, Error *err)
{
    KinetoBlocks *b = f->blocks;
    int           names = f->file->names.count, taken = 0;
    int          *order = malloc(((size_t)names + 1) * sizeof *order);
    BlockRole     role;

    if (!order) return error_no_memory(err);
    for (int i = 0; i < names; i++) {
        b->of_name[i] = -1;
        if (block_name(f, i, list, &role)) order[taken++] = i;
    }
    qsort_r(order, (size_t)taken, sizeof *order, by_first_start, f);
    int rc = 0;
    for (int i = 0; i < taken && rc == 0; i++) {
        const char *name = block_name(f, order[i], list, &role);
        int         block = find_block(b, name);
        if (block < 0 && b->count == TRACE_MAX_BLOCKS)
            rc = error_set(err, "%s: more than %d blocks, expected fewer", f->file_name,
                           TRACE_MAX_BLOCKS);
        else if (block < 0) b->names[block = b->count++] = name;
        b->of_name[order[i]] = block;
        b->role_of_name[order[i]] = role;
        b->has_teachers |= role == ROLE_TEACHER;
    }
    b->first_name = taken ? order[0] : -1;
    free(order);
    return rc;
}

/* A block of which only the teacher's or only the student's range is there. */
static int check_roles(const Finder *f, Error *err)
{
    const KinetoBlocks *b = f->blocks;

    if (b->count == 0) return error_set(err, "%s: no blocks", f->file_name);
    for (int block = 0; block < b->count && b->source == BLOCKS_OF_RANGES; block++) {
        bool there[3] = {false};
        for (int i = 0; i < f->file->names.count; i++)
            if (b->of_name[i] == block) there[b->role_of_name[i]] = true;
        const char *lacks = there[ROLE_BOTH] || (there[ROLE_TEACHER] && there[ROLE_STUDENT]) ? NULL
                          : there[ROLE_TEACHER] ? "student" : b->has_teachers ? "teacher" : NULL;
        if (lacks)
            return error_set(
                err, "%s: block \"%s\" has no range \"%s:%s\", expected one beside the other",
                f->file_name, b->names[block], lacks, b->names[block]);
        if (b->has_teachers && !there[ROLE_TEACHER])
            return error_set(
                err, "%s: block \"%s\" has no range \"teacher:%s\", but other blocks have theirs",
                f->file_name, b->names[block], b->names[block]);
    }
    return 0;
}

int kineto_blocks(KinetoBlocks *out, const KinetoFile *file, const char *file_name,
                  const char *list, int depth, Error *err)
{
    size_t names = (size_t)file->names.count;
    Finder f = {.file = file, .file_name = file_name, .blocks = out};

    *out = (KinetoBlocks){.first_name = -1};
    f.depth_of = arena_alloc(&out->arena, names, sizeof *f.depth_of);
    f.holds = arena_alloc(&out->arena, names, sizeof *f.holds);
    f.first_start = arena_alloc(&out->arena, names, sizeof *f.first_start);
    out->names = arena_alloc(&out->arena, TRACE_MAX_BLOCKS, sizeof *out->names);
    out->of_name = arena_alloc(&out->arena, names, sizeof *out->of_name);
    out->role_of_name = arena_alloc(&out->arena, names, sizeof *out->role_of_name);
    if (!f.depth_of || !f.holds || !f.first_start || !out->names || !out->of_name
        || !out->role_of_name)
        return error_no_memory(err);
    for (size_t i = 0; i < names; i++) f.first_start[i] = INT64_MAX;
    if (measure_depths(&f, err) != 0 || choose_source(&f, list, depth, err) != 0) return -1;
    return number_blocks(&f, list, err) != 0 || check_roles(&f, err) != 0 ? -1 : 0;
}

void kineto_blocks_free(KinetoBlocks *blocks) { arena_free(&blocks->arena); }
