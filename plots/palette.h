/* The colours of every plot: the same thing has the same colour everywhere, and no other thing has
 * it. */
#ifndef PLOTS_PALETTE_H
#define PLOTS_PALETTE_H

#include "schedule/program.h"
#include "sim/memory.h"
#include "sim/sim.h"

/* 0xRRGGBB */
int colour_of_schedule(Schedule schedule);
int colour_of_share(TimeShare share);
int colour_of_memory(MemoryPart part);
int colour_of_op(Op op);

/* What becomes of colours on a dark page; others stay. {-1, -1} ends. */
typedef struct { int light, dark; } ColourPair;
extern const ColourPair colours_in_the_dark[];

/* A third of the way from white: a prediction beside what happened. */
int colour_pale(int colour);

/* Of text on colour: nearly black or nearly white, whichever is legible. */
int colour_of_text(int colour);

#endif
