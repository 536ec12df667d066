#include "executor/measure/profile_state.h"

bool profile_takes_cores(const Profiling *p)
{
    return !device_spec_is_async(p->options->devices) && world_size(p->options->world) > 1;
}

int profile_widest_group(const Profiling *p, bool across)
{
    int devices = across ? p->devices : p->per_host;

    if (across && p->per_host == p->devices) return 0;
    return devices < p->options->batch ? devices : (int)p->options->batch;
}

bool profile_meets(const Profiling *p) { return p->devices > 1 && !p->recorded; }

int profile_work_programs(const Profiling *p)
{
    return (2 + (p->devices > 1) + profile_meets(p)) * p->share_count;
}
