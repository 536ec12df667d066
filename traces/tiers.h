/* The tiers of a trace, "storage": where boundaries are stored, and what a request to one takes. */
#ifndef TRACES_TIERS_H
#define TRACES_TIERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

/* Time of a request to a tier, by bytes of a row, rows, and requests in flight with it (itself
 * included): a grid, linear between. Rows lie anywhere in the tier, as an epoch asks for them in
 * random order; a read ends when they are on the device, a write begins there. */
typedef struct {
    int64_t *row_bytes, *rows, *in_flight;       /* ascending */
    int      row_bytes_count, rows_count, in_flight_count;
    int64_t *ns;                         /* [row_bytes_count][rows_count][in_flight_count] */
    double   device_share;               /* 0..1: of the time of a request that is alone, what the
                                          * device is occupied by it; the rest is overlapped with
                                          * its work. 1: the device itself makes the request, when
                                          * it comes to it, and goes on when it is done */
} TraceRequests;

/* Host memory or a disk, of each machine and shared by its devices, where boundaries are stored and
 * where the weights of blocks are that no device holds. At most in_flight's largest requests of a
 * kind are in flight at a time, the others wait. */
typedef struct {
    const char   *name;                  /* unique */
    bool          memory;                /* host memory, which holds the loader's batches too; else
                                          * a disk */
    bool          shared;                /* a disk that all machines see, one for all */
    int64_t       size_bytes;
    TraceRequests read, write;
} TraceTier;

enum { TRACE_MAX_TIERS = 8, TRACE_MAX_REQUESTS = 4096, TRACE_MAX_IN_FLIGHT = 1024 };

/* The member "storage" of root; *count 0 where it is not there. Times of at most max_ns. What is
 * read is arena's. */
int tiers_read(TraceTier **out, int *count, Arena *arena, const JsonAt *root, int64_t max_ns,
               Error *err);

/* ",\n  \"storage\": [...]" */
void tiers_write(const TraceTier *tiers, int count, Text *out);

/* ns[i], in double, for each number in flight that the grid lists: a request of rows of row_bytes
 * each. Outside of the grid times go on in a straight line where extrapolate is set (from one
 * point: in proportion); else what and value say which axis has no such point, and the result is
 * false. */
bool tier_request(double *ns, const TraceRequests *requests, int64_t row_bytes, int64_t rows,
                  bool extrapolate, const char **what, int64_t *value);

/* The same of so many bytes that move in requests of the largest size. */
void tier_stream(double *ns, const TraceRequests *requests, int64_t bytes);

#endif
