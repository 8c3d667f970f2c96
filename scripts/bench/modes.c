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

static void run_park(void) {
    figures.memory[0] = server_memory_kib();
    open_subscribers();
    await_quiet();
    figures.memory[1] = server_memory_kib();
    figures.from = look();
    for (uint64_t until = figures.from.time + ns(settings.seconds); now_ns() < until;) turn(until);
    figures.to = look();
    load.total = settings.channels;
    open_publishers();
    settle();
}

static void run_catchup(void) {
    load.total = (uint64_t)settings.channels * settings.backlog;
    uint32_t readers = settings.subscribers;
    settings.subscribers = 0;
    open_publishers();
    settle();
    settings.subscribers = readers;
    figures.from = look();
    load.reading_again = load.measuring = true;
    open_subscribers();
    for (uint64_t until = figures.from.time + ns(settings.seconds); now_ns() < until;) turn(until);
    load.reading_again = false;
    settle();
    figures.to = look();
}

/* fanout, paced and publish: a window between warming up and the end. In a closed loop it begins and ends with a round,
   since with thousands on one channel a round is long. */
static void run_window(void) {
    open_publishers();
    open_subscribers();
    if (settings.subscribers) await_quiet();
    double first_events = settings.mode == PACED ? settings.channels / settings.rate : 0;
    double warmup = settings.warmup > first_events ? settings.warmup : first_events;
    uint64_t now = now_ns(), begin = now + ns(warmup), end = 0;
    if (settings.mode == PACED) {
        load.begin = now;
        load.interval = ns(1 / settings.rate);
        load.total = (uint64_t)((warmup + settings.seconds + 1) * settings.rate);
    }
    if (settings.mode == FANOUT) begin_rounds();
    for (;;) {
        now = now_ns();
        if (settings.mode != FANOUT || load.edge) {
            /* A channel's first event may cost more than the others, which are what is measured. */
            if (!load.measuring && now >= begin && load.opened == settings.channels) {
                figures.from = look();
                end = figures.from.time + ns(settings.seconds);
                load.measuring = true;
            } else if (load.measuring && now >= end) {
                figures.to = look();
                load.measuring = false;
                break;
            }
        }
        load.edge = false;
        uint64_t wake = publish_what_is_due(now);
        if (settings.mode == FANOUT) pass_over_stalls(now);
        turn(wake);
    }
    end_schedule();
    settle();
}

int main(int count, char **arguments) {
    read_options(count, arguments);
    begin_load();
    wire_start();
    await_quiet(); /* An earlier run's connections are still being closed. */
    if (settings.mode == PARK) run_park();
    else if (settings.mode == CATCHUP) run_catchup();
    else run_window();
    report();
    return 0;
}
