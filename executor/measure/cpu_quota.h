/* What a control group lets this process have of the processors, as containers and batch systems
 * set it. */
#ifndef EXECUTOR_MEASURE_CPU_QUOTA_H
#define EXECUTOR_MEASURE_CPU_QUOTA_H

/* Processors, such as 1.5: the least of this process's control group and of those around it, of
 * version 2 (cpu.max) or 1 (cpu.cfs_quota_us). 0: no quota, or none that can be read. root: before
 * /proc and /sys, "" but in tests. */
double cpu_quota(const char *root);

#endif
