/* How students are made of their teachers: what the words mean stands in
 * executor/import/students.h. */
#ifndef EXECUTOR_IMPORT_STUDENT_OPTIONS_H
#define EXECUTOR_IMPORT_STUDENT_OPTIONS_H

/* 0: as they are. */
typedef struct {
    const char *name;        /* "ffn50-rank8": of a student of a block that comes to have several */
    double      ffn;         /* share of the teacher's neurons, above 0 and at most 1 */
    int         heads, kv_heads, width, rank;
} StudentOptions;

#endif
