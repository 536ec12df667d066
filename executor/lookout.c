#include "executor/lookout.h"

void lookout_show(Lookout *lookout, const Whereabouts *where, const Program *program)
{
    pthread_mutex_lock(&lookout->lock);
    lookout->where = where;
    lookout->program = program;
    pthread_mutex_unlock(&lookout->lock);
}

void lookout_hide(Lookout *lookout) { lookout_show(lookout, NULL, NULL); }

bool lookout_text(Lookout *lookout, int64_t now_ns, Text *out)
{
    pthread_mutex_lock(&lookout->lock);
    bool runs = lookout->where != NULL;
    if (runs) whereabouts_text(lookout->where, lookout->program, now_ns, out);
    pthread_mutex_unlock(&lookout->lock);
    return runs;
}
