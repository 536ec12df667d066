#include "executor/transport/transport.h"

int transport_member(const int *devices, int device)
{
    int m = 0;

    while (devices[m] != device) m++;
    return m;
}

bool transport_runs_match(const GradientRun *a, int a_count, const GradientRun *b, int b_count)
{
    bool same = a_count == b_count;

    for (int r = 0; same && r < a_count; r++) same = a[r].count == b[r].count;
    return same;
}
