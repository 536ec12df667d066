/* The colours of every plot: the same thing has the same colour everywhere. From the
 * palette of Okabe and Ito (2008), which people with any colour vision tell apart. */
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

/* The same on a dark page: greys, which say that nothing is done, are dark there too. */
int colour_in_the_dark(int colour);

/* Black or white, whichever is legible on colour. */
int colour_of_text(int colour);

#endif
