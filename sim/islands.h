/* Inside sim/islands.c and sim/island_lanes.c. */
#ifndef SIM_ISLANDS_H
#define SIM_ISLANDS_H

#include "base/arena.h"
#include "sim/state.h"

/* A request of a period, at time ns. */
typedef struct {
    int64_t ns;
    int     key, request;        /* of costs.storage.requests */
    int     place;               /* of pending: that of its instruction */
    bool    first;               /* of its instruction's */
} AskedRequest;

typedef struct {
    int        reference;        /* at the ends of whose steps its state is looked at */
    StateWords now, saved;
    int64_t    saved_ns, period_ns;
    int64_t    age, power;       /* steps of the reference since saved; steps it will be kept */
    bool       known;            /* its state has repeated after period_ns */
    AskedRequest *asked;            /* since saved, of a period once it is known */
    int        asked_count, asked_capacity;
    int        next;             /* once known: of asked, what it asks for next, base_ns later
                                  * than it did */
    int64_t    base_ns;
    int        kept_next;        /* of island_lanes_until() */
    int64_t    kept_base_ns;
    int64_t    latest_ns;        /* of what it did last, and the highest number of those at that
                                  * time */
    int        latest_key;
    int64_t    times;            /* periods that it is put ahead */
    int        waits;            /* times that one of its devices had to wait for the store */
} Island;

struct Islands {
    Arena      arena;            /* has all lists but those that grow */
    enum { ISLANDS_UNKNOWN, ISLANDS_LOOKED_AT, ISLANDS_LEFT_ALONE } mode;
    int        seen;             /* ends of steps since a phase began or ended */
    int       *of;               /* [devices]; -1: done, or waits for the store */
    int        count;
    Island    *islands;          /* [devices] of which count are in use */
    StateMark *marks;            /* [devices] when their island's state was saved */
    int        loader;           /* the island that uses the loader; -1: none */
    bool       calm;             /* no request can be late */
    int64_t    calm_ns;          /* requests of earlier phases are done */
    bool       marked;           /* it has come, and devices stood at calm_step[] */
    int64_t   *calm_step;        /* [devices] */
    int64_t   *in_flight, *most_ns;      /* [stations] n and m */
    bool      *is_reference;     /* [devices] */
    bool       settled;          /* all requests in flight were asked for after calm_ns */
    int        known;            /* islands whose state has repeated */
    int       *root, *number;    /* [devices] for find_islands() */
    int       *heap;             /* [devices] for island_lanes_until() */
    int       *places;           /* [devices] the first place of its instructions */
    int        place_count;
    int64_t  (*pending)[STORAGE_AHEAD];  /* [places] when the latest requests are done, by steps */
    int       *turn;             /* [places] which of them comes next */
    int       *visits;           /* [places] */
    Station   *kept;             /* [stations] before island_lanes_until() */
    Station   *upper;            /* [stations] for ask_latest() */
    int64_t    longest_ns;       /* a request takes, where they are calm */
    int64_t   *times;            /* of requests */
    int        time_count, time_capacity;
    bool       rising;           /* no request takes less where more are in flight */
};

/* When the island asks next; INT64_MAX: never. Its state has repeated. */
static inline int64_t island_next_ns(const Island *island)
{
    return island->asked_count ? island->asked[island->next].ns + island->base_ns : INT64_MAX;
}

/* What it asks for next has been asked for. */
static inline void island_to_next(Island *island)
{
    if (++island->next < island->asked_count) return;
    island->next = 0;
    island->base_ns += island->period_ns;
}

/* The longest that a request to a station takes from when it is asked for, where so many are in
 * flight with it; INT64_MAX: too long to be said. */
int64_t island_longest_ns(const Sim *sim, int station, int64_t in_flight);

/* Asks for all requests until before until_ns. False: one would be late, and stations are as they
 * were. */
bool island_lanes_until(Sim *sim, int64_t until_ns);

#endif
