#include "executor/import/config.h"

#include <stdarg.h>
#include <stdio.h>

bool config_has(const ModelConfig *c, const char *key)
{
    JsonAt at = json_member(&c->root, key);

    return json_has(&at) && !json_has_null(&at);
}

int config_size(ModelConfig *c, const char *key)
{
    JsonAt  at = json_member(&c->root, key);
    int64_t value = 1;

    if (!c->failed && json_get_integer(&at, 1, 1 << 30, &value, c->err) != 0) c->failed = true;
    return c->failed ? 1 : (int)value;
}

int config_size_or(ModelConfig *c, const char *key, int fallback)
{
    return config_has(c, key) ? config_size(c, key) : fallback;
}

double config_number_or(ModelConfig *c, const char *key, double fallback)
{
    JsonAt at = json_member(&c->root, key);
    double value = fallback;

    if (!c->failed && config_has(c, key) && json_get_number(&at, 0, &value, c->err) != 0)
        c->failed = true;
    return value;
}

bool config_flag_or(ModelConfig *c, const char *key, bool fallback)
{
    JsonAt at = json_member(&c->root, key);
    bool   value = fallback;

    if (!c->failed && config_has(c, key) && json_get_bool(&at, &value, c->err) != 0)
        c->failed = true;
    return value;
}

const char *config_text_or(ModelConfig *c, const char *key, const char *fallback)
{
    JsonAt      at = json_member(&c->root, key);
    const char *value = fallback;

    if (!c->failed && config_has(c, key) && json_get_line(&at, &value, c->err) != 0)
        c->failed = true;
    return c->failed ? fallback : value;
}

ModelConfig config_inside(const ModelConfig *c, const char *key)
{
    ModelConfig inside = *c;

    if (config_has(c, key)) inside.root = json_member(&c->root, key);
    return inside;
}

void config_refuse(ModelConfig *c, const char *key, const char *format, ...)
{
    JsonAt  at = json_member(&c->root, key);
    char    why[256];
    va_list arguments;

    if (c->failed) return;
    va_start(arguments, format);
    vsnprintf(why, sizeof why, format, arguments);
    va_end(arguments);
    json_fail(&at, c->err, "%s", why);
    c->failed = true;
}
