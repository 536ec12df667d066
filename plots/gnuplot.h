/* gnuplot, run on a script. */
#ifndef PLOTS_GNUPLOT_H
#define PLOTS_GNUPLOT_H

#include "base/error.h"
#include "base/text.h"

/* Runs script, and takes what gnuplot writes to its standard output (a script without "set
 * output"): no file is made. A gnuplot that is not there, one that lacks the terminal, and one that
 * complains are errors. */
int gnuplot_run(Text *out, const Text *script, Error *err);

#endif
