/* What load was asked for, and what it tells. */
#define _GNU_SOURCE
#include "load.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const char *const modes[] = {"park", "fanout", "paced", "publish", "catchup"};

struct settings settings = {
    .channels = 1, .publishers = 8, .backlog = 1000, .seconds = 5, .warmup = 1, .rate = 1000, .patience = 10,
    .most_own_cpu = 85,
};
struct figures figures;

static void tell_count(const char *name, uint64_t count) {
    printf(" \"%s\": %llu,\n", name, (unsigned long long)count);
}

static void tell_figure(const char *name, double figure) { printf(" \"%s\": %.3f,\n", name, figure); }

static void tell_times(const char *name, const struct histogram *times) {
    printf(" \"%s\": {\"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f},\n", name, histogram_ms(times, 0.5),
           histogram_ms(times, 0.99), (double)times->most / 1e6);
}

void report(void) {
    const struct snapshot *from = &figures.from, *to = &figures.to;
    double wall = (double)(to->time - from->time) / 1e9, own = (double)(to->own - from->own) / 1e7 / wall;
    double cpu = (double)(to->server - from->server) / 1e9;
    uint64_t deliveries = to->deliveries - from->deliveries, publishes = to->acknowledged - from->acknowledged;
    if (own > settings.most_own_cpu) {
        fprintf(stderr, "load: its own CPU was %.0f %% of a core, over %.0f %%: no report\n", own,
                settings.most_own_cpu);
        exit(3);
    }
    printf("{\"mode\": \"%s\",\n", modes[settings.mode]);
    tell_count("channels", settings.channels);
    tell_count("subscribers", settings.subscribers);
    tell_figure("seconds", wall);
    tell_count("deliveries", deliveries);
    tell_count("publishes", publishes);
    tell_count("deliveries_total", figures.totals.deliveries);
    tell_count("publishes_total", figures.acknowledged);
    tell_figure("deliveries_per_second", (double)deliveries / wall);
    tell_figure("publishes_per_second", (double)publishes / wall);
    printf(" \"server_cpu_seconds\": %.6f,\n", cpu);
    tell_figure("own_cpu_percent", own);
    tell_count("server_memory_kib", server_memory_kib());
    tell_descriptors(stdout);
    if (settings.mode == PARK) {
        tell_figure("kib_per_poll", ((double)figures.memory[1] - (double)figures.memory[0]) / settings.subscribers);
        tell_figure("cpu_us_per_poll_second", cpu * 1e6 / settings.subscribers / wall);
    }
    tell_times("latency_ms", &figures.delivery);
    tell_times("publish_latency_ms", &figures.publication);
    tell_count("lost", figures.totals.lost);
    tell_count("doubled", figures.totals.doubled);
    tell_count("disordered", figures.totals.disordered);
    tell_count("foreign", figures.totals.foreign);
    tell_count("errors", figures.errors);
    tell_count("timeouts", figures.timeouts);
    tell_count("reconnects", reconnects);
    tell_count("passes", figures.passes);
    printf(" \"stalls\": %llu}\n", (unsigned long long)figures.stalls);
}

static double number(const char *text, double least) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= least) || value > 1e9) fail("%s is no number from %g on", text, least);
    return value;
}

static void add_field(const char *line) {
    size_t used = strlen(dialect.fields), length = strlen(line);
    if (used + length + 3 > sizeof dialect.fields) fail("fields of at most %zu bytes", sizeof dialect.fields);
    memcpy(dialect.fields + used, line, length);
    memcpy(dialect.fields + used + length, "\r\n", 3);
}

void read_options(int count, char **arguments) {
    enum { PORT = 1, PIDS, CHANNELS, SUBSCRIBERS, PUBLISHERS, BACKLOG, SECONDS, WARMUP };
    enum { RATE = WARMUP + 1, SIZE, LIMIT, HOLD, PATIENCE, PREFIX, OWN, NCHAN, HEAD, BEHIND, FIELD };
    static const struct option known[] = {
        {"port", 1, 0, PORT},       {"pids", 1, 0, PIDS},         {"channels", 1, 0, CHANNELS},
        {"backlog", 1, 0, BACKLOG}, {"seconds", 1, 0, SECONDS},   {"subscribers", 1, 0, SUBSCRIBERS},
        {"rate", 1, 0, RATE},       {"warmup", 1, 0, WARMUP},     {"publishers", 1, 0, PUBLISHERS},
        {"size", 1, 0, SIZE},       {"limit", 1, 0, LIMIT},       {"timeout", 1, 0, HOLD},
        {"prefix", 1, 0, PREFIX},   {"patience", 1, 0, PATIENCE}, {"own-cpu", 1, 0, OWN},
        {"nchan", 0, 0, NCHAN},     {"head", 1, 0, HEAD},         {"behind", 1, 0, BEHIND},
        {"field", 1, 0, FIELD},     {0},
    };
    int option;
    while ((option = getopt_long(count, arguments, "", known, NULL)) != -1) {
        switch (option) {
        case PORT: dialect.port = (int)number(optarg, 1); break;
        case PIDS: watch_pids(optarg); break;
        case CHANNELS: settings.channels = (uint32_t)number(optarg, 1); break;
        case SUBSCRIBERS: settings.subscribers = (uint32_t)number(optarg, 0); break;
        case PUBLISHERS: settings.publishers = (uint32_t)number(optarg, 1); break;
        case BACKLOG: settings.backlog = (uint32_t)number(optarg, 1); break;
        case SECONDS: settings.seconds = number(optarg, 0.01); break;
        case WARMUP: settings.warmup = number(optarg, 0); break;
        case RATE: settings.rate = number(optarg, 0.1); break;
        case SIZE: dialect.size = (uint32_t)number(optarg, 64); break;
        case LIMIT: dialect.limit = (uint32_t)number(optarg, 0); break;
        case HOLD: dialect.timeout = number(optarg, 0); break;
        case PATIENCE: settings.patience = number(optarg, 0.01); break;
        case PREFIX: dialect.prefix = optarg; break;
        case OWN: settings.most_own_cpu = number(optarg, 0); break;
        case NCHAN: dialect.nchan = true; break;
        case HEAD:
            if (strcmp(optarg, "browser")) fail("no head %s", optarg);
            dialect.head = browser_head;
            break;
        case FIELD: add_field(optarg); break;
        case BEHIND: dialect.behind = (uint32_t)number(optarg, 0); break;
        default: exit(2);
        }
    }
    if (optind + 1 != count || !dialect.port) fail("usage: load MODE --port N --pids N,N [options]");
    while (settings.mode <= CATCHUP && strcmp(modes[settings.mode], arguments[optind])) settings.mode++;
    if (settings.mode > CATCHUP) fail("no mode %s", arguments[optind]);
    if (settings.most_own_cpu > 85) fail("its own CPU may be 85 %% at most");
    if (strlen(dialect.prefix) > 64) fail("a prefix of at most 64 bytes");
    if (dialect.size > 60000) fail("a message of at most 60000 bytes");
    if (dialect.behind > 4) fail("at most 4 bytes behind a poll");
    if ((settings.mode == PARK || settings.mode == CATCHUP) && !settings.subscribers) fail("subscribers are needed");
}
