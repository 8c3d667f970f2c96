/* The load generator of scripts/bench: subscribers that poll again with the cursor they were given, publishers, exact
   counts of what came, and what the server's processes used meanwhile.

       load MODE --port N --pids N,N [options]

   park      subscribers that wait: memory and CPU of a parked poll; then one event for each, to see that all wait
   fanout    closed loop: a channel's next event is published once every subscriber has the last one and polls again
   paced     events at a rate, whether the server keeps up or not; times are from when an event was due
   publish   publishers, each with one request at a time, and no subscribers
   catchup   subscribers that begin at the oldest event and read a backlog, again and again

   Prints JSON. Exits with 3 and prints none where its own CPU time was over the bound: then it was itself measured. */
#define _GNU_SOURCE
#include "load.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define SECOND 1000000000ull

struct channel {
    uint32_t published, subscribers;
    uint32_t lacking; /* subscribers that have not yet the last event */
    uint64_t since;   /* when that was published */
    bool acknowledged, queued;
};

struct subscriber {
    struct connection connection;
    struct tally tally;
    uint32_t round; /* the last event that it was waited for with */
    uint64_t begun; /* catchup: this pass */
    bool done;
};

struct publisher {
    struct connection connection;
    uint64_t next; /* of the schedule's events, the first that it has not looked at */
};

struct snapshot {
    uint64_t time, own, server, deliveries, acknowledged;
};

static enum { PARK, FANOUT, PACED, PUBLISH, CATCHUP } mode;
static const char *const modes[] = {"park", "fanout", "paced", "publish", "catchup"};

static uint32_t channel_count = 1, subscriber_count, publisher_count = 8, backlog = 1000;
static double seconds = 5, warmup = 1, rate = 1000, patience = 10, most_own_cpu = 85;

static struct channel *channels;
static struct subscriber *subscribers;
static struct publisher *publishers;
static uint32_t *ready, ready_first, ready_count; /* a ring of channels whose next event may be published */

/* Event n belongs to channel n % channels, and is due at begin + n * interval. A channel's events all go over one
   connection, one after another: so the server must keep their order. */
static struct {
    uint64_t total, begin, interval;
} schedule;

static struct totals totals;
static struct histogram delivery, publication;
static uint64_t acknowledged, errors, timeouts, stalls, passes, last_progress, publish_turn;
static bool measuring, edge, reading_again;
static struct snapshot from, to;

static uint64_t ns(double of_seconds) { return (uint64_t)(of_seconds * 1e9); }

static struct snapshot look(void) {
    return (struct snapshot){now_ns(), own_cpu_ns(), server_cpu_ns(), totals.deliveries, acknowledged};
}

static void go_wrong(int status) {
    if (++errors > 1000) fail("too many errors, the last with status %d", status);
}

static void round_ends(struct channel *channel) {
    uint32_t number = (uint32_t)(channel - channels);
    if (channel->lacking || !channel->acknowledged || channel->queued) return;
    channel->queued = true;
    ready[(ready_first + ready_count++) % channel_count] = number;
    edge = true;
}

static void start_reading(struct subscriber *reader) {
    tally_clear(&reader->tally);
    *reader->connection.cursor = *reader->connection.since = 0;
    reader->begun = now_ns();
    reader->done = false;
    wire_poll(&reader->connection);
}

static void polled(struct subscriber *subscriber, const struct answer *given) {
    struct connection *connection = &subscriber->connection;
    struct channel *channel = &channels[connection->channel];
    struct answer answer = *given;
    uint32_t of_channel, number, came = 0;
    uint64_t stamp, now = now_ns();
    bool newest = false;
    if (answer.status == 200) {
        for (; wire_event(&answer, &of_channel, &number, &stamp); came++) {
            if (of_channel != connection->channel) {
                totals.foreign++;
                continue;
            }
            tally_event(&subscriber->tally, number, &totals);
            if (measuring && mode != CATCHUP) histogram_add(&delivery, now - stamp);
            newest = newest || (number == channel->published && subscriber->round != number);
        }
        if (came) last_progress = now;
        else timeouts++;
    } else if (dialect.nchan && (answer.status == 304 || answer.status == 408)) {
        timeouts++;
    } else {
        go_wrong(answer.status);
    }
    if (mode == CATCHUP && subscriber->tally.distinct == backlog) {
        passes++;
        histogram_add(&delivery, now - subscriber->begun);
        if (reading_again) start_reading(subscriber);
        else subscriber->done = true;
        return;
    }
    wire_poll(connection);
    /* Only now: who has an event counts once its next poll is on the way. */
    if (newest) {
        subscriber->round = channel->published;
        if (channel->lacking) channel->lacking--;
        if (mode == FANOUT) round_ends(channel);
    }
}

static void published(struct publisher *publisher, const struct answer *answer) {
    struct channel *channel = &channels[publisher->connection.channel];
    if (answer->status >= 200 && answer->status < 300) acknowledged++;
    else go_wrong(answer->status);
    last_progress = now_ns();
    if (measuring) histogram_add(&publication, last_progress - publisher->connection.sent);
    channel->acknowledged = true;
    if (mode == FANOUT) round_ends(channel);
}

static void answered(struct connection *connection, const struct answer *answer) {
    if (connection->subscribes) polled(&subscribers[connection->index], answer);
    else published(&publishers[connection->index], answer);
}

static void publish(struct publisher *publisher, uint32_t number, uint64_t stamp) {
    struct channel *channel = &channels[number];
    publisher->connection.channel = number;
    channel->published++;
    channel->lacking = channel->subscribers;
    channel->acknowledged = false;
    channel->since = stamp;
    wire_publish(&publisher->connection, channel->published, stamp);
}

/* Gives idle publishers what there is to publish; says when there will be more. */
static uint64_t publish_what_is_due(uint64_t now) {
    /* The same for many turns, so that the timer is seldom set. */
    uint64_t step = ns(0.05), wake = (now / step + 2) * step;
    for (uint32_t index = 0; index < publisher_count; index++) {
        struct publisher *publisher = &publishers[index];
        if (publisher->connection.busy) continue;
        if (mode == PUBLISH) {
            publish(publisher, (uint32_t)(publish_turn++ % channel_count), now);
        } else if (mode == FANOUT) {
            if (!ready_count) break;
            uint32_t number = ready[ready_first];
            ready_first = (ready_first + 1) % channel_count;
            ready_count--;
            channels[number].queued = false;
            publish(publisher, number, now);
        } else {
            while (publisher->next < schedule.total && publisher->next % channel_count % publisher_count != index)
                publisher->next++;
            uint64_t due = schedule.begin + publisher->next * schedule.interval;
            if (publisher->next >= schedule.total) continue;
            if (due > now) {
                if (due < wake) wake = due;
                continue;
            }
            publish(publisher, (uint32_t)(publisher->next++ % channel_count), due);
        }
    }
    return wake;
}

/* A channel whose event does not come goes on without it; what never comes is counted at the end. */
static void pass_over_stalls(uint64_t now) {
    static uint64_t looked;
    if (now < looked + ns(patience / 4)) return;
    looked = now;
    if (server_runs()) return; /* It is at work, or waits for a processor that others have. */
    for (uint32_t number = 0; number < channel_count; number++) {
        struct channel *channel = &channels[number];
        if (channel->lacking && channel->acknowledged && now > channel->since + ns(patience)) {
            stalls++;
            channel->lacking = 0;
            round_ends(channel);
        }
    }
}

static bool publishing(void) {
    for (uint32_t index = 0; index < publisher_count; index++)
        if (publishers[index].connection.busy || (schedule.total && publishers[index].next < schedule.total)) return true;
    return false;
}

/* Waits until everything published is acknowledged and has come, and a moment longer, for what comes twice. */
static void settle(void) {
    uint64_t now = last_progress = now_ns();
    for (;;) {
        uint64_t lacking = 0;
        for (uint32_t index = 0; index < subscriber_count; index++) {
            struct subscriber *subscriber = &subscribers[index];
            uint32_t wanted = channels[subscriber->connection.channel].published;
            if (!subscriber->done) lacking += wanted - subscriber->tally.distinct;
        }
        totals.lost = lacking;
        now = now_ns();
        bool busy = publishing();
        double wait = lacking ? patience : mode == CATCHUP ? 0 : 0.2;
        if (!busy && now > last_progress + ns(wait) && (!lacking || !server_runs() || now > last_progress + ns(wait * 10)))
            return;
        if (busy && now > last_progress + 60 * SECOND) fail("a publish is not answered");
        wire_turn(busy && schedule.total ? publish_what_is_due(now) : now + ns(0.01), answered);
    }
}

static void open_publishers(void) {
    publishers = zeroed(publisher_count, sizeof *publishers);
    for (uint32_t index = 0; index < publisher_count; index++) {
        publishers[index].connection.index = index;
        wire_open(&publishers[index].connection);
    }
}

static void open_subscribers(void) {
    subscribers = zeroed(subscriber_count, sizeof *subscribers);
    for (uint32_t index = 0; index < subscriber_count; index++) {
        struct subscriber *subscriber = &subscribers[index];
        subscriber->connection.index = index;
        subscriber->connection.channel = index % channel_count;
        subscriber->connection.subscribes = true;
        channels[subscriber->connection.channel].subscribers++;
        wire_open(&subscriber->connection);
        start_reading(subscriber);
        if (index % 64 == 63) wire_turn(0, answered);
    }
}

/* Until the server has done all that it had to do: less than 0.5 ms of CPU time in 50 ms, twice in a row, and not
   for want of a processor. */
static void await_quiet(void) {
    uint64_t give_up = now_ns() + 60 * SECOND;
    for (int quiet = 0; quiet < 2;) {
        uint64_t cpu = server_cpu_ns(), until = now_ns() + ns(0.05);
        while (now_ns() < until) wire_turn(until, answered);
        quiet = server_cpu_ns() - cpu < ns(0.0005) && !server_runs() ? quiet + 1 : 0;
        if (until > give_up) fail("the server does not come to rest");
    }
}

static void run_park(uint64_t memory[2]) {
    memory[0] = server_memory_kib();
    open_subscribers();
    await_quiet();
    memory[1] = server_memory_kib();
    from = look();
    for (uint64_t until = from.time + ns(seconds); now_ns() < until;) wire_turn(until, answered);
    to = look();
    schedule.total = channel_count;
    open_publishers();
    settle();
}

static void run_catchup(void) {
    schedule.total = (uint64_t)channel_count * backlog;
    uint32_t readers = subscriber_count;
    subscriber_count = 0;
    open_publishers();
    settle();
    subscriber_count = readers;
    from = look();
    reading_again = measuring = true;
    open_subscribers();
    for (uint64_t until = from.time + ns(seconds); now_ns() < until;) wire_turn(until, answered);
    reading_again = false;
    settle();
    to = look();
}

/* fanout, paced and publish: a window between warming up and the end. In a closed loop it begins and ends with a round,
   since with thousands on one channel a round is long. */
static void run_window(void) {
    open_publishers();
    open_subscribers();
    if (subscriber_count) await_quiet();
    uint64_t now = now_ns(), begin = now + ns(warmup), end = 0;
    if (mode == PACED) {
        schedule.begin = now;
        schedule.interval = ns(1 / rate);
        schedule.total = (uint64_t)((warmup + seconds + 1) * rate);
    }
    for (uint32_t number = 0; mode == FANOUT && number < channel_count; number++) {
        channels[number].acknowledged = true;
        round_ends(&channels[number]);
    }
    for (;;) {
        now = now_ns();
        if (mode != FANOUT || edge) {
            if (!measuring && now >= begin) {
                from = look();
                end = from.time + ns(seconds);
                measuring = true;
            } else if (measuring && now >= end) {
                to = look();
                measuring = false;
                break;
            }
        }
        edge = false;
        uint64_t wake = publish_what_is_due(now);
        if (mode == FANOUT) pass_over_stalls(now);
        wire_turn(wake, answered);
    }
    /* What is still due was only there so that the window's end is like its middle. */
    for (uint32_t index = 0; index < publisher_count; index++) publishers[index].next = schedule.total;
    settle();
}

static void report(const uint64_t memory[2]) {
    double wall = (double)(to.time - from.time) / 1e9, own = (double)(to.own - from.own) / 1e7 / wall;
    double cpu = (double)(to.server - from.server) / 1e9;
    double deliveries = (double)(to.deliveries - from.deliveries);
    double publishes = (double)(to.acknowledged - from.acknowledged);
    if (own > most_own_cpu) {
        fprintf(stderr, "load: its own CPU was %.0f %% of a core, over %.0f %%: no report\n", own, most_own_cpu);
        exit(3);
    }
    printf("{\"mode\": \"%s\", \"channels\": %u, \"subscribers\": %u, \"publishers\": %u, \"seconds\": %.3f,\n", modes[mode],
           channel_count, subscriber_count, publisher_count, wall);
    printf(" \"deliveries\": %.0f, \"publishes\": %.0f, \"deliveries_total\": %llu, \"publishes_total\": %llu,\n", deliveries,
           publishes, (unsigned long long)totals.deliveries, (unsigned long long)acknowledged);
    printf(" \"deliveries_per_second\": %.1f, \"publishes_per_second\": %.1f,\n", deliveries / wall, publishes / wall);
    printf(" \"server_cpu_seconds\": %.6f, \"own_cpu_percent\": %.1f, \"server_memory_kib\": %llu,\n", cpu, own,
           (unsigned long long)server_memory_kib());
    if (mode == PARK)
        printf(" \"kib_per_poll\": %.3f, \"cpu_us_per_poll_second\": %.3f,\n",
               ((double)memory[1] - (double)memory[0]) / subscriber_count, cpu * 1e6 / subscriber_count / wall);
    printf(" \"latency_ms\": {\"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f},\n", histogram_ms(&delivery, 0.5),
           histogram_ms(&delivery, 0.99), (double)delivery.most / 1e6);
    printf(" \"publish_latency_ms\": {\"p50\": %.3f, \"p99\": %.3f, \"max\": %.3f},\n", histogram_ms(&publication, 0.5),
           histogram_ms(&publication, 0.99), (double)publication.most / 1e6);
    printf(" \"lost\": %llu, \"doubled\": %llu, \"disordered\": %llu, \"foreign\": %llu, \"errors\": %llu,\n",
           (unsigned long long)totals.lost, (unsigned long long)totals.doubled, (unsigned long long)totals.disordered,
           (unsigned long long)totals.foreign, (unsigned long long)errors);
    printf(" \"timeouts\": %llu, \"reconnects\": %llu, \"stalls\": %llu, \"passes\": %llu}\n", (unsigned long long)timeouts,
           (unsigned long long)reconnects, (unsigned long long)stalls, (unsigned long long)passes);
}

static double number(const char *text, double least) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= least) || value > 1e9) fail("%s is no number from %g on", text, least);
    return value;
}

static void read_options(int count, char **arguments) {
    enum { PORT = 1, PIDS, CHANNELS, SUBSCRIBERS, PUBLISHERS, BACKLOG, SECONDS, WARMUP, RATE, SIZE, LIMIT, HOLD, PATIENCE,
           PREFIX, OWN, NCHAN };
    static const struct option known[] = {
        {"port", 1, 0, PORT}, {"pids", 1, 0, PIDS}, {"channels", 1, 0, CHANNELS}, {"subscribers", 1, 0, SUBSCRIBERS},
        {"publishers", 1, 0, PUBLISHERS}, {"backlog", 1, 0, BACKLOG}, {"seconds", 1, 0, SECONDS}, {"warmup", 1, 0, WARMUP},
        {"rate", 1, 0, RATE}, {"size", 1, 0, SIZE}, {"limit", 1, 0, LIMIT}, {"timeout", 1, 0, HOLD},
        {"patience", 1, 0, PATIENCE}, {"prefix", 1, 0, PREFIX}, {"own-cpu", 1, 0, OWN}, {"nchan", 0, 0, NCHAN}, {0},
    };
    int option;
    while ((option = getopt_long(count, arguments, "", known, NULL)) != -1) {
        switch (option) {
        case PORT: dialect.port = (int)number(optarg, 1); break;
        case PIDS: watch_pids(optarg); break;
        case CHANNELS: channel_count = (uint32_t)number(optarg, 1); break;
        case SUBSCRIBERS: subscriber_count = (uint32_t)number(optarg, 0); break;
        case PUBLISHERS: publisher_count = (uint32_t)number(optarg, 1); break;
        case BACKLOG: backlog = (uint32_t)number(optarg, 1); break;
        case SECONDS: seconds = number(optarg, 0.01); break;
        case WARMUP: warmup = number(optarg, 0); break;
        case RATE: rate = number(optarg, 0.1); break;
        case SIZE: dialect.size = (uint32_t)number(optarg, 64); break;
        case LIMIT: dialect.limit = (uint32_t)number(optarg, 0); break;
        case HOLD: dialect.timeout = number(optarg, 0); break;
        case PATIENCE: patience = number(optarg, 0.01); break;
        case PREFIX: dialect.prefix = optarg; break;
        case OWN: most_own_cpu = number(optarg, 0); break;
        case NCHAN: dialect.nchan = true; break;
        default: exit(2);
        }
    }
    if (optind + 1 != count || !dialect.port) fail("usage: load MODE --port N --pids N,N [options]");
    while (mode <= CATCHUP && strcmp(modes[mode], arguments[optind])) mode++;
    if (mode > CATCHUP) fail("no mode %s", arguments[optind]);
    if (most_own_cpu > 85) fail("its own CPU may be 85 %% at most");
    if (strlen(dialect.prefix) > 64) fail("a prefix of at most 64 bytes");
    if (dialect.size > 60000) fail("a message of at most 60000 bytes");
    if ((mode == PARK || mode == CATCHUP) && !subscriber_count) fail("%s needs subscribers", modes[mode]);
}

int main(int count, char **arguments) {
    uint64_t memory[2] = {0, 0};
    read_options(count, arguments);
    channels = zeroed(channel_count, sizeof *channels);
    ready = zeroed(channel_count, sizeof *ready);
    wire_start();
    await_quiet(); /* An earlier run's connections are still being closed. */
    if (mode == PARK) run_park(memory);
    else if (mode == CATCHUP) run_catchup();
    else run_window();
    report(memory);
    return 0;
}
