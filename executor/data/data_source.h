/* What a data source is made of; for data.c and the sources' own files only. */
#ifndef EXECUTOR_DATA_DATA_SOURCE_H
#define EXECUTOR_DATA_DATA_SOURCE_H

#include "executor/data/data.h"

/* What every source knows of the workload. */
typedef struct {
    Shape    shape;
    int      vocabulary, types;  /* of tokens; vocabulary 0: the input is an image */
    int      classes;            /* 0: labels are not wanted */
    int64_t  samples;            /* the workload's, for sources that can have any number */
    float    mean[WORKLOAD_MAX_CHANNELS], deviation[WORKLOAD_MAX_CHANNELS];     /* of channels */
    DataPart part;
    bool     augment;            /* samples differ by epoch: for training, unless the workload says
                                  * no */
    bool     lenient;            /* some damaged samples may be skipped */
} DataWants;

/* A kind of source, "NAME" or "NAME:FOLDER". open() gives its own state and its number of
 * samples (at least 1); a state that it gives is freed, also after an error. load() makes sample i,
 * says whether a failure is damage (that may be skipped) in *damaged, and runs in several threads
 * at once. */
typedef struct {
    const char *name;
    bool        folder;          /* has one */
    int (*open)(void **out, int64_t *count, const char *folder, const DataWants *wants, Error *err);
    void (*free)(void *state);
    int (*load)(void *state, int64_t i, uint64_t seed, int64_t epoch, float *out, int *label,
                bool *damaged, Error *err);
    bool (*uneven)(const void *state);                   /* samples have lengths of their own; NULL:
                                                          * none do */
    int  (*length)(const void *state, int64_t i);        /* tokens of sample i that count */
    bool augments;               /* where wants.augment is set */
    int (*hash)(void *state, uint64_t *hash, Error *err); /* continues the hash over what samples
                                                           * are made of; NULL: the shape and their
                                                           * number say it all */
    int  (*label)(const void *state, int64_t i);         /* of sample i, without loading it; -1:
                                                          * there is none. NULL: there never is */
} DataSource;

/* Continues a hash over count bytes of a file, or all from an offset on where there are fewer. */
int data_hash_file(uint64_t *hash, int fd, const char *path, int64_t offset, int64_t count,
                   Error *err);

/* A file of a part, mapped into memory. */
typedef struct {
    char                *path;   /* for messages */
    const unsigned char *bytes;  /* NULL: it is not there */
    size_t               size;
} DataFile;

/* FOLDER/train.ENDING, or val.ENDING; data_unmap() it, also after an error. optional: a file that
 * is not there is none. */
int  data_map(DataFile *file, const char *folder, DataPart part, const char *ending, bool optional,
              Error *err);
void data_unmap(DataFile *file);

extern const DataSource DATA_SYNTHETIC, DATA_DIGITS, DATA_CIFAR10, DATA_IMAGES, DATA_TENSORS,
    DATA_TOKENS, DATA_TOKENS32, DATA_BYTES;

/* Fails unless the workload's input and classes are these. classes 0 in wants: any. */
int data_expect(const DataWants *wants, const char *source, Shape shape, int classes, Error *err);

/* The number of an augmentation's draw for a sample: 0 <= x < 1. */
double data_draw(uint64_t seed, int64_t epoch, int64_t sample, int draw);

/* (value - mean) / deviation of a channel, value in 0..1. */
static inline float data_normal(const DataWants *wants, int channel, float value)
{
    return (value - wants->mean[channel]) / wants->deviation[channel];
}

#endif
