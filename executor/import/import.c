#include "executor/import/import.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "executor/import/model.h"
#include "workloads/workload.h"

/* ---- which ------------------------------------------------------------------------ */

static const struct {
    const char  *architecture;
    ModelFamily *family;
    const char  *positions;  /* the key of how many tokens it takes; NULL: images */
} FAMILIES[] = {
    {"LlamaForCausalLM", model_llama, "max_position_embeddings"},
    {"MistralForCausalLM", model_llama, "max_position_embeddings"},
    {"Qwen2ForCausalLM", model_llama, "max_position_embeddings"},
    {"Qwen3ForCausalLM", model_llama, "max_position_embeddings"},
    {"GPT2LMHeadModel", model_gpt2, "n_positions"},
    {"BertModel", model_bert, "max_position_embeddings"},
    {"BertForMaskedLM", model_bert, "max_position_embeddings"},
    {"BertForPreTraining", model_bert, "max_position_embeddings"},
    {"ViTModel", model_vit, NULL},
    {"ViTForImageClassification", model_vit, NULL},
};

enum { FAMILY_COUNT = sizeof FAMILIES / sizeof *FAMILIES, TOKENS_MOST = 512 };

static int family_of(ModelConfig *c)
{
    JsonAt      list = json_member(&c->root, "architectures"), first;
    const char *name = "";
    Text        known = {0};

    if (json_get_array(&list, 1, c->err) != 0) { c->failed = true; return 0; }
    first = json_element(&list, 0);
    if (json_get_line(&first, &name, c->err) != 0) { c->failed = true; return 0; }
    for (int i = 0; i < FAMILY_COUNT; i++)
        if (strcmp(FAMILIES[i].architecture, name) == 0) return i;
    for (int i = 0; i < FAMILY_COUNT; i++)
        text_printf(&known, "%s%s", i ? ", " : "", FAMILIES[i].architecture);
    config_refuse(c, "architectures", "%s is not imported, expected one of: %s", name,
                  text_string(&known));
    text_free(&known);
    return 0;
}

/* Keys that change what is computed and that no family here has. */
static void refuse_others(ModelConfig *c)
{
    static const char *const keys[] = {
        "quantization_config",     "num_local_experts",     "num_experts", "attn_logit_softcapping",
        "final_logit_softcapping", "query_pre_attn_scalar", NULL};

    for (int i = 0; keys[i]; i++)
        if (config_has(c, keys[i])) config_refuse(c, keys[i], "a model with it is not imported");
}

/* What the model has more of than the families use. */
static bool is_left_out(const char *name)
{
    static const char *const ends[] = {".attn.bias", ".attn.masked_bias", "rotary_emb.inv_freq",
                                       "embeddings.position_ids", NULL};
    static const char *const starts[] = {"cls.",        "pooler.",        "bert.pooler.",
                                         "vit.pooler.", "lm_head.weight", NULL};

    for (int i = 0; ends[i]; i++) {
        size_t length = strlen(ends[i]), all = strlen(name);
        if (all >= length && strcmp(name + all - length, ends[i]) == 0) return true;
    }
    for (int i = 0; starts[i]; i++)
        if (strncmp(name, starts[i], strlen(starts[i])) == 0) return true;
    return false;
}

static void check_all_used(Model *m)
{
    for (int i = 0; i < sources_count(m->sources); i++) {
        const SourceTensor *t = sources_at(m->sources, i);
        if (t->used) continue;
        if (!is_left_out(t->name))
            model_fail(m, "tensor \"%s\" has no place in this architecture", t->name);
        else if (strncmp(t->name, "lm_head", 7) != 0 && strstr(t->name, "weight"))
            text_printf(&m->notes, "left out: %s\n", t->name);
    }
}

static void note_dropout(Model *m)
{
    static const char *const keys[] = {"attention_dropout", "attn_pdrop", "embd_pdrop",
                                       "resid_pdrop", "hidden_dropout_prob",
                                       "attention_probs_dropout_prob", NULL};

    for (int i = 0; keys[i]; i++)
        if (config_number_or(&m->config, keys[i], 0) > 0) {
            text_append(&m->notes, "dropout is off\n");
            return;
        }
}

/* ---- the result -------------------------------------------------------------------- */

/* The header of safetensors: its length in 8 bytes, then JSON with type, shape and place of each
 * tensor, padded to 8 bytes. */
static void write_header(Text *header, const Model *m)
{
    uint64_t begin = 0, length;

    text_append_bytes(header, (const char[8]){0}, 8);
    for (size_t i = 0; i < m->tensor_count; i++) {
        const ModelTensor *t = &m->tensor[i];
        uint64_t           bytes = (uint64_t)t->element_bytes;

        text_append(header, i ? "," : "{");
        text_json_string(header, t->name);
        text_printf(header, ":{\"dtype\":\"%s\",\"shape\":[", t->dtype);
        for (int d = 0; d < t->rank; d++) {
            text_printf(header, "%s%lld", d ? "," : "", (long long)t->dim[d]);
            bytes *= (uint64_t)t->dim[d];
        }
        text_printf(header, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)begin,
                    (unsigned long long)(begin + bytes));
        begin += bytes;
    }
    text_append(header, "}");
    while (header->length % 8 != 0 && !text_failed(header)) text_append(header, " ");
    if (text_failed(header)) return;
    length = header->length - 8;
    memcpy(header->bytes, &length, sizeof length);
}

/* [rows][columns] becomes [columns][rows]. */
static void *transposed(const ModelTensor *t)
{
    int64_t     rows = t->dim[1], columns = t->dim[0];   /* of the source */
    size_t      each = (size_t)t->element_bytes;
    const char *from = t->part[0]->bytes;
    char       *to = malloc((size_t)(rows * columns) * each + 1);

    for (int64_t r = 0; to && r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            memcpy(to + (size_t)(c * rows + r) * each, from + (size_t)(r * columns + c) * each,
                   each);
    return to;
}

/* Bytes of the tensor that a part of it has; a part may have more rows than are taken. */
static size_t part_bytes(const ModelTensor *t, int part)
{
    int64_t all = 1, taken = t->part[part]->count;

    for (int d = 0; d < t->rank; d++) all *= t->dim[d];
    return (size_t)(taken < all ? taken : all) * (size_t)t->element_bytes;
}

/* Writes all tensors to path as safetensors, as pieces: the header, parts of mapped files as they
 * lie there, and copies of those that are stored the other way round. */
static int write_weights(const Model *m, const char *path, Error *err)
{
    Text       header = {0};
    size_t     count = 1, copies = 0;
    FilePiece *piece = calloc(3 * m->tensor_count + 1, sizeof *piece);
    void     **copy = calloc(m->tensor_count + 1, sizeof *copy);
    int        rc = -1;

    write_header(&header, m);
    if (!piece || !copy || text_failed(&header)) { error_no_memory(err); goto done; }
    piece[0] = (FilePiece){header.bytes, header.length};
    for (size_t i = 0; i < m->tensor_count; i++) {
        const ModelTensor *t = &m->tensor[i];

        if (t->transposed) {
            copy[copies] = transposed(t);
            if (!copy[copies]) { error_no_memory(err); goto done; }
            piece[count++] = (FilePiece){copy[copies++], part_bytes(t, 0)};
        } else
            for (int p = 0; p < t->parts; p++)
                piece[count++] = (FilePiece){t->part[p]->bytes, part_bytes(t, p)};
    }
    rc = file_write_pieces(path, piece, count, err);
done:
    for (size_t i = 0; i < copies; i++) free(copy[i]);
    free(copy);
    free(piece);
    text_free(&header);
    return rc;
}

static void write_workload(const Model *m, const char *name, const char *weights, Text *out)
{
    const ModelImport *o = m->options;

    text_append(out, "{\n  \"format\": \"pipebd-workload\", \"version\": 1,\n  \"name\": ");
    text_json_string(out, name);
    text_printf(out, ",\n  \"input\": %s,\n", text_string(&m->input));
    if (m->classes > 0) text_printf(out, "  \"classes\": %d,\n", m->classes);
    text_printf(out, "  \"batch\": %d, \"samples\": %d,\n", o->batch, o->samples);
    text_printf(out, "  \"training\": {\"optimizer\": \"adamw\", \"learning_rate\": %.9g, "
                     "\"warm_up\": 20, \"clip\": 1, \"weight_decay\": 0},\n"
                     "  \"teacher_weights\": ", o->learning_rate);
    text_json_string(out, weights);
    text_printf(out, ",\n  \"blocks\": [%s\n  ]\n}\n", text_string(&m->blocks));
}

/* ---- a tensor for each parameter ---------------------------------------------------- */

typedef struct {
    const Model *m;
    int          block;
    size_t       found;      /* tensors are in the order of the layers */
    bool         fits;
} Fit;

static void fit_layer(const Layer *layer, void *context)
{
    Fit           *fit = context;
    LayerParameter list[LAYER_PARAMETERS_MAX];
    int            count = layer_parameter_list(layer, list);

    for (int i = 0; i < count; i++) {
        char               name[128];
        const ModelTensor *t =
            fit->found < fit->m->tensor_count ? &fit->m->tensor[fit->found++] : NULL;
        snprintf(name, sizeof name, "blocks.%d.%s.%s", fit->block, layer->name, list[i].what);
        if (!t || strcmp(t->name, name) != 0 || t->rank != list[i].rank) {
            fit->fits = false;
            return;
        }
        for (int d = 0; d < t->rank; d++) fit->fits = fit->fits && t->dim[d] == list[i].dim[d];
    }
}

/* What stands in the workload and what stands in the weights was written by two hands. */
static bool fits(const Model *m, const Workload *workload)
{
    Fit fit = {.m = m, .fits = true};

    for (; fit.block < workload->block_count; fit.block++)
        layers_each(&workload->block[fit.block].teacher, fit_layer, &fit);
    return fit.fits && fit.found == m->tensor_count;
}

static const char *file_of(const char *path) { return path + file_folder_length(path); }

/* Refuses to write over the model. */
static int check_other_files(const Model *m, const char *json, const char *weights, Error *err)
{
    Text        config = {0};
    const char *taken = sources_are_in(m->sources, weights) ? weights : NULL;
    int         rc = 0;

    text_printf(&config, "%s/config.json", m->options->folder);
    if (file_same(text_string(&config), json)) taken = json;
    if (text_failed(&config)) rc = error_no_memory(err);
    else if (taken) rc = error_set(err, "%s: is read, expected another name", taken);
    text_free(&config);
    return rc;
}

/* Writes BASE.json and BASE.safetensors. Before that the workload is read back as its users will,
 * and its parameters are compared with the tensors: a model that was read wrongly leaves no file.
 * The workload comes last, as it names the weights. */
static int write_all(Model *m, const char *base, Error *err)
{
    Text      json = {0}, path = {0}, weights = {0};
    Workload *workload = NULL;
    int       rc = -1;

    text_printf(&path, "%s.json", base);
    text_printf(&weights, "%s.safetensors", base);
    write_workload(m, file_of(base), file_of(text_string(&weights)), &json);
    if (text_failed(&json) || text_failed(&path) || text_failed(&weights)
        || text_failed(&m->blocks)) {
        error_no_memory(err);
        goto done;
    }
    if (check_other_files(m, text_string(&path), text_string(&weights), err) != 0) goto done;
    if (workload_parse(&workload, text_string(&path), text_string(&json), json.length, err) != 0)
        goto done;
    if (!fits(m, workload)) {
        error_set(err, "%s: its tensors do not fit its layers", m->options->folder);
        goto done;
    }
    if (write_weights(m, text_string(&weights), err) != 0) goto done;
    rc = file_write(text_string(&path), text_string(&json), json.length, err);
done:
    workload_free(workload);
    text_free(&json);
    text_free(&path);
    text_free(&weights);
    return rc;
}

/* ---- whole ------------------------------------------------------------------------- */

/* Of a sequence, where the options do not say. */
static void set_tokens(Model *m, ModelImport *options, const char *key)
{
    int most;

    if (!key) return;
    most = config_size(&m->config, key);
    if (options->tokens == 0) options->tokens = most < TOKENS_MOST ? most : TOKENS_MOST;
    if (options->tokens > most)
        config_refuse(&m->config, key, "%d, and --tokens asks for %d", most, options->tokens);
}

static int import(Model *m, int family, ModelImport *options, const char *base, Text *notes,
                  Error *err)
{
    if (model_works(m)) set_tokens(m, options, FAMILIES[family].positions);
    if (options->head != IMPORT_HEAD_NONE && FAMILIES[family].family != model_bert)
        model_fail(m, "only BERT has heads to choose from");
    if (model_works(m)) FAMILIES[family].family(m);
    if (model_works(m)) check_all_used(m);
    if (model_works(m)) note_dropout(m);
    if (!model_works(m) || write_all(m, base, err) != 0) return -1;
    text_append(notes, text_string(&m->notes));
    return 0;
}

int import_hf(const ModelImport *options, const char *base, Text *notes, Error *err)
{
    ModelImport mine = *options;
    Model         m = {.options = &mine, .prefix = ""};
    Text          path = {0};
    Json         *doc = NULL;
    int           rc = -1, family;

    text_printf(&path, "%s/config.json", options->folder);
    if (text_failed(&path)) { error_no_memory(err); goto done; }
    if (json_doc_read(&doc, text_string(&path), err) != 0) goto done;
    m.config = (ModelConfig){.root = json_root(doc), .err = err};
    if (json_get_object(&m.config.root, err) != 0) goto done;
    family = family_of(&m.config);
    if (model_works(&m)) refuse_others(&m.config);
    if (!model_works(&m) || sources_open(&m.sources, options->folder, err) != 0) goto done;
    rc = import(&m, family, &mine, base, notes, err);
done:
    sources_free(m.sources);
    json_doc_free(doc);
    text_free(&path);
    text_free(&m.input);
    text_free(&m.layers);
    text_free(&m.blocks);
    text_free(&m.notes);
    free(m.tensor);
    arena_free(&m.arena);
    return rc;
}
