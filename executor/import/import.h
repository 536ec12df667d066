/* A model as Hugging Face's transformers keep it, config.json and safetensors in a folder, as a workload: Llama, Mistral, Qwen2,
 * Qwen3, GPT-2, BERT, ViT. The students are the teacher's layers; the teacher's weights keep their types. */
#ifndef EXECUTOR_IMPORT_IMPORT_H
#define EXECUTOR_IMPORT_IMPORT_H

#include "base/error.h"
#include "base/text.h"

typedef enum { IMPORT_HEAD_NONE, IMPORT_HEAD_POOLER, IMPORT_HEAD_MEAN } ImportHead;

typedef struct {
    const char *folder;
    int         tokens;      /* of a sequence; 0: the model's most, or 512 where it takes more */
    int         layers_per_block;
    int         batch, samples;
    ImportHead  head;        /* of BERT: what the last block gives instead of all tokens */
} ModelImport;

/* Writes BASE.json and BASE.safetensors. notes: what to know, lines for people. What the model has that workloads do not have
 * is refused by its key, architecture or tensor. */
int import_hf(const ModelImport *options, const char *base, Text *notes, Error *err);

#endif
