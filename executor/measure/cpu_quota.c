#include "executor/measure/cpu_quota.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { PATH_BYTES = 4096 };

/* A group's quota over its period; 0: none. folder: of the group. */
static double read_quota(const char *folder, bool version2)
{
    char      path[PATH_BYTES + 32];
    long long quota = -1, period = 0;
    FILE     *file;

    snprintf(path, sizeof path, "%s/%s", folder, version2 ? "cpu.max" : "cpu.cfs_quota_us");
    file = fopen(path, "re");
    if (!file) return 0;
    int read = fscanf(file, "%lld %lld", &quota, &period);           /* "max 100000": no number, no
                                                                      * quota */
    fclose(file);
    if (read < 1 || quota <= 0) return 0;
    if (!version2) {
        snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
        file = fopen(path, "re");
        if (!file) return 0;
        if (fscanf(file, "%lld", &period) != 1) period = 0;
        fclose(file);
    }
    return period > 0 ? (double)quota / (double)period : 0;
}

/* The least of a group and of those around it, up to the root of the hierarchy. A container may see
 * its files at another place than its path says: then those around it are found only. */
static double least_quota(const char *mount, const char *group, bool version2)
{
    char   folder[PATH_BYTES];
    size_t top = strlen(mount);
    double least = 0;

    if (snprintf(folder, sizeof folder, "%s%s", mount, group) >= (int)sizeof folder) return 0;
    for (;;) {
        double quota = read_quota(folder, version2);
        if (quota > 0 && (least <= 0 || quota < least)) least = quota;
        char *slash = strrchr(folder, '/');
        if (strlen(folder) <= top || !slash || (size_t)(slash - folder) < top) return least;
        *slash = '\0';
    }
}

/* Whether "cpu" is one of the controllers "cpu,cpuacct". */
static bool names_cpu(const char *controllers)
{
    for (const char *at = controllers; *at; at += strcspn(at, ",") + (at[strcspn(at, ",")] == ','))
        if (strcspn(at, ",") == 3 && strncmp(at, "cpu", 3) == 0) return true;
    return false;
}

double cpu_quota(const char *root)
{
    char   path[PATH_BYTES], line[PATH_BYTES], mount[PATH_BYTES];
    double least = 0;
    FILE  *file;

    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    file = fopen(path, "re");
    while (file && fgets(line, sizeof line, file)) {                 /* "4:cpu,cpuacct:/a/b",
                                                                      * "0::/a/b" */
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':'),
             *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) continue;
        *group++ = '\0';
        bool version2 = controllers[1] == '\0';
        if (!version2 && !names_cpu(controllers + 1)) continue;
        snprintf(mount, sizeof mount, "%s/sys/fs/cgroup%s", root, version2 ? "" : "/cpu");
        double quota = least_quota(mount, strcmp(group, "/") == 0 ? "" : group, version2);
        if (quota > 0 && (least <= 0 || quota < least)) least = quota;
    }
    if (file) fclose(file);
    return least;
}
