#include "planner/report/estimates.h"

static double seconds(int64_t ns) { return (double)ns * 1e-9; }

void report_estimate(const SimResult *sim, Text *out)
{
    int digits = sim->most_ns - sim->least_ns < 10000000 ? 9 : 3;

    text_printf(out, "estimate, between %.*f and %.*f s", digits, seconds(sim->least_ns), digits,
                seconds(sim->most_ns));
}

void report_estimate_line(const SimResult *sim, Text *out)
{
    report_estimate(sim, out);
    text_append(out, ": its steps do not repeat, and are too many to simulate each\n");
}

void report_estimate_json(const SimResult *sim, Text *out)
{
    if (!sim->estimated) return;
    text_printf(out, ", \"estimate\": true, \"least_s\": %.9f, \"most_s\": %.9f",
                seconds(sim->least_ns), seconds(sim->most_ns));
}

void report_lines(const Comparison *c, Text *out)
{
    for (int i = 0; i < SCHEDULE_COUNT; i++) {
        const Candidate *row = &c->rows[i];
        if (!row->plan || !row->sim.estimated) continue;
        text_printf(out, "%s: the epoch is an ", schedule_name((Schedule)i));
        report_estimate_line(&row->sim, out);
    }
    if (c->idle) text_append(out, c->idle);
}
