/* pipebd-workload import: a model of another program as a workload and its teacher's weights. */
#include <stdio.h>

#include "executor/import/import.h"
#include "tools/workload/workload.h"

typedef struct {
    const char *output;
    int64_t     tokens, layers, batch, samples;
    double      learning_rate;
    int         from, head;
} ImportArguments;

static int run(const ImportArguments *a, const char *folder, Error *err)
{
    ModelImport options = {.folder = folder, .tokens = (int)a->tokens,
                           .layers_per_block = (int)a->layers, .batch = (int)a->batch,
                           .samples = (int)a->samples, .learning_rate = a->learning_rate,
                           .head = (ImportHead)a->head};
    Text        notes = {0};
    int         rc = import_hf(&options, a->output, &notes, err);

    if (rc == 0) {
        fputs(text_string(&notes), stderr);
        fprintf(stderr, "%s.json, %s.safetensors\n", a->output, a->output);
    }
    text_free(&notes);
    return rc;
}

static int check_usage(const ImportArguments *a, Error *err)
{
    if (a->from == NO_CHOICE) return error_set(err, "expected --from hf, see --help");
    if (!(a->learning_rate > 0 && a->learning_rate <= 1e6))
        return error_set(err, "--learning-rate: expected a number above 0, at most 1e6");
    return a->output ? 0 : error_set(err, "expected -o BASE, see --help");
}

int workload_import_tool(int argc, char **argv)
{
    static const char *const formats[] = {"hf", NULL}, *const heads[] = {"none", "pooler", "mean",
                                                                         NULL};
    ImportArguments a = {.layers = 1, .batch = 8, .samples = 10000, .learning_rate = 5e-4,
                         .from = NO_CHOICE};
    Option table[] = {
        {"from", 0, OPTION_CHOICE, "hf",
         "Format of FOLDER; hf: Hugging Face transformers (config.json, safetensors).", &a.from, 0,
         0, formats, false},
        {"output", 'o', OPTION_STRING, "BASE",
         "Write BASE.json, and BASE.safetensors with the teacher's weights.", &a.output, 0, 0, NULL,
         false},
        {"tokens", 0, OPTION_INTEGER, "N",
         "Length of a sequence (default: the model's limit, but at most 512).", &a.tokens, 1, 65536,
         NULL, false},
        {"layers-per-block", 0, OPTION_INTEGER, "N", "Layers in a block.", &a.layers, 1, 4096, NULL,
         false},
        {"batch", 0, OPTION_INTEGER, "N", "Global batch of the workload.", &a.batch, 1, 1 << 20,
         NULL, false},
        {"samples", 0, OPTION_INTEGER, "N", "Samples in an epoch of the workload.", &a.samples, 1,
         1 << 30, NULL, false},
        {"learning-rate", 0, OPTION_NUMBER, "RATE", "Largest learning rate of AdamW.",
         &a.learning_rate, 0, 0, NULL, false},
        {"head", 0, OPTION_CHOICE, "none|pooler|mean",
         "BERT: output of the last block: all tokens, the pooler's vector, or the mean "
         "of the tokens.", &a.head, 0, 0, heads, false},
        {0},
    };
    Options  options = {
         "pipebd-workload import", "--from hf FOLDER -o BASE [options]",
         "Makes a workload from a pretrained model: Llama, Mistral, Qwen2, Qwen3, GPT-2, BERT or "
         "ViT. The students have the teacher's layers.",
         table, NULL};
    const char *folder;
    Error       err = {""};
    int         status;

    if (!workload_operand(&folder, &options, argc, argv, "FOLDER", &status)) return status;
    if (check_usage(&a, &err) != 0) status = EXIT_USAGE;
    else status = run(&a, folder, &err) == 0 ? EXIT_OK : EXIT_FAILED;
    return workload_end(&options, status, &err);
}
