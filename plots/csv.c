#include "plots/csv.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROWS = 1000000, MAX_COLUMNS = 1000 };

typedef struct {
    const char *name, *text, *at, *end, *line_start;
    int         line;
    Error      *err;
    char       *field;       /* of length bytes, room for all of the text */
    size_t      length;
} CsvReader;

static int fault(const CsvReader *r, const char *why)
{
    return error_set(r->err, "%s:%d:%d: %s", r->name, r->line, (int)(r->at - r->line_start) + 1,
                     why);
}

static void step(CsvReader *r)
{
    if (*r->at == '\n') { r->line++; r->line_start = r->at + 1; }
    r->at++;
}

static bool at_end_of_field(const CsvReader *r)
{
    return r->at == r->end || *r->at == ',' || *r->at == '\n' || *r->at == '\r';
}

static int read_quoted(CsvReader *r)
{
    step(r);
    for (;;) {
        if (r->at == r->end)
            return fault(r, "the text ends within quotes, expected a closing quote");
        if (*r->at == '"') {
            step(r);
            if (r->at == r->end || *r->at != '"') break;
        }
        r->field[r->length++] = *r->at;
        step(r);
    }
    return at_end_of_field(r)
               ? 0
               : fault(r, "text after a closing quote, expected a comma or the end of the line");
}

static int read_field(CsvReader *r)
{
    r->length = 0;
    if (r->at < r->end && *r->at == '"') {
        if (read_quoted(r) != 0) return -1;
    } else {
        for (; !at_end_of_field(r); step(r)) {
            if (*r->at == '"')
                return fault(r, "a quote within a field, expected the whole field in quotes");
            if (*r->at == '\0') return fault(r, "a zero byte, expected text");
            r->field[r->length++] = *r->at;
        }
    }
    r->field[r->length] = '\0';
    return 0;
}

static int end_line(CsvReader *r)
{
    if (r->at < r->end && *r->at == '\r') {
        step(r);
        if (r->at == r->end || *r->at != '\n')
            return fault(r, "a carriage return, expected a line feed after it");
    }
    if (r->at < r->end) step(r);
    return 0;
}

/* One row into fields, up to MAX_COLUMNS; their count into *count. */
static int read_row(CsvReader *r, Csv *out, char **fields, int *count)
{
    for (*count = 0;; step(r)) {
        if (*count == MAX_COLUMNS)
            return fault(r, "too many fields in a row, expected at most 1000");
        if (read_field(r) != 0) return -1;
        fields[*count] = arena_strdup(&out->arena, r->field);
        if (!fields[(*count)++]) return error_no_memory(r->err);
        if (r->at == r->end || *r->at != ',') break;
    }
    return 0;
}

static int keep_row(CsvReader *r, Csv *out, char **fields, int count, int line)
{
    if (out->row_count == 0) out->columns = count;
    if (count != out->columns)
        return error_set(r->err, "%s:%d:1: %d fields, expected %d as in the header", r->name, line,
                         count, out->columns);
    char **row = arena_alloc(&out->arena, (size_t)count, sizeof *row);
    if (!row) return error_no_memory(r->err);
    memcpy(row, fields, (size_t)count * sizeof *row);
    out->rows[out->row_count] = row;
    out->lines[out->row_count++] = line;
    return 0;
}

int csv_parse(Csv *out, const char *name, const char *text, size_t length, Error *err)
{
    CsvReader r = {name, text, text, text + length, text, 1, err, NULL, 0};
    char  *fields[MAX_COLUMNS];
    size_t rows = 1;

    *out = (Csv){0};
    for (size_t i = 0; i < length; i++) rows += text[i] == '\n';
    if (rows > MAX_ROWS)
        return error_set(err, "%s: too many lines, expected at most %d", name, MAX_ROWS);
    r.field = arena_alloc(&out->arena, length + 1, 1);
    out->rows = arena_alloc(&out->arena, rows, sizeof *out->rows);
    out->lines = arena_alloc(&out->arena, rows, sizeof *out->lines);
    if (!r.field || !out->rows || !out->lines) return error_no_memory(err);
    while (r.at < r.end) {
        int count, line = r.line;
        if (*r.at == '#') {                      /* a comment, to the end of its line */
            while (r.at < r.end && *r.at != '\n') step(&r);
            if (r.at < r.end) step(&r);
            continue;
        }
        if (read_row(&r, out, fields, &count) != 0 || end_line(&r) != 0) return -1;
        if (keep_row(&r, out, fields, count, line) != 0) return -1;
    }
    return out->row_count ? 0 : error_set(err, "%s:1:1: empty, expected a header", name);
}

void csv_free(Csv *csv)
{
    arena_free(&csv->arena);
    *csv = (Csv){0};
}

void csv_field(Text *out, const char *string)
{
    bool quoted = *string == '#' || strpbrk(string, ",\"\r\n") != NULL;

    text_append(out, quoted ? "\"" : "");
    for (const char *c = string; *c; c++)
        text_append_bytes(out, *c == '"' ? "\"\"" : c, *c == '"' ? 2 : 1);
    text_append(out, quoted ? "\"" : "");
}
