/* What the parts of the load generator share: modes.c is the program, load.c has subscribers and publishers at work,
   wire.c speaks HTTP, tally.c counts, command.c reads the options and tells the figures. */
#ifndef LOAD_H
#define LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* -- tally.c ------------------------------------------------------------------------------------------------------ */

/* What one subscriber has had of its channel. Events carry 1, 2, 3, … as their number within the channel. */
struct tally {
    uint8_t *seen; /* a bit for each number */
    uint32_t room; /* bytes of it */
    uint32_t most; /* the greatest number that came */
    uint32_t distinct;
};

/* Of all subscribers together. `lost` is known at the end only. */
struct totals {
    uint64_t deliveries, lost, doubled, disordered, foreign;
};

void tally_event(struct tally *tally, uint32_t number, struct totals *totals);
void tally_clear(struct tally *tally);

/* Times in ns, kept with an error below 1 %. */
struct histogram {
    uint64_t count, most;
    uint64_t bucket[64 * 64];
};

void histogram_add(struct histogram *histogram, uint64_t ns);
double histogram_ms(const struct histogram *histogram, double part);

uint64_t now_ns(void);
uint64_t own_cpu_ns(void);
void watch_pids(const char *list);
unsigned server_count(void);
uint64_t server_cpu_ns(void);
uint64_t server_memory_kib(void);
void tell_descriptors(FILE *to);
bool server_runs(void);

_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
void *zeroed(size_t count, size_t size);

/* -- wire.c ------------------------------------------------------------------------------------------------------- */

/* A connection with at most one request on it; subscribers and publishers have one each. */
struct connection {
    int fd;
    bool subscribes, busy;
    uint32_t behind;  /* bytes of its next poll that are sent already */
    uint32_t index;   /* among the subscribers or among the publishers */
    uint32_t channel; /* followed, or published to at the moment */
    uint64_t sent;
    char cursor[64], since[40]; /* since: Nchan's cursor has two parts */
    char *kept;                 /* what came of an answer that is not whole yet */
    size_t have, need, room;
};

struct answer {
    int status;
    const char *body;
    size_t length;
};

/* How the server is spoken to. */
struct dialect {
    int port;
    bool nchan;
    const char *prefix; /* of the channels' names */
    double timeout;
    uint32_t limit;
    uint32_t size;    /* bytes of a message */
    const char *head; /* fields that a poll has besides Host */
    char fields[4096]; /* fields that each request has besides, lines */
    uint32_t behind;  /* bytes of the next poll that are sent behind each */
};

extern struct dialect dialect;
extern uint64_t reconnects;

/* As a page's script sends them, with its cookies: about 1.5 KiB. */
extern const char browser_head[];

void wire_start(void);
void wire_open(struct connection *connection);
void wire_poll(struct connection *connection);
void wire_publish(struct connection *connection, uint32_t number, uint64_t stamp);
/* Gives every whole answer to `answered`, waits for one at most until `until`, and returns how many connections had
   something. */
unsigned wire_turn(uint64_t until, void (*answered)(struct connection *, const struct answer *));
/* Takes the next event of ours from a body; false where there is none. */
bool wire_event(struct answer *answer, uint32_t *channel, uint32_t *number, uint64_t *stamp);

/* -- command.c ---------------------------------------------------------------------------------------------------- */

struct settings {
    enum { PARK, FANOUT, PACED, PUBLISH, CATCHUP } mode;
    uint32_t channels, subscribers, publishers, backlog;
    double seconds, warmup, rate, patience, most_own_cpu;
};

struct snapshot {
    uint64_t time, own, server, deliveries, acknowledged;
};

struct figures {
    struct snapshot from, to; /* the part that is measured */
    struct totals totals;
    struct histogram delivery, publication;
    uint64_t acknowledged, errors, timeouts, stalls, passes;
    uint64_t memory[2]; /* park: before and with the polls */
};

extern struct settings settings;
extern struct figures figures;

void read_options(int count, char **arguments);
void report(void);

/* -- load.c ------------------------------------------------------------------------------------------------------- */

/* The schedule of the paced mode: event n belongs to channel n % channels, and is due at begin + n * interval. A
   channel's events all go over one connection, one after another: so the server must keep their order. */
struct load {
    uint64_t total, begin, interval;
    uint32_t opened; /* channels that had their first event */
    bool measuring, edge, reading_again;
};

extern struct load load;

void begin_load(void);
void begin_rounds(void);
void end_schedule(void);
void open_publishers(void);
void open_subscribers(void);
/* Reads what has come, for which it waits at most until `until`. */
void turn(uint64_t until);
/* Gives idle publishers what there is to publish; says when there will be more. */
uint64_t publish_what_is_due(uint64_t now);
void pass_over_stalls(uint64_t now);
void await_quiet(void);
void settle(void);
struct snapshot look(void);
uint64_t ns(double of_seconds);

#endif
