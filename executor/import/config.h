/* A model's config.json: values by key. The first error is kept and later calls do nothing, so that
 * a reader checks once. */
#ifndef EXECUTOR_IMPORT_CONFIG_H
#define EXECUTOR_IMPORT_CONFIG_H

#include "base/json.h"

typedef struct {
    JsonAt root;
    Error *err;
    bool   failed;
} ModelConfig;

/* Whether it is there and not null. */
bool config_has(const ModelConfig *c, const char *key);

/* A whole number of 1 to 2^30. */
int config_size(ModelConfig *c, const char *key);
int config_size_or(ModelConfig *c, const char *key, int fallback);

/* fallback where the key is absent or null: a number of 0 or more, true or false, one line of text
 * (borrowed from the document). */
double      config_number_or(ModelConfig *c, const char *key, double fallback);
bool        config_flag_or(ModelConfig *c, const char *key, bool fallback);
const char *config_text_or(ModelConfig *c, const char *key, const char *fallback);

/* An object's own values: those of c where it is absent or null. */
ModelConfig config_inside(const ModelConfig *c, const char *key);

/* Refuses the key's value, at its place; the format says why. */
void config_refuse(ModelConfig *c, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
