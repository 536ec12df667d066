/* --store of pipebd-run train: the store of a program that stores boundaries, and what is said of
 * it. */
#ifndef TOOLS_RUN_STORED_H
#define TOOLS_RUN_STORED_H

#include "executor/train/parts.h"

/* --store's word where options are refused whatever files there are; NULL: not given. */
int run_store_check(const char *place, Error *err);

/* --store-precision, "fp32" or "bf16", as whether rows are stored in bfloat16; NULL: not given. It
 * goes with --store. */
int run_store_precision(bool *bf16, const char *precision, const char *place, Error *err);

/* The folder that --store names; NULL: it is not given, or memory. */
const char *run_store_folder(const char *place);

/* Whether the folder could be made and written in now, to be found out before long work and not
 * after. Leaves everything as it is. */
int run_store_check_folder(const char *folder, Error *err);

/* Refuses a store where the schedule of this name stores nothing, none where it does. */
int run_store_wanted(bool stores, const char *place, const char *schedule, Error *err);

/* Opens the store of the program's stored set; options' boundaries are set here. *out is yours:
 * store_close() it. NULL where the program stores nothing. */
int run_store_open(Store **out, const Program *program, const StoreOptions *options, Error *err);

/* "store: boundaries 1 to 5 in DIR, 12.3 MiB; whole already: 2 to 5" and a line for rows that were
 * found damaged. */
void run_store_text(const Store *store, const Program *program, const char *place, Text *out);

#endif
