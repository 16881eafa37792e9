/* Files of Linux: /proc/meminfo, /proc/self/cgroup, /sys/fs/cgroup. What is not there stays 0. */
#include "base/machine.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TEXT_BYTES = 4096 };

/* The beginning of a file; false when there is none. */
static bool read_text(char text[TEXT_BYTES], const char *root, const char *dir, const char *name) {
    char path[TEXT_BYTES];
    int n = snprintf(path, sizeof path, "%s%s%s", root, dir, name);
    FILE *f = n > 0 && (size_t)n < sizeof path ? fopen(path, "r") : NULL;
    if (f == NULL) {
        return false;
    }
    text[fread(text, 1, TEXT_BYTES - 1, f)] = '\0';
    fclose(f);
    return true;
}

static bool read_number(double *out, const char *root, const char *dir, const char *name) {
    char text[TEXT_BYTES];
    return read_text(text, root, dir, name) && sscanf(text, "%lf", out) == 1;
}

static uint64_t meminfo(const char *text, const char *key) {
    unsigned long long kib = 0;
    const char *line = strstr(text, key);
    return line != NULL && sscanf(line + strlen(key), " %llu", &kib) == 1 ? kib * 1024u : 0;
}

static void lower_quota(kvl_machine *m, double quota, double period) {
    if (quota > 0 && period > 0 && (m->cpu_quota <= 0 || quota / period < m->cpu_quota)) {
        m->cpu_quota = quota / period;
    }
}

/* Version 1 writes "no limit" as a number near 2^63. */
static void lower_memory(kvl_machine *m, double limit) {
    if (limit > 0 && limit < 0x1p60 &&
        (m->memory_limit_bytes == 0 || limit < (double)m->memory_limit_bytes)) {
        m->memory_limit_bytes = (uint64_t)limit;
    }
}

/* Version 2: the group's folder, then each one above it. */
static void read_groups(kvl_machine *m, const char *root) {
    char groups[TEXT_BYTES];
    char dir[TEXT_BYTES + 32];
    double quota = 0, period = 0, limit = 0;
    char text[TEXT_BYTES];
    const char *own = read_text(groups, root, "/proc/self/cgroup", "") ? strstr(groups, "0::/") : NULL;
    if (own == NULL) {
        return;
    }
    snprintf(dir, sizeof dir, "/sys/fs/cgroup%.*s", (int)strcspn(own + 3, "\n"), own + 3);
    for (;;) {
        if (read_text(text, root, dir, "/cpu.max") && sscanf(text, "%lf %lf", &quota, &period) == 2) {
            lower_quota(m, quota, period); /* "max 100000" is no number */
        }
        if (read_number(&limit, root, dir, "/memory.max")) {
            lower_memory(m, limit);
        }
        char *slash = strrchr(dir, '/');
        if (strcmp(dir, "/sys/fs/cgroup") == 0 || slash == NULL) {
            return;
        }
        *slash = '\0';
    }
}

void kvl_machine_read(kvl_machine *out, const char *root) {
    char text[TEXT_BYTES];
    double quota = 0, period = 0, limit = 0;
    struct timespec step = {0};
    long n_online = sysconf(_SC_NPROCESSORS_ONLN);
    *out = (kvl_machine){.n_online = n_online > 0 ? (unsigned)n_online : 0};
    if (clock_getres(CLOCK_MONOTONIC, &step) == 0) {
        out->clock_resolution_ns = (uint64_t)step.tv_sec * 1000000000u + (uint64_t)step.tv_nsec;
    }
    if (read_text(text, root, "/proc/cpuinfo", "")) {
        const char *name = strstr(text, "model name");
        const char *colon = name != NULL ? strchr(name, ':') : NULL;
        name = colon != NULL ? colon + 1 + strspn(colon + 1, " ") : "";
        snprintf(out->cpu, sizeof out->cpu, "%.*s", (int)strcspn(name, "\n"), name);
    }
    if (read_text(text, root, "/proc/meminfo", "")) {
        out->memory_total_bytes = meminfo(text, "MemTotal:");
        out->memory_available_bytes = meminfo(text, "MemAvailable:");
    }
    read_groups(out, root);
    if (read_number(&quota, root, "/sys/fs/cgroup/cpu", "/cpu.cfs_quota_us") &&
        read_number(&period, root, "/sys/fs/cgroup/cpu", "/cpu.cfs_period_us")) {
        lower_quota(out, quota, period);
    }
    if (read_number(&limit, root, "/sys/fs/cgroup/memory", "/memory.limit_in_bytes")) {
        lower_memory(out, limit);
    }
}
