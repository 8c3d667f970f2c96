/* Exact counts, times, and what the server's processes use. */
#define _GNU_SOURCE
#include "load.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

_Noreturn void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

void *zeroed(size_t count, size_t size) {
    void *memory = calloc(count ? count : 1, size);
    if (!memory) fail("out of memory");
    return memory;
}

/* An event that came before is doubled, whenever it comes again. One that comes for the first time, but after a later
   one, is out of order. What never came is lost; only the end can tell. */
void tally_event(struct tally *tally, uint32_t number, struct totals *totals) {
    uint32_t byte = number / 8, bit = 1u << number % 8;
    totals->deliveries++;
    if (byte >= tally->room) {
        uint32_t room = byte * 2 + 16;
        tally->seen = realloc(tally->seen, room);
        if (!tally->seen) fail("out of memory");
        memset(tally->seen + tally->room, 0, room - tally->room);
        tally->room = room;
    }
    if (tally->seen[byte] & bit) {
        totals->doubled++;
        return;
    }
    tally->seen[byte] |= bit;
    tally->distinct++;
    if (number < tally->most) totals->disordered++;
    else tally->most = number;
}

void tally_clear(struct tally *tally) {
    if (tally->room) memset(tally->seen, 0, tally->room);
    tally->most = tally->distinct = 0;
}

/* 64 steps for every doubling. */
void histogram_add(struct histogram *histogram, uint64_t ns) {
    unsigned shift = 0;
    if (ns > histogram->most) histogram->most = ns;
    histogram->count++;
    while (ns >> shift >= 128) shift++;
    histogram->bucket[shift ? shift * 64 + (ns >> shift) : ns]++;
}

/* The time that `part` of all did not exceed, in ms. */
double histogram_ms(const struct histogram *histogram, double part) {
    uint64_t before = 0, wanted = (uint64_t)(part * (double)histogram->count);
    if (wanted >= histogram->count) return (double)histogram->most / 1e6;
    for (unsigned index = 0; index < sizeof histogram->bucket / sizeof *histogram->bucket; index++) {
        before += histogram->bucket[index];
        if (before > wanted) {
            unsigned shift = index < 128 ? 0 : index / 64 - 1;
            uint64_t low = shift ? (uint64_t)(index - shift * 64) << shift : index;
            double middle = (double)low + (double)(1ull << shift) / 2;
            return (middle < (double)histogram->most ? middle : (double)histogram->most) / 1e6;
        }
    }
    return (double)histogram->most / 1e6;
}

uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

uint64_t own_cpu_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* The server's processes. A list from outside: only who started them knows them all. */
static long pids[256];
static unsigned pid_count;

void watch_pids(const char *list) {
    char *end;
    while (*list) {
        long pid = strtol(list, &end, 10);
        if (end == list || pid <= 0 || pid_count == sizeof pids / sizeof *pids) fail("bad list of pids");
        pids[pid_count++] = pid;
        list = *end == ',' ? end + 1 : end;
    }
}

unsigned server_count(void) { return pid_count; }

/* Each process's own clock, in ns, threads that have ended included. (What /proc tells comes in hundredths of a second,
   too coarse for the cost of a parked poll.) */
uint64_t server_cpu_ns(void) {
    uint64_t sum = 0;
    for (unsigned index = 0; index < pid_count; index++) {
        clockid_t clock;
        struct timespec ran;
        if (clock_getcpuclockid((pid_t)pids[index], &clock) || clock_gettime(clock, &ran))
            fail("the server's process %ld has gone", pids[index]);
        sum += (uint64_t)ran.tv_sec * 1000000000u + (uint64_t)ran.tv_nsec;
    }
    return sum;
}

/* Whether one of the processes runs or would, if others left it the processor. */
bool server_runs(void) {
    for (unsigned index = 0; index < pid_count; index++) {
        char path[64], state = 0;
        snprintf(path, sizeof path, "/proc/%ld/stat", pids[index]);
        FILE *file = fopen(path, "r");
        if (!file || fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
            fail("the server's process %ld has gone", pids[index]);
        fclose(file);
        if (state == 'R') return true;
    }
    return false;
}

/* The proportional set size: what processes share is counted once. */
uint64_t server_memory_kib(void) {
    uint64_t sum = 0;
    for (unsigned index = 0; index < pid_count; index++) {
        char path[64], line[256];
        unsigned long long kib;
        snprintf(path, sizeof path, "/proc/%ld/smaps_rollup", pids[index]);
        FILE *file = fopen(path, "r");
        if (!file) fail("the memory of the server's process %ld cannot be read: %s", pids[index], strerror(errno));
        while (fgets(line, sizeof line, file))
            if (sscanf(line, "Pss: %llu", &kib) == 1) sum += kib;
        fclose(file);
    }
    return sum;
}

/* How many each of the processes has open: so several that serve are seen to share the connections. */
void tell_descriptors(FILE *to) {
    fputs(" \"server_descriptors\": [", to);
    for (unsigned index = 0; index < pid_count; index++) {
        char path[64];
        unsigned count = 0;
        snprintf(path, sizeof path, "/proc/%ld/fd", pids[index]);
        DIR *folder = opendir(path);
        if (!folder) fail("process %ld's descriptors cannot be read: %s", pids[index], strerror(errno));
        for (struct dirent *entry; (entry = readdir(folder));) count += *entry->d_name != '.';
        closedir(folder);
        fprintf(to, index ? ", %u" : "%u", count);
    }
    fputs("],\n", to);
}
