/* PyTorch in a process of its own, which a benchmark asks for one turn at a time: a line in,
 * seconds of its processor time out. PIPEBD_TORCH names the Pythons ("/usr/bin/python3
 * /opt/venv/bin/python"); without it, /usr/bin/python3. One that has no torch is left out. */
#ifndef BENCH_OPPONENT_H
#define BENCH_OPPONENT_H

#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/bench.h"
#include "workloads/workload.h"

enum { OPPONENTS_MAX = 3, OPPONENT_PYTHONS_BYTES = 512 };

typedef struct {
    pid_t pid;
    FILE *to, *from;
    char  version[32];
} Opponent;

/* Runs "PYTHON SCRIPT PATH SIZE", which says "ready VERSION" when it can be asked; one thread. */
static inline bool opponent_start(Opponent *o, const char *python, const char *script,
                                  const char *path, const char *size)
{
    int  in[2], out[2];
    char word[8] = "";

    *o = (Opponent){0};
    /* not for the next one */
    if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) return false;
    o->pid = fork();
    if (o->pid == 0) {
        dup2(in[0], 0), dup2(out[1], 1);
        setenv("OMP_NUM_THREADS", "1", 1);
        execl(python, python, script, path, size, (char *)NULL);
        _exit(127);
    }
    close(in[0]), close(out[1]);
    o->to = fdopen(in[1], "w");
    o->from = fdopen(out[0], "r");
    return o->to && o->from && fscanf(o->from, "%7s %31s", word, o->version) == 2 &&
           strcmp(word, "ready") == 0;
}

static inline void opponent_stop(Opponent *o)
{
    if (o->to) fclose(o->to);
    if (o->from) fclose(o->from);
    if (o->pid > 0) waitpid(o->pid, NULL, 0);
}

/* The seconds that it answers to a line. */
static inline double opponent_ask(Opponent *o, const char *line)
{
    double seconds = 0.0;

    fprintf(o->to, "%s\n", line);
    fflush(o->to);
    if (fscanf(o->from, "%lf", &seconds) != 1) {
        fprintf(stderr, "bench: PyTorch stopped\n");
        exit(1);
    }
    return seconds;
}

/* A new file; path: mkstemp's. */
static inline FILE *opponent_file(char *path)
{
    int   fd = mkstemp(path);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w");

    if (f) return f;
    fprintf(stderr, "bench: cannot write %s\n", path);
    exit(1);
}

/* Starts one for each Python that PIPEBD_TORCH names and whose torch works, on the workload with
 * its layers expanded; returns how many. */
static inline int opponents_start(Opponent opponents[OPPONENTS_MAX], const char *script,
                                  const Workload *w, const char *size)
{
    char  names[OPPONENT_PYTHONS_BYTES], path[] = "/tmp/pipebd-bench-XXXXXX", *rest = NULL;
    FILE *f = opponent_file(path);
    Text  text = {0};
    int   count = 0;

    workload_write(w, NULL, NULL, &text);
    if (text_failed(&text) || fputs(text_string(&text), f) < 0 || fclose(f) != 0) {
        fprintf(stderr, "bench: cannot write %s\n", path);
        exit(1);
    }
    text_free(&text);
    snprintf(names, sizeof names, "%s",
             getenv("PIPEBD_TORCH") ? getenv("PIPEBD_TORCH") : "/usr/bin/python3");
    for (char *p = strtok_r(names, " ", &rest); p && count < OPPONENTS_MAX;
         p = strtok_r(NULL, " ", &rest)) {
        if (opponent_start(&opponents[count], p, script, path, size)) count++;
        else {
            fprintf(stderr, "bench: %s has no torch that works: left out\n", p);
            opponent_stop(&opponents[count]);
        }
    }
    remove(path);
    return count;
}

/* Seconds of processor time of the process: what an opponent's are too. */
static inline double opponent_clock(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif
