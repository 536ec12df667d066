/* The workload: N teacher blocks in a chain, a student block for each, or several, read from a file
 * ("pipebd-workload", docs/formats.md), with the shape of everything, and what it costs in
 * parameters, multiply-accumulates and bytes.
 *
 * Shapes are of one sample: channels, height, width. After a flatten or global average
 * pooling a vector has height and width 1. A sequence of T tokens, each a vector of C numbers,
 * is CxTx1: height counts tokens, width is 1; in memory [T][C], as all is with channels last.
 * Token numbers themselves are 1xTx1 (2xTx1 with token types), floats that hold whole numbers.
 *
 * mbconv and separable are short for layers that stand here already expanded; a residual
 * has one path, its body, whose output its input is added to, or a second one, its shortcut,
 * whose output is added instead; a choice has several paths, of which a step takes one (the same
 * for every row of the batch).
 *
 * Names are PyTorch's for nested torch.nn.Sequential: "3" is the fourth layer, "3.1" the
 * second layer of its body and "3.shortcut.1" of its shortcut or, where it is a choice, "3.1.0" the
 * first of its path 1. A parameter is "NAME.weight", "NAME.bias", "NAME.running_mean",
 * "NAME.running_var".
 *
 * Invariants of a Workload that workload_read() returned:
 *   1. a block's teacher and student take the same shape and give the same shape, and
 *      boundary b + 1 is what block b gives and what block b + 1 takes;
 *   2. every layer's out follows from its in; a list's layers fit each other; a residual's
 *      body gives what it takes, or what its shortcut gives; the paths of a choice all give the
 *      same shape;
 *   3. groups divide the channels on both sides; every window lies on its padded input;
 *   4. each student has at least one trained parameter, whatever is chosen or not;
 *   5. the counts below do not overflow: a sample of any shape has at most
 *      WORKLOAD_MAX_ELEMENTS elements, a layer at most WORKLOAD_MAX_PARAMETERS parameters
 *      and WORKLOAD_MAX_MACS multiply-accumulates, a workload at most WORKLOAD_MAX_LAYERS
 *      layers, and no boundary of a batch fills more than 2^53 bytes;
 *   6. names are one line: they hold no control characters;
 *   7. token numbers are the input of an embedding and of nothing else. */
#ifndef WORKLOADS_WORKLOAD_H
#define WORKLOADS_WORKLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/plugin.h"
#include "base/arena.h"
#include "base/error.h"
#include "base/text.h"

enum {
    WORKLOAD_MAX_BLOCKS   = 4096,
    WORKLOAD_MAX_STUDENTS = 16384,       /* of all blocks */
    WORKLOAD_MAX_NAME     = 48,          /* characters of a student's name */
    WORKLOAD_MAX_LAYERS   = 65536,       /* of all blocks, expanded */
    WORKLOAD_MAX_DEPTH    = 4,           /* residuals and choices in each other */
    WORKLOAD_MAX_PATHS    = 64,          /* of a choice */
    WORKLOAD_MAX_SIZE     = 65536,       /* channels, height, width, ... as they stand in the
                                          * file */
    WORKLOAD_MAX_KERNEL   = 256,         /* windows and paddings */
    WORKLOAD_MAX_CHANNELS = 4,           /* of the input */
    WORKLOAD_MAX_VOCABULARY = 300000,    /* and what a linear layer gives */
    WORKLOAD_MAX_TYPES    = 1024         /* token types */
};

#define WORKLOAD_MAX_VECTOR     ((int64_t)1 << 28)       /* of a flatten, of an image that goes
                                                          * in */
/* Of a sample, and of a layer. */
#define WORKLOAD_MAX_ELEMENTS   ((int64_t)1 << 34)
#define WORKLOAD_MAX_PARAMETERS ((int64_t)1 << 34)
#define WORKLOAD_MAX_MACS       ((int64_t)1 << 46)

typedef struct { int channels, height, width; } Shape;

FOR_PLUGINS int64_t shape_count(Shape shape);        /* elements of one sample */
bool    shape_equal(Shape a, Shape b);               /* in all three sizes */

/* "64x8x8": channels x height x width. Returns out. */
enum { SHAPE_TEXT_BYTES = 48 };
const char *shape_text(char out[SHAPE_TEXT_BYTES], Shape shape);

typedef enum {
    LAYER_CONV,
    LAYER_BATCHNORM,
    LAYER_RELU,
    LAYER_RELU6,
    LAYER_MAXPOOL,
    LAYER_AVGPOOL,
    LAYER_LINEAR,
    LAYER_FLATTEN,
    LAYER_RESIDUAL,
    LAYER_CHOICE,
    LAYER_EMBEDDING,
    LAYER_LAYERNORM,
    LAYER_RMSNORM,
    LAYER_GELU,
    LAYER_SILU,
    LAYER_TANH,
    LAYER_GATED,
    LAYER_ATTENTION,
    LAYER_TOKENS,
    LAYER_POOL
} LayerKind;

/* The word of the file: "conv". */
FOR_PLUGINS const char *layer_kind_name(LayerKind kind);

typedef struct Layer Layer;

/* What a batch norm has that does not say (torch.nn.BatchNorm2d). */
#define BATCHNORM_EPS      1e-5
#define BATCHNORM_MOMENTUM 0.1

typedef struct {
    Layer *layer;            /* [count]; count 0 passes its input on (an identity path) */
    int    count;
} Layers;

/* What activations of transformers compute (Hendrycks and Gimpel, Gaussian Error Linear Units,
 * 2016; gelu_tanh is its approximation by a tanh). */
typedef enum {
    FUNCTION_RELU,
    FUNCTION_GELU,
    FUNCTION_GELU_TANH,
    FUNCTION_SILU,
    FUNCTION_TANH
} Function;

/* The word of the file: "gelu_tanh". */
const char *function_name(Function function);

/* Rotary positions (Su et al., RoFormer, 2021) in the half-rotation layout: of the first dim
 * numbers of a head, number i turns with number i + dim / 2 by position / theta^(2 i / dim). factor
 * > 1: angles scaled as Llama 3 does, by wavelength against the original context. */
typedef struct {
    int    dim;              /* 0: none */
    double theta;
    double factor, low, high;            /* 1: not scaled */
    int    original;         /* tokens */
} Rotary;

/* Input of a token: heads x head_dim queries, then kv_heads x head_dim keys, then as many
 * values. */
typedef struct {
    int    heads, kv_heads, head_dim;
    bool   causal;
    int    window;           /* a query sees keys less than this far away; 0: all */
    bool   norm;             /* RMSNorm of each head's queries and keys, before the rotation, with
                              * the layer's eps */
    Rotary rotary;
} Attention;

typedef enum { POOLING_MEAN, POOLING_FIRST } Pooling;

struct Layer {
    LayerKind   kind;
    const char *name;        /* "3.1.0" */
    Shape       in, out;
    int         kernel, stride, padding; /* conv, maxpool, avgpool (kernel 0: global) */
    int         groups;      /* conv: in.channels is depthwise */
    bool        bias;        /* conv, linear, layernorm */
    Layers     *path;        /* [path_count]; a residual's body and, if there is one, shortcut;
                              * several of a choice */
    int         path_count;
    double      eps;         /* batchnorm, layernorm, rmsnorm, attention with norm */
    double      momentum;    /* batchnorm: share of the batch's statistics in the running ones after
                              * a step */
    Function    function;    /* gelu, silu, tanh, gated */
    Attention   attention;
    int         vocabulary, types;       /* embedding; 0 types: tokens have none */
    bool        positions;   /* embedding, tokens: one learnt vector a position */
    bool        class_token; /* tokens: a learnt one before the others */
    Pooling     pooling;     /* pool */
};

/* A tensor that a layer learns or keeps. */
typedef struct {
    const char *what;        /* "weight": the parameter is "NAME.weight" */
    bool        trained;     /* false: running statistics */
    int         rank;
    int64_t     dim[4];
} LayerParameter;

/* The parameters of the layer itself, without its paths; the trained ones first. Returns how many
 * there are. */
enum { LAYER_PARAMETERS_MAX = 4 };
int layer_parameter_list(const Layer *layer, LayerParameter out[LAYER_PARAMETERS_MAX]);
int64_t layer_parameter_count(const LayerParameter *parameter);         /* of its elements */

/* What a student's output is held against the teacher's by: formulas at loss_backward()
 * (kernels/net.h). */
typedef enum {
    LOSS_MSE,
    LOSS_SOFT_CROSS_ENTROPY,
    LOSS_NORMALISED_MSE,
    LOSS_COSINE,
    LOSS_KL,
    LOSS_HARD_CROSS_ENTROPY,
    LOSS_LABEL_CROSS_ENTROPY,
    LOSS_COUNT
} LossKind;

/* The word of the file: "normalised_mse". */
const char *loss_name(LossKind loss);
/* Against the data's labels, not the teacher: a class of the sample's, or at each token the next
 * one. */
static inline bool loss_is_of_labels(LossKind loss) { return loss == LOSS_LABEL_CROSS_ENTROPY; }
bool        loss_is_of_scores(LossKind loss);            /* channels are scores of classes:
                                                          * cross-entropies and kl */

typedef enum { OPTIMIZER_SGD, OPTIMIZER_ADAMW } OptimizerKind;

/* How blocks train; a block may have one of its own. The optimizer and the warm-up are the
 * workload's. */
typedef struct {
    double learning_rate;    /* cosine to 0 over the run */
    double momentum, weight_decay;
    bool   nesterov;
    double beta1, beta2, eps;            /* AdamW's */
    double clip;             /* the most that the norm of a block's gradients may be; 0: anything */
} Training;

/* One of the students that a block lists: candidates for its place, which learn from the same
 * teacher apart from each other. */
typedef struct {
    const char *name;        /* letters, digits, '_' and '-'; the first is a letter */
    Layers      layers;
    int         choices;
} WorkStudent;

typedef struct {
    const char *name;
    Shape       in, out;     /* boundary b, boundary b + 1 */
    Layers      teacher;
    Layers      student;     /* the only one, or the first of students */
    LossKind    loss;
    double      temperature; /* of kl */
    int         choices;     /* of student, in the order of the layers, nested ones included */
    const WorkStudent *students;         /* [student_count] where the file lists them; NULL: one,
                                          * which has no name */
    int         student_count;           /* see block_students() */
    const Training *training;            /* of its own; NULL: the workload's */
} WorkBlock;

typedef struct {
    Arena       arena;       /* owns everything below */
    const char *name;
    Shape       input;
    int         vocabulary;  /* the input is token numbers below this; 0: it is an image */
    int         types;       /* below which token types are, the input's second channel; 0: there
                              * are none */
    int         classes;     /* of the last boundary; 0: not a classifier */
    int64_t     batch, samples;
    OptimizerKind optimizer;
    Training    training;    /* of blocks that have none of their own */
    int64_t     micro_batches;           /* parts that a student's share of a batch goes in
                                          * (base/micro.h); 1: whole */
    int64_t     warm_up;     /* steps in which the learning rate rises first */
    float       mean[WORKLOAD_MAX_CHANNELS], deviation[WORKLOAD_MAX_CHANNELS];
                             /* of the input's channels, for normalisation: (x - mean) / deviation,
                              * x in 0..1 */
    const char *teacher_weights;         /* path, the file's folder included; NULL: random */
    const char *data;        /* default data source as the file has it, "digits", "cifar10:FOLDER";
                              * NULL: synthetic */
    const char *data_source; /* the same, but a relative path begins at the file's folder */
    bool        batch_statistics;        /* "teacher_statistics": "batch": the teacher's batch norms
                                          * normalise by their batch, as in training mode; the model
                                          * prices it, the executor refuses it */
    bool        unaugmented; /* "augment": false: a training sample is the same in every epoch, as
                              * for validation */
    WorkBlock  *block;       /* [block_count] */
    int         block_count;
    uint64_t    hash;        /* FNV-1a (64 bit) of the file's bytes */
} Workload;

/* path, or the name of a bundled one ("digits": workloads/digits.json beside the program's
 * sources or where it is installed; base/bundled.h). What has a slash or ends in .json is a
 * path, "-" is standard input. *out is yours: workload_free() it. Errors carry
 * path:line:column. */
int  workload_read(Workload **out, const char *path, Error *err);

/* The same from memory; name stands for the path in messages and for the folder that
 * teacher_weights are beside. */
int  workload_parse(Workload **out, const char *name, const char *text, size_t length, Error *err);

void workload_free(Workload *workload);

/* The workload's data for another workload's file, path: as it stands beside a file in the same
 * folder, else with an absolute path. Yours; NULL: it names none, or there is no memory. */
char *workload_data_for(const Workload *workload, const char *path);

/* Students of a block. */
int block_students(const WorkBlock *block);

/* The block with one of its students alone, which is then .student. Borrows from block. */
WorkBlock block_with_student(const WorkBlock *block, int student);

/* Which student: what its weights are called by (executor/checkpoint/state.h) and drawn from. */
typedef struct {
    int         block;
    int         student;     /* of the block's */
    const char *name;        /* NULL: it is the block's only one and has none */
} StudentId;

/* Students of all blocks; one of them by its number among all, in the order of blocks; that number;
 * and one of a block. */
int       workload_students(const Workload *workload);
StudentId workload_student(const Workload *workload, int number);
int       workload_student_number(const Workload *workload, int block, int student);
StudentId workload_student_of(const Workload *workload, int block, int student);

/* Each block's number of students, [blocks], yours: free() it. NULL: no memory. */
int *workload_student_counts(const Workload *workload);

/* Whether a block has several. */
bool workload_has_candidates(const Workload *workload);

/* "block3/half", or "block3" where the student has no name. Returns out. */
enum { STUDENT_TEXT_BYTES = 160 };
const char *student_text(char out[STUDENT_TEXT_BYTES], const Workload *workload, StudentId id);

/* Width of a table's column of them: least, or more where students have longer names. */
int student_text_columns(const Workload *workload, int least);

/* What a list such as "half,0,quarter" says: of each block a student, by its name or its number in
 * the block. students: [blocks]. */
int workload_read_students(int *students, const Workload *workload, const char *list, Error *err);

/* The workload with one student a block: students[b] of block b. *out is yours, workload_free() it,
 * before workload, from which it borrows. */
int workload_pick(Workload **out, const Workload *workload, const int *students, Error *err);

/* What the block trains with: its own, or the workload's. */
Training workload_training(const Workload *workload, const WorkBlock *block);

/* Whether a teacher has a batch norm. */
bool workload_normalises(const Workload *workload);

/* Whether the last block gives scores of the next token at each token: token numbers go in, as many
 * scores come out of each, and no attention of the teacher (nor of students that learn from labels)
 * sees what follows. */
bool workload_predicts_tokens(const Workload *workload);

/* Whether there are right answers: the last block classifies or predicts tokens. */
bool workload_has_labels(const Workload *workload);

/* Whether a student has paths to choose from. */
bool workload_has_choices(const Workload *workload);

/* What a list of layers is made of. Of a choice: the least, the mean and the most over its
 * paths; parameters and bytes of weights are those of all paths (they all exist). */
typedef struct {
    int64_t parameters;                  /* weights and biases that are trained */
    int64_t statistics;                  /* running means and variances */
    int64_t macs_least, macs_mean, macs_most;    /* multiply-accumulates, one sample, forward:
                                                  * conv, linear and attention only */
    int64_t activation_bytes;            /* float32 that a backward needs of one sample, mean path:
                                          * inputs of layers that train or are not linear, and for
                                          * each output of maxpool where it came from */
} LayersCost;

/* For one sample; exact whole numbers, whose limits stand at the head of this file. */
LayersCost layers_cost(const Layers *layers);

/* Of one layer alone, without its paths: weight and bias, running statistics, and
 * multiply-accumulates a sample. */
int64_t layer_parameters(const Layer *layer);
int64_t layer_statistics(const Layer *layer);
int64_t layer_macs(const Layer *layer);

/* Calls visit for every layer, depth first, those of all paths: a residual or choice
 * before what is in it. */
typedef void LayerVisit(const Layer *layer, void *context);
void layers_each(const Layers *layers, LayerVisit *visit, void *context);

/* layers_each() of all students of a block. */
void students_each(const WorkBlock *block, LayerVisit *visit, void *context);

/* Whether a step goes through a path of the layer: all of a residual, of a choice the one taken. */
bool layer_runs_path(const Layer *layer, int path, int taken);

/* Choices in a list, nested ones included: those that layers_each() meets. */
int layers_choices(const Layers *layers);

/* The path of each choice of block.student at a step: a pure function of the arguments, uniform
 * over the paths (base/rng.h). choices: [block.choices]. */
void workload_choose(int *choices, const WorkBlock *block, int block_number, uint64_t seed,
                     int64_t step);

/* Paths in turn instead: in so many steps as workload_most_paths() says, each path of each choice
 * is taken. */
void workload_take_turns(int *choices, const WorkBlock *block, int64_t step);
int  workload_most_paths(const Workload *workload);      /* of a choice of any student; 1: there is
                                                          * none */

/* The table of pipebd-run describe: shapes, parameters, MACs, bytes, a row a block. */
void workload_describe(const Workload *workload, Text *out);

/* The same as JSON ("pipebd-description"). */
void workload_describe_json(const Workload *workload, Text *out);

/* The workload as a file that reads back as the same, short forms expanded.
 * teacher_weights, data: what to write for these keys, NULL: leave them out. */
void workload_write(const Workload *workload, const char *teacher_weights, const char *data,
                    Text *out);

#endif
