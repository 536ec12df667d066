/* A data set: samples by number, as tensors of the workload's input. Thread-safe after
 * data_open().
 *
 *     synthetic            random numbers, labels by sample (any input shape)
 *     digits               the bundled optical digits (data/README.md): 1 x 8 x 8
 *     cifar10:FOLDER       the binary files data_batch_1..5.bin, test_batch.bin: 3 x 32 x 32
 *     images:FOLDER        FOLDER/train/CLASS/NAME.jpg, FOLDER/val/CLASS/NAME.jpg: random
 *                          resized crop and flip for training, resize and centre crop for
 *                          validation; a class's label is its place by name
 *     tensors:FOLDER       FOLDER/train.safetensors, FOLDER/val.safetensors: inputs as PyTorch has
 *                          them, and labels
 *     tokens:FOLDER        FOLDER/train.bin, FOLDER/val.bin: token numbers of 16 bits, or as
 *                          llm.c's header says
 *     tokens32:FOLDER      of 32 bits
 *     bytes:FOLDER         FOLDER/train.txt, FOLDER/val.txt: bytes as tokens
 *
 * docs/data.md says what each does to an image. What a sample is made into is a pure function
 * of (seed, epoch, sample). */
#ifndef EXECUTOR_DATA_DATA_H
#define EXECUTOR_DATA_DATA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "workloads/workload.h"

#define DATA_SOURCES                                                                    \
    "synthetic, digits, cifar10:FOLDER, images:FOLDER, tensors:FOLDER, tokens:FOLDER, " \
    "tokens32:FOLDER, bytes:FOLDER" /* for messages and help */

typedef struct Data Data;
typedef enum { DATA_TRAIN, DATA_VALIDATION } DataPart;

/* Opens a part of a source for the workload's input and classes; an input of another shape
 * than the source's own is an error. skip_bad: at most so many damaged samples are replaced
 * by the next good one. Copies what it needs of workload. */
int  data_open(Data **out, const char *source, const Workload *workload, DataPart part,
               int64_t skip_bad, Error *err);
void data_free(Data *data);

/* Refuses a text that names no source, whatever there is in folders. */
int  data_check_source(const char *source, Error *err);

int64_t data_count(const Data *data);        /* at least 1 */

/* From now on the data has its first count samples only, at most those it was opened with. No other
 * thread may use it meanwhile. */
void data_limit(Data *data, int64_t count);
int64_t data_elements(const Data *data);     /* floats of a sample */

/* Whether samples are sequences of lengths of their own, and the tokens of sample i that count: the
 * others are 0. */
bool    data_is_uneven(const Data *data);
int     data_length(const Data *data, int64_t i);
/* Sets the function that reports each skipped damaged sample, once, in the thread that met it: how
 * many were skipped before, and what is wrong with this one. Call it before data_load(). */
typedef void DataTell(void *context, int64_t before, const char *why);
void data_tell_skipped(Data *data, DataTell *tell, void *context);

int64_t data_skipped(const Data *data);      /* damaged samples met so far, each once */

/* Whether a sample is another in every epoch: data_load() needs the epoch. */
bool data_augments(const Data *data);

/* Tells data sets apart by what samples are made of, before they are normalised: the bytes of
 * cifar10, tensors and tokens; of images their names and sizes, and the bytes of 256 of them,
 * evenly spread. */
int  data_hash(uint64_t *out, const Data *data, Error *err);

/* Sample 0 <= i < count, augmented for an epoch (training only), normalised, to out:
 * [height][width][channels]; label: 0.., -1 when there is none. A damaged sample is an error
 * that names file and sample, unless it may be skipped. */
int data_load(Data *data, int64_t i, uint64_t seed, int64_t epoch, float *out, int *label,
              Error *err);

/* What samples are labelled with: a class each, or at each of so many tokens the next one. Whether
 * the data has that. */
bool data_has_labels(const Data *data);

/* The labels of sample i as data_load() would have it: one, or [tokens] of a text, -1 where none
 * follows. */
int data_labels(Data *data, int64_t i, int *out, Error *err);

/* The sample of a position (step * batch + row) of an epoch: a permutation of 0..samples-1
 * that differs by (seed, epoch), computed for one position in O(1), and gone through again
 * from its start by positions >= samples, so that every step is a full batch. samples >= 1. */
int64_t data_order(int64_t samples, uint64_t seed, int64_t epoch, int64_t position);

#endif
