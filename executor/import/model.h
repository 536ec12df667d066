/* A workload and its teacher's weights under construction: layers one after another, each with the
 * tensors that it takes from the model. The first error is kept and later calls do nothing. */
#ifndef EXECUTOR_IMPORT_MODEL_H
#define EXECUTOR_IMPORT_MODEL_H

#include "base/arena.h"
#include "base/text.h"
#include "executor/import/config.h"
#include "executor/import/import_options.h"
#include "executor/import/sources.h"

enum { MODEL_DEPTH = 3 };

/* A tensor of the result. */
typedef struct {
    const char *name, *dtype;
    int         element_bytes, rank;
    int64_t     dim[4];
    const SourceTensor *part[3];         /* rows one after another */
    int         parts;
    bool        transposed;  /* of the one part: [in][out] becomes [out][in] */
} ModelTensor;

typedef struct {
    Sources             *sources;
    ModelConfig          config;
    const ModelImport *options;
    Arena                arena;          /* names */
    const char          *prefix;         /* of the model's tensors: "model.", "" */
    Text                 input, layers, blocks, notes;
    int                  block, layer[MODEL_DEPTH], depth;       /* layer: the next one's place */
    int                  classes;        /* 0: none */
    int                  transformer_layers;     /* of the block */
    char                 current[64];    /* "blocks.0.3.1" of the last layer */
    ModelTensor         *tensor;         /* [tensor_count] */
    size_t               tensor_count, tensor_room;
} Model;

/* Whether nothing failed yet; errors are in config.err. */
bool model_works(const Model *m);
void model_fail(Model *m, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A name of the model's tensors, prefix in front; in the arena. */
const char *model_name(Model *m, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- layers ---- */

/* The keys of a layer behind "layer", as JSON: model_layer(m, "linear", "\"out\": %d", 5). */
void model_layer(Model *m, const char *kind, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void model_residual(Model *m);
void model_residual_end(Model *m);

/* Between transformer layers: a block ends behind as many as the options say. Before what follows
 * the last of them: model_layers_end(), if anything follows that is a block of its own. */
void model_transformer_layer_end(Model *m, bool last);
void model_layers_end(Model *m);         /* a block of transformer layers: "b0", "b1", ... */
void model_block_end(Model *m, const char *name, const char *loss);

/* ---- with their tensors; names are those of modules, "h.0.mlp.c_fc" ---- */

/* One linear layer of several that see the same: rows one after another. transposed: weights are
 * [in][out]. */
void model_linear(Model *m, int in, int out, const char *const *modules, int count,
                  bool transposed);
void model_norm(Model *m, const char *kind, double eps, int channels, const char *module);

/* The last layer's parameter "what" from a tensor of that name; columns 0: a vector. cut: the
 * source may have more rows. */
void model_take(Model *m, const char *what, int64_t rows, int64_t columns, const char *name,
                bool cut);

/* The same of a convolution's weight, [out][channels][kernel][kernel]. */
void model_take_conv(Model *m, const char *what, int64_t out, int64_t channels, int64_t kernel,
                     const char *name);

/* The words of an activation: "silu", or refused at the key. In JSON as a layer's kind and keys. */
typedef struct { const char *kind, *keys, *gate; } ModelFunction;
ModelFunction model_function(Model *m, const char *key, const char *fallback);

/* ---- families ---- */

typedef void ModelFamily(Model *m);
ModelFamily model_llama, model_gpt2, model_bert, model_vit;

#endif
