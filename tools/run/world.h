/* What subcommands do as one rank of several: join, find their devices, refuse what does not go
 * together, and end with the same words. Alone (world NULL) all of it is as if it were not
 * there. */
#ifndef TOOLS_RUN_WORLD_H
#define TOOLS_RUN_WORLD_H

#include <stdbool.h>

#include "base/options.h"
#include "base/text.h"
#include "executor/net/world.h"
#include "kernels/device.h"

/* Joins the other ranks when this process is one; else *out is NULL. run_world_close() it. Returns
 * 0, or the exit status, the reason printed. */
int  run_world_open(World **out, const char *tool);

/* Reads the command line. False: there is nothing to do but end with *status; rank 0 has printed
 * the help, or err says what is wrong. */
bool run_world_parse(const World *world, const Options *options, int argc, char **argv,
                     Operands *operands, int *status, Error *err);

/* Every rank ends here, with what it would exit with; err says why, unless status is 0. One rank
 * prints the error. Returns the exit status. */
int  run_world_close(World *world, const char *tool, int status, const Error *err);

/* Whether this rank prints, and writes files: rank 0. */
bool run_world_speaks(const World *world);

/* devices: this rank's; then: those of all ranks on this host that may use the same cores, of
 * which *first_of_spec and the next are its own, so that ranks divide cores as devices of one
 * process do. (GPUs are not divided so: each rank names its own.) Every rank calls it. */
int  run_world_devices(World *world, DeviceSpec *devices, int *first_of_spec, Error *err);

/* This rank's part of lanes, of a loader for all the devices. */
int  run_world_lanes(const World *world, const DeviceSpec *devices, int lanes);

/* A line a rank: host, devices, cores; at rank 0. Every rank calls it. */
int run_world_table(World *world, const DeviceSpec *devices, int first_of_spec, Text *out,
                    Error *err);

/* facts: lines "what<TAB>value", the same lines in all ranks. Fails in all of them with the first
 * that differs. */
int  run_world_same(World *world, const Text *facts, Error *err);

#endif
