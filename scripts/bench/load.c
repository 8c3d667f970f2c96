/* The load: subscribers and publishers, what an answer to one of them leads to, and what is due. */
#define _GNU_SOURCE
#include "load.h"

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

static struct channel *channels;
static struct subscriber *subscribers;
static struct publisher *publishers;
static uint32_t *ready, ready_first, ready_count; /* a ring of channels whose next event may be published */

static struct connection **asking; /* who has had an event and has not asked for the next one yet */
static uint32_t asking_first, asking_count; /* a ring */

static uint64_t last_progress, publish_turn;
struct load load;

uint64_t ns(double of_seconds) { return (uint64_t)(of_seconds * 1e9); }

struct snapshot look(void) {
    return (struct snapshot){now_ns(), own_cpu_ns(), server_cpu_ns(), figures.totals.deliveries, figures.acknowledged};
}

static void go_wrong(int status) {
    if (++figures.errors > 1000) fail("too many errors, the last with status %d", status);
}

static void round_ends(struct channel *channel) {
    uint32_t number = (uint32_t)(channel - channels);
    if (channel->lacking || !channel->acknowledged || channel->queued) return;
    channel->queued = true;
    ready[(ready_first + ready_count++) % settings.channels] = number;
    load.edge = true;
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
                figures.totals.foreign++;
                continue;
            }
            tally_event(&subscriber->tally, number, &figures.totals);
            if (load.measuring && settings.mode != CATCHUP) histogram_add(&figures.delivery, now - stamp);
            newest = newest || (number == channel->published && subscriber->round != number);
        }
        if (came) last_progress = now;
        else figures.timeouts++;
    } else if (dialect.nchan && (answer.status == 304 || answer.status == 408)) {
        figures.timeouts++;
    } else {
        go_wrong(answer.status);
    }
    if (settings.mode == CATCHUP && subscriber->tally.distinct == settings.backlog) {
        figures.passes++;
        histogram_add(&figures.delivery, now - subscriber->begun);
        if (load.reading_again) start_reading(subscriber);
        else subscriber->done = true;
        return;
    }
    if (settings.mode == PACED) asking[(asking_first + asking_count++) % settings.subscribers] = connection;
    else wire_poll(connection);
    /* Only now: who has an event counts once its next poll is on the way. */
    if (newest) {
        subscriber->round = channel->published;
        if (channel->lacking) channel->lacking--;
        if (settings.mode == FANOUT) round_ends(channel);
    }
}

static void published(struct publisher *publisher, const struct answer *answer) {
    struct channel *channel = &channels[publisher->connection.channel];
    if (answer->status >= 200 && answer->status < 300) figures.acknowledged++;
    else go_wrong(answer->status);
    last_progress = now_ns();
    if (load.measuring) histogram_add(&figures.publication, last_progress - publisher->connection.sent);
    channel->acknowledged = true;
    if (settings.mode == FANOUT) round_ends(channel);
}

static void answered(struct connection *connection, const struct answer *answer) {
    if (connection->subscribes) polled(&subscribers[connection->index], answer);
    else published(&publishers[connection->index], answer);
}

/* At a rate, nobody asks for his next event while another has not read the one that came: a thousand clients are not
   behind one another, and a poll takes this one program longer than the server takes for an event. */
void turn(uint64_t until) {
    if (wire_turn(asking_count ? 0 : until, answered) || !asking_count) return;
    wire_poll(asking[asking_first]);
    asking_first = (asking_first + 1) % settings.subscribers;
    asking_count--;
}

static void publish(struct publisher *publisher, uint32_t number, uint64_t stamp) {
    struct channel *channel = &channels[number];
    publisher->connection.channel = number;
    if (!channel->published++) load.opened++;
    channel->lacking = channel->subscribers;
    channel->acknowledged = false;
    channel->since = stamp;
    wire_publish(&publisher->connection, channel->published, stamp);
}

/* Gives idle publishers what there is to publish; says when there will be more. */
uint64_t publish_what_is_due(uint64_t now) {
    /* The same for many turns, so that the timer is seldom set. */
    uint64_t step = ns(0.05), wake = (now / step + 2) * step;
    for (uint32_t index = 0; index < settings.publishers; index++) {
        struct publisher *publisher = &publishers[index];
        if (publisher->connection.busy) continue;
        if (settings.mode == PUBLISH) {
            publish(publisher, (uint32_t)(publish_turn++ % settings.channels), now);
        } else if (settings.mode == FANOUT) {
            if (!ready_count) break;
            uint32_t number = ready[ready_first];
            ready_first = (ready_first + 1) % settings.channels;
            ready_count--;
            channels[number].queued = false;
            publish(publisher, number, now);
        } else {
            while (publisher->next < load.total &&
                   publisher->next % settings.channels % settings.publishers != index)
                publisher->next++;
            uint64_t due = load.begin + publisher->next * load.interval;
            if (publisher->next >= load.total) continue;
            if (due > now) {
                if (due < wake) wake = due;
                continue;
            }
            publish(publisher, (uint32_t)(publisher->next++ % settings.channels), due);
        }
    }
    return wake;
}

/* A channel whose event does not come goes on without it; what never comes is counted at the end. */
void pass_over_stalls(uint64_t now) {
    static uint64_t looked;
    if (now < looked + ns(settings.patience / 4)) return;
    looked = now;
    if (server_runs()) return; /* It is at work, or waits for a processor that others have. */
    for (uint32_t number = 0; number < settings.channels; number++) {
        struct channel *channel = &channels[number];
        if (channel->lacking && channel->acknowledged && now > channel->since + ns(settings.patience)) {
            figures.stalls++;
            channel->lacking = 0;
            round_ends(channel);
        }
    }
}

static bool publishing(void) {
    for (uint32_t index = 0; index < settings.publishers; index++)
        if (publishers[index].connection.busy || publishers[index].next < load.total) return true;
    return false;
}

/* Waits until everything published is acknowledged and has come, and a moment longer, for what comes twice. */
void settle(void) {
    uint64_t now = last_progress = now_ns();
    for (;;) {
        uint64_t lacking = 0;
        for (uint32_t index = 0; index < settings.subscribers; index++) {
            struct subscriber *subscriber = &subscribers[index];
            uint32_t wanted = channels[subscriber->connection.channel].published;
            if (!subscriber->done) lacking += wanted - subscriber->tally.distinct;
        }
        figures.totals.lost = lacking;
        now = now_ns();
        bool busy = publishing() || asking_count;
        double wait = lacking ? settings.patience : settings.mode == CATCHUP ? 0 : 0.2;
        bool over = !busy && now > last_progress + ns(wait);
        /* A server that waits for a processor has not lost anything yet. */
        if (over && (!lacking || !server_runs() || now > last_progress + ns(wait * 10))) return;
        if (busy && now > last_progress + 60 * SECOND) fail("a publish is not answered");
        turn(busy && load.total ? publish_what_is_due(now) : now + ns(0.01));
    }
}

void open_publishers(void) {
    publishers = zeroed(settings.publishers, sizeof *publishers);
    for (uint32_t index = 0; index < settings.publishers; index++) {
        publishers[index].connection.index = index;
        wire_open(&publishers[index].connection);
    }
}

void open_subscribers(void) {
    subscribers = zeroed(settings.subscribers, sizeof *subscribers);
    asking = zeroed(settings.subscribers, sizeof *asking);
    for (uint32_t index = 0; index < settings.subscribers; index++) {
        struct subscriber *subscriber = &subscribers[index];
        subscriber->connection.index = index;
        subscriber->connection.channel = index % settings.channels;
        subscriber->connection.subscribes = true;
        channels[subscriber->connection.channel].subscribers++;
        wire_open(&subscriber->connection);
        start_reading(subscriber);
        if (index % 64 == 63) turn(0);
    }
}

/* Until the server has done all that it had to do: each process less than 0.5 ms of CPU time in 50 ms, twice in a row,
   and not for want of a processor. */
void await_quiet(void) {
    uint64_t give_up = now_ns() + 60 * SECOND;
    for (int quiet = 0; quiet < 2;) {
        uint64_t cpu = server_cpu_ns(), until = now_ns() + ns(0.05);
        while (now_ns() < until) turn(until);
        quiet = server_cpu_ns() - cpu < server_count() * ns(0.0005) && !server_runs() ? quiet + 1 : 0;
        if (until > give_up) fail("the server does not come to rest");
    }
}

/* Every channel's first event may be published. */
void begin_rounds(void) {
    for (uint32_t number = 0; number < settings.channels; number++) {
        channels[number].acknowledged = true;
        round_ends(&channels[number]);
    }
}

/* What is still due was only there so that the window's end is like its middle. */
void end_schedule(void) {
    for (uint32_t index = 0; index < settings.publishers; index++) publishers[index].next = load.total;
}

void begin_load(void) {
    channels = zeroed(settings.channels, sizeof *channels);
    ready = zeroed(settings.channels, sizeof *ready);
}
