/* PipeDream's profiles (import_graph.h reads them): the teacher's gives the teacher's
 * times, the student's forward and backward. Blocks are told by --cuts, by the stage_id
 * of the nodes, or are the parts of the chain, and must be as many in both; a student
 * block must end with as many bytes as the teacher's. */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "traces/import/import_graph.h"

typedef struct {
    ImportGraph graph;
    int   first;                 /* node: 1 after an input, else 0 */
    int  *last;                  /* [blocks] last node of each */
    int   blocks;
    int   merged;                /* nodes that no cut follows */
    Text *moved;                 /* what is said of stages that end elsewhere */
} PipedreamProfile;

static int first_of(const PipedreamProfile *p, int block)
{
    return block ? p->last[block - 1] + 1 : p->first;
}

/* ---- blocks ------------------------------------------------------------------------------ */

static int close_block(PipedreamProfile *p, int node, Error *err)
{
    if (p->blocks == TRACE_MAX_BLOCKS)
        return graph_fail(&p->graph, node, err, "more than %d blocks, expected --cuts or stage_id",
                          TRACE_MAX_BLOCKS);
    p->last[p->blocks++] = node;
    return 0;
}

/* The first node from here on that the chain can be cut after. */
static int next_cut(const ImportGraph *g, int node)
{
    while (!g->cut[node]) node++;
    return node;
}

static int blocks_of_parts(PipedreamProfile *p, Error *err)
{
    for (int i = p->first; i < p->graph.count; i++)
        if (p->graph.cut[i] && close_block(p, i, err) != 0) return -1;
    return 0;
}

static int check_stages(const PipedreamProfile *p, Error *err)
{
    const ImportGraph *g = &p->graph;

    for (int i = p->first; i < g->count; i++) {
        const GraphNode *node = &g->nodes[i];
        if (node->stage < 0)
            return graph_fail(g, i, err,
                              "node \"%s\" has no stage_id, but others do: expected all or none",
                              node->id);
        if (i > p->first && node->stage < g->nodes[i - 1].stage)
            return graph_fail(g, i, err,
                              "stage_id=%d comes back at node \"%s\", expected each in one piece",
                              node->stage, node->id);
    }
    return 0;
}

/* A stage that ends where more than one tensor goes on ends at the next node where one does, and
 * that is said. */
static int blocks_of_stages(PipedreamProfile *p, Error *err)
{
    const ImportGraph *g = &p->graph;

    if (check_stages(p, err) != 0) return -1;
    for (int i = p->first; i < g->count; i++) {
        const GraphNode *node = &g->nodes[i], *after = i + 1 < g->count ? node + 1 : NULL;
        if (after && after->stage == node->stage) continue;
        int cut = next_cut(g, i);
        if (cut > i)
            text_printf(p->moved,
                        " In %s, stage_id=%d ends with node \"%s\", behind which more than one "
                        "tensor goes on: its block is cut "
                        "behind \"%s\".",
                        g->file->name, node->stage, node->id, g->nodes[cut].id);
        if (close_block(p, cut, err) != 0) return -1;
        i = cut;
    }
    return 0;
}

/* Makes blocks that end at the nodes of list; refuses nodes that do not end a block, and any other
 * order than the chain's. */
static int blocks_of_cuts(PipedreamProfile *p, const char *list, const char *option, Error *err)
{
    const ImportGraph *g = &p->graph;

    for (const char *at = list;; at++) {
        size_t length = strcspn(at, ",");
        int    node = graph_find(g, at, length);
        for (int i = 0; i < g->dropped_count; i++)
            if (strlen(g->dropped[i].id) == length && memcmp(g->dropped[i].id, at, length) == 0)
                return error_set(err, "--%s: node \"%s\" is %s and not part of the chain", option,
                                 g->dropped[i].id,
                                 i < g->dropped_inputs ? "an input" : "an output that nobody uses");
        if (node < 0)
            return error_set(err, "--%s: \"%.*s\" is no node of %s", option,
                             (int)(length < 64 ? length : 64), at, g->file->name);
        if (node < p->first || node == g->count - 1)
            return error_set(err,
                             "--%s: nothing lies %s node \"%s\", expected a node that ends a block",
                             option, node < p->first ? "before" : "behind", g->nodes[node].id);
        if (!g->cut[node])
            return graph_fail(
                g, node, err,
                "--%s: not all paths go through node \"%s\", the next such node is \"%s\"", option,
                g->nodes[node].id, g->nodes[next_cut(g, node)].id);
        if (p->blocks && node <= p->last[p->blocks - 1])
            return error_set(err,
                             "--%s: node \"%s\" does not come after \"%s\", expected them in the "
                             "order of the chain",
                             option, g->nodes[node].id, g->nodes[p->last[p->blocks - 1]].id);
        if (close_block(p, node, err) != 0) return -1;
        at += length;
        if (!*at) return close_block(p, g->count - 1, err);
    }
}

static int read_profile(PipedreamProfile *p, const ImportFile *file, const char *cuts,
                        const char *option, Text *moved, Arena *arena, Error *err)
{
    *p = (PipedreamProfile){.last = arena_alloc(arena, TRACE_MAX_BLOCKS, sizeof *p->last),
                            .moved = moved};
    if (!p->last) return error_no_memory(err);
    if (graph_read(&p->graph, file, arena, err) != 0) return -1;
    p->first = p->graph.input ? 1 : 0;
    if (p->first == p->graph.count)
        return graph_fail(&p->graph, 0, err, "no node but the input, expected a network");
    bool staged = false;
    for (int i = p->first; i < p->graph.count; i++) {
        staged |= p->graph.nodes[i].stage >= 0;
        p->merged += !p->graph.cut[i];
    }
    if (cuts) return blocks_of_cuts(p, cuts, option, err);
    return staged ? blocks_of_stages(p, err) : blocks_of_parts(p, err);
}

/* ---- the trace ------------------------------------------------------------------------------ */

/* What of one sample passes on after a node: a whole number, or --batch is wrong. */
static int boundary_bytes(const ImportGraph *g, int node, int64_t batch, int64_t *out, Error *err)
{
    double bytes = g->nodes[node].activation_bytes;

    if (bytes != floor(bytes) || fmod(bytes, (double)batch) != 0)
        return graph_fail(
            g, node, err,
            "activation_size=%.3f is no whole number of bytes a sample at --batch %" PRId64, bytes,
            batch);
    *out = (int64_t)bytes / batch;
    return 0;
}

/* Rounded up. What is beyond any trace stays beyond, and within an int64_t. */
static int64_t whole(double bytes)
{
    return bytes < 0x1p60 ? (int64_t)ceil(bytes) : (int64_t)1 << 60;
}

typedef struct {
    double forward_ms, backward_ms, parameter_bytes, inner_bytes, widest_bytes;
} NodeSums;

/* inner: outputs of all nodes but the last; widest: the largest input plus output of one. */
static NodeSums add_up(const PipedreamProfile *p, int block)
{
    NodeSums sums = {0};

    for (int i = first_of(p, block); i <= p->last[block]; i++) {
        const GraphNode *node = &p->graph.nodes[i];
        double           both = p->graph.input_bytes[i] + node->activation_bytes;
        sums.forward_ms += node->forward_ms;
        sums.backward_ms += node->backward_ms;
        sums.parameter_bytes += node->parameter_bytes;
        if (i < p->last[block]) sums.inner_bytes += node->activation_bytes;
        if (both > sums.widest_bytes) sums.widest_bytes = both;
    }
    return sums;
}

static int name_block(TraceBlock *block, const PipedreamProfile *p, int b, Arena *arena, Error *err)
{
    const char *first = p->graph.nodes[first_of(p, b)].id, *last = p->graph.nodes[p->last[b]].id;
    Text        name = {0};

    text_printf(&name, "%s%s%s", first, first == last ? "" : "-", first == last ? "" : last);
    block->name = text_failed(&name) ? NULL : arena_strdup(arena, text_string(&name));
    text_free(&name);
    return block->name ? 0 : error_no_memory(err);
}

/* Fills in block b: sizes in bytes a sample, times of a full batch. The student's and the teacher's
 * block have to end with as many bytes, as one is compared with the other. */
static int fill_block(Trace *trace, const PipedreamProfile *teacher,
                      const PipedreamProfile *student, int b, Error *err)
{
    TraceBlock *block = &trace->blocks[b];
    NodeSums        t = add_up(teacher, b), s = add_up(student, b);
    int64_t     bytes;

    if (name_block(block, teacher, b, &trace->arena, err) != 0) return -1;
    if (boundary_bytes(&teacher->graph, teacher->last[b], trace->batch, &block->output_bytes, err)
        != 0)
        return -1;
    if (boundary_bytes(&student->graph, student->last[b], trace->batch, &bytes, err) != 0)
        return -1;
    if (bytes != block->output_bytes)
        return graph_fail(&student->graph, student->last[b], err,
                          "block %d ends with %" PRId64 " bytes a sample at node "
                          "\"%s\", but the teacher's with %" PRId64 " at \"%s\": expected the same",
                          b, bytes, student->graph.nodes[student->last[b]].id, block->output_bytes,
                          teacher->graph.nodes[teacher->last[b]].id);
    block->teacher_weight_bytes = whole(t.parameter_bytes);
    block->teacher_activation_bytes = whole(t.widest_bytes / (double)trace->batch);
    block->student_weight_bytes = block->gradient_bytes = whole(s.parameter_bytes);
    block->student_activation_bytes = whole(s.inner_bytes / (double)trace->batch);
    return import_timing(trace, b, trace->batch, t.forward_ms, s.forward_ms, s.backward_ms,
                         teacher->graph.file, teacher->graph.nodes[first_of(teacher, b)].line, err);
}

/* "node1, node7 and 3 more". */
static void list_nodes(Text *notes, const GraphNode *nodes, int count)
{
    enum { SHOWN = 12 };

    for (int i = 0; i < count && i < SHOWN; i++)
        text_printf(notes, "%s%s (%s)", i ? ", " : " ", nodes[i].id, nodes[i].description);
    if (count > SHOWN) text_printf(notes, " and %d more", count - SHOWN);
}

/* What is not in the chain. */
static void note_dropped(Text *notes, const ImportGraph *g, const char *whose)
{
    int    outputs = g->dropped_count - g->dropped_inputs;
    double ms = 0;

    for (int i = 0; i < g->dropped_inputs; i++) ms += g->dropped[i].forward_ms;
    if (g->dropped_inputs) {
        text_printf(notes, " Dropped, inputs of the %s, which all blocks have at hand:", whose);
        list_nodes(notes, g->dropped, g->dropped_inputs);
        if (ms > 0) text_printf(notes, ", %.3f ms", ms);
        text_append(notes, ".");
    }
    if (outputs) {
        text_printf(notes, " Dropped, outputs of the %s that nobody uses:", whose);
        list_nodes(notes, g->dropped + g->dropped_inputs, outputs);
        text_append(notes, ".");
    }
}

/* Where a graph that is no chain is cut. */
static void note_cuts(Text *notes, const PipedreamProfile *p, const char *whose)
{
    enum { SHOWN = 12 };

    if (!p->merged || p->blocks < 2) return;
    text_printf(notes, " The %s is cut behind", whose);
    for (int b = 0; b + 1 < p->blocks && b < SHOWN; b++)
        text_printf(notes, "%s%s", b ? ", " : " ", p->graph.nodes[p->last[b]].id);
    if (p->blocks - 1 > SHOWN) text_printf(notes, " and %d more", p->blocks - 1 - SHOWN);
    text_append(notes, ".");
}

/* The trace's notes: which profile gives which times, what no profile has, where branches were
 * merged or nodes left out, and what is assumed in place of it. */
static void note(Text *notes, const PipedreamProfile *teacher, const PipedreamProfile *student,
                 int64_t batch)
{
    text_printf(notes,
                "PipeDream profiles, teacher %d nodes, student %d, one batch of %" PRId64
                ". Teacher = forward of "
                "its profile, taken while training; student = forward and backward of its own. Not "
                "in the profiles: "
                "the loss, the update, other batches, links, the loader.",
                teacher->graph.count, student->graph.count, batch);
    if (teacher->merged + student->merged)
        text_printf(notes,
                    " Branches are whole parts of the chain: %d nodes of the teacher and %d of the "
                    "student are "
                    "followed by no cut.",
                    teacher->merged, student->merged);
    note_cuts(notes, teacher, "teacher");
    note_cuts(notes, student, "student");
    note_dropped(notes, &teacher->graph, "teacher");
    note_dropped(notes, &student->graph, "student");
    if (teacher->graph.input && teacher->graph.nodes[0].forward_ms > 0)
        text_printf(notes, " Left out: %.3f ms of the input node \"%s\", which wait for data.",
                    teacher->graph.nodes[0].forward_ms, teacher->graph.nodes[0].id);
    text_append(notes, " Assumed: the student keeps the outputs of all its nodes for the backward; "
                       "gradients are as "
                       "large as parameters.");
}

/* Bytes of a sample of all inputs together; absent where the profile has none. */
static int fill_input(Trace *trace, const ImportGraph *g, Error *err)
{
    double bytes = 0;

    if (g->input && g->nodes[0].activation_bytes > 0)
        return boundary_bytes(g, 0, trace->batch, &trace->input_bytes, err);
    for (int i = 0; i < g->dropped_inputs; i++) bytes += g->dropped[i].activation_bytes;
    if (bytes > 0 && bytes < 0x1p53 && fmod(bytes, (double)trace->batch) == 0)
        trace->input_bytes = (int64_t)bytes / trace->batch;
    return 0;
}

/* The importer of --from pipedream: file is the teacher's profile, --student the student's. Both
 * are cut into as many blocks, by --cuts and --student-cuts or by the profiles' stages. */
static int fill(Trace *trace, Text *moved, const ImportFile *file, const ImportOptions *o,
                Text *notes, Error *err)
{
    PipedreamProfile teacher, student;

    if (!o->student.text)
        return error_set(err,
                         "expected --student PROFILE, the student's profile beside the teacher's");
    if (read_profile(&teacher, file, o->cuts, "cuts", moved, &trace->arena, err) != 0) return -1;
    if (read_profile(&student, &o->student, o->student_cuts, "student-cuts", moved, &trace->arena,
                     err)
        != 0)
        return -1;
    if (teacher.blocks != student.blocks)
        return error_set(err,
                         "%s: %d blocks, but %s has %d: expected as many, by --cuts and "
                         "--student-cuts or stage_id",
                         o->student.name, student.blocks, file->name, teacher.blocks);
    if (fill_input(trace, &teacher.graph, err) != 0) return -1;
    if (import_blocks(trace, teacher.blocks, err) != 0) return -1;
    for (int b = 0; b < teacher.blocks; b++)
        if (fill_block(trace, &teacher, &student, b, err) != 0) return -1;
    note(notes, &teacher, &student, trace->batch);
    text_append(notes, text_string(moved));
    return moved->failed ? error_no_memory(err) : 0;
}

static int read_profiles(Trace *trace, Text *notes, const ImportFile *file, int count,
                         const ImportOptions *o, Error *err)
{
    Text moved = {0};

    (void)count;
    int rc = fill(trace, &moved, file, o, notes, err);
    text_free(&moved);
    return rc;
}

const ImportFormat import_pipedream = {"pipedream", "student cuts student-cuts", 1, false,
                                       read_profiles};
