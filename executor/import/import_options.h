/* What the import of a Hugging Face model is asked. */
#ifndef EXECUTOR_IMPORT_IMPORT_OPTIONS_H
#define EXECUTOR_IMPORT_IMPORT_OPTIONS_H

typedef enum { IMPORT_HEAD_NONE, IMPORT_HEAD_POOLER, IMPORT_HEAD_MEAN } ImportHead;

typedef struct {
    const char *folder;
    int         tokens;      /* of a sequence; 0: the model's most, or 512 where it takes more */
    int         layers_per_block;
    int         batch, samples;
    double      learning_rate;   /* of AdamW, the largest of a run */
    ImportHead  head;        /* of BERT: what the last block gives instead of all tokens */
} ModelImport;

#endif
