/* A model as Hugging Face's transformers keep it, config.json and safetensors in a folder, as a
 * workload: Llama, Mistral, Qwen2, Qwen3, GPT-2, BERT, ViT. The students are the teacher's layers;
 * the teacher's weights keep their types. */
#ifndef EXECUTOR_IMPORT_IMPORT_H
#define EXECUTOR_IMPORT_IMPORT_H

#include "base/error.h"
#include "base/text.h"
#include "executor/import/import_options.h"

/* Writes BASE.json and BASE.safetensors. notes: what to know, lines for people. What the model has
 * that workloads do not have is refused by its key, architecture or tensor. */
int import_hf(const ModelImport *options, const char *base, Text *notes, Error *err);

#endif
