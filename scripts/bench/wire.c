/* Connections, and as much of HTTP as a subscriber and a publisher need.

   Requests are small and go out in one write; answers must have a Content-Length, and nearly all come in one read. A
   connection that the server closes is opened again, and a poll is sent again with its cursor, as a client would. */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* What every poll begins with. */
static const char common[] = "GET /subscribe/";

const char browser_head[] =
    "Connection: keep-alive\r\n"
    "sec-ch-ua-platform: \"Windows\"\r\n"
    "User-Agent: Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/138.0.0.0 Safari/537.36 Edg/138.0.0.0\r\n"
    "sec-ch-ua: \"Not)A;Brand\";v=\"8\", \"Chromium\";v=\"138\", \"Microsoft Edge\";v=\"138\"\r\n"
    "sec-ch-ua-mobile: ?0\r\n"
    "DNT: 1\r\n"
    "Accept: application/json, text/plain, */*\r\n"
    "Cache-Control: no-cache\r\n"
    "Pragma: no-cache\r\n"
    "Sec-Fetch-Site: same-origin\r\n"
    "Sec-Fetch-Mode: cors\r\n"
    "Sec-Fetch-Dest: empty\r\n"
    "Referer: http://127.0.0.1/projects/4711/board?view=week&sort=due&assignee=me&tab=activity\r\n"
    "Accept-Encoding: gzip, deflate, br, zstd\r\n"
    "Accept-Language: de-DE,de;q=0.9,en-GB;q=0.8,en-US;q=0.7,en;q=0.6,fr;q=0.5\r\n"
    "Cookie: _ga=GA1.1.1234567890.1751000000; _ga_ABCDEF1234=GS2.1.s1751000000$o12$g1$t1751000600$j60$l0$h0; "
    "_pk_id.7.1fff=3f1d2c4b5a697887.1751000000.12.1751000600.1751000000.; "
    "remember_me=eyJpdiI6Ik1rUTVjM1Z0YkE9PSIsInZhbHVlIjoiVGhpcyBpcyBub3QgYSB0b2tlbiBvZiBhbnlib2R5J3MifQ; "
    "AWSALB=q8m2Vn5xC7zL0pK4jH6gF3dS1aQ9wE8rT7yU6iO5pA4sD3fG2hJ1kL0zX9cV8bN7m; "
    "theme=dark; locale=de; consent=%7B%22necessary%22%3Atrue%2C%22statistics%22%3Afalse%2C%22version%22%3A3%7D; "
    "csrf_token=IjRmYzA5YjE2ZDQ3ZTg1YTIzYmNkOTg3NjU0MzIxMGZlZGNiYTk4NzYi.aF1x2w.Q7c0m3s9d8f7g6h5j4k3l2z1x0c9v8; "
    "session=.eJwlzjEOwzAIAMC_MHcw2GDIZyLAoHZN2qnq3xup7w5WHnUEWc97LdX9PgI9jx4LXtQ8yKjWFtl1lmvM8o6VqJyqRkLpZ2rM2LxLgVzq"
    "4hUjS3D1qFmYjT1aGkNwZbLWjnSYlqWdJQpHkRm1qjzQkWfAfn3l3LDu0m8vz8AI0TbqA.aF1x2w.mZ0y1x2w3v4u5t6s7r8q9p0o1n2m3l4k\r\n";

struct dialect dialect = {.prefix = "bench", .timeout = 30, .size = 100, .head = ""};
uint64_t reconnects;

static int events_fd, timer_fd;
static char arrived[1 << 18], request[1 << 17];

void wire_start(void) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    events_fd = epoll_create1(EPOLL_CLOEXEC);
    timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (events_fd < 0 || timer_fd < 0 || epoll_ctl(events_fd, EPOLL_CTL_ADD, timer_fd, &event)) fail("no epoll");
}

void wire_open(struct connection *connection) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)dialect.port)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    int one = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection->fd < 0) fail("no socket: %s", strerror(errno));
    /* It waits while the server's queue is full; so many can come at once, and no more. */
    if (connect(connection->fd, (struct sockaddr *)&address, sizeof address)) fail("connect: %s", strerror(errno));
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    connection->have = connection->need = connection->behind = 0;
    if (epoll_ctl(events_fd, EPOLL_CTL_ADD, connection->fd, &event)) fail("epoll: %s", strerror(errno));
}

static void reopen(struct connection *connection) {
    close(connection->fd);
    if (++reconnects > 100000) fail("the server closes every connection");
    wire_open(connection);
}

static void put(struct connection *connection, const char *from, size_t length) {
    connection->busy = true;
    while (length) {
        ssize_t sent = send(connection->fd, from, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            from += sent;
            length -= (size_t)sent;
        } else if (errno == EAGAIN) {
            struct pollfd ready = {.fd = connection->fd, .events = POLLOUT};
            if (poll(&ready, 1, 5000) <= 0) fail("the server does not read");
        } else {
            return; /* closed: the event that follows tells */
        }
    }
}

/* Text and numbers to the request; printf would be a tenth of the load's CPU time. */
static char *text(char *to, const char *from) {
    size_t length = strlen(from);
    memcpy(to, from, length);
    return to + length;
}

static char *decimal(char *to, uint64_t number) {
    char digits[20];
    int count = 0;
    do digits[count++] = (char)('0' + number % 10);
    while (number /= 10);
    while (count) *to++ = digits[--count];
    return to;
}

static char *path(char *to, const char *method, uint32_t channel) {
    to = text(text(text(to, method), dialect.prefix), "-");
    return decimal(to, channel);
}

void wire_poll(struct connection *connection) {
    static char rest[64];
    if (!*rest) {
        int length = snprintf(rest, sizeof rest, "&timeout=%g", dialect.timeout);
        if (dialect.limit) snprintf(rest + length, sizeof rest - (size_t)length, "&limit=%u", dialect.limit);
    }
    char *to = path(request, common, connection->channel);
    if (!dialect.nchan) {
        to = text(to, "?last_event_id=");
        to = text(text(to, *connection->cursor ? connection->cursor : "0"), rest);
    }
    to = text(to, " HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    if (*connection->since) {
        to = text(text(to, "If-Modified-Since: "), connection->since);
        to = text(text(text(to, "\r\nIf-None-Match: "), connection->cursor), "\r\n");
    }
    to = text(text(text(to, dialect.head), dialect.fields), "\r\n");
    memcpy(to, common, dialect.behind);
    connection->sent = now_ns();
    put(connection, request + connection->behind, (size_t)(to - request) + dialect.behind - connection->behind);
    connection->behind = dialect.behind;
}

/* An event's message: whose it is and when it was due, filled up to the size asked. */
void wire_publish(struct connection *connection, uint32_t number, uint64_t stamp) {
    char message[128], *end = text(message, "load.");
    end = decimal(text(decimal(text(decimal(end, connection->channel), "."), number), "."), stamp);
    *end++ = '.';
    size_t length = (size_t)(end - message), filled = length < dialect.size ? dialect.size - length : 0;
    char *to = text(path(request, "POST /publish/", connection->channel), " HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    to = text(to, dialect.fields);
    to = text(to, dialect.nchan ? "Content-Type: text/plain\r\n" : "Content-Type: application/json\r\n");
    to = decimal(text(to, "Content-Length: "), length + filled + (dialect.nchan ? 0 : strlen("{\"message\":\"\"}")));
    to = text(text(to, "\r\n\r\n"), dialect.nchan ? "" : "{\"message\":\"");
    memcpy(to, message, length);
    memset(to + length, 'x', filled);
    to = text(to + length + filled, dialect.nchan ? "" : "\"}");
    connection->sent = now_ns();
    put(connection, request, (size_t)(to - request));
}

/* A number that a dot ends; the body has no end of its own. */
static const char *read_number(const char *from, const char *end, uint64_t *number) {
    for (*number = 0; from < end && *from >= '0' && *from <= '9'; from++)
        *number = *number * 10 + (uint64_t)(*from - '0');
    if (from == end || *from != '.') fail("a message that is not ours");
    return from + 1;
}

bool wire_event(struct answer *answer, uint32_t *channel, uint32_t *number, uint64_t *stamp) {
    const char *end = answer->body + answer->length, *found = memmem(answer->body, answer->length, "load.", 5);
    uint64_t of_channel, of_event;
    if (!found) return false;
    found = read_number(found + 5, end, &of_channel);
    found = read_number(read_number(found, end, &of_event), end, stamp);
    *channel = (uint32_t)of_channel;
    *number = (uint32_t)of_event;
    answer->body = found;
    answer->length = (size_t)(end - found);
    return true;
}

static bool named(const char *line, const char *end, const char *name, const char **value, size_t *length) {
    size_t known = strlen(name);
    if ((size_t)(end - line) <= known || line[known] != ':' || strncasecmp(line, name, known)) return false;
    for (*value = line + known + 1; *value < end && **value == ' ';) (*value)++;
    *length = (size_t)(end - *value);
    return true;
}

static void copy(char *to, size_t room, const char *from, size_t length) {
    if (length >= room) fail("a cursor of %zu bytes", length);
    memcpy(to, from, length);
    to[length] = 0;
}

/* Reads one answer; false where more of it must come, with connection->need set once that is known. */
static bool take(struct connection *connection, const char *data, size_t size, struct answer *answer, bool *last) {
    const char *end, *line, *value, *head_end = memmem(data, size, "\r\n\r\n", 4);
    size_t length, body = 0;
    bool told = false;
    if (!head_end) return false;
    if (size < 12 || strncmp(data, "HTTP/1.", 7)) fail("no HTTP: %.40s", data);
    answer->status = atoi(data + 9);
    told = answer->status == 304 || answer->status == 204;
    /* The cursor is taken with the answer that brings it: one that is not whole yet must leave it as it is. */
    for (int pass = 0; pass < 2; pass++) {
        for (line = memchr(data, '\n', size) + 1; line < head_end + 2; line = end + 2) {
            end = memchr(line, '\r', (size_t)(head_end + 2 - line));
            if (!end) fail("no HTTP: a line without an end");
            if (!pass) {
                if (named(line, end, "content-length", &value, &length)) body = strtoul(value, NULL, 10), told = true;
                else if (named(line, end, "connection", &value, &length)) *last = !strncasecmp(value, "close", 5);
            } else if (connection->subscribes && answer->status == 200) {
                if (named(line, end, dialect.nchan ? "etag" : "last-event-id", &value, &length))
                    copy(connection->cursor, sizeof connection->cursor, value, length);
                else if (dialect.nchan && named(line, end, "last-modified", &value, &length))
                    copy(connection->since, sizeof connection->since, value, length);
            }
        }
        if (!told) fail("an answer without Content-Length: %.60s", data);
        connection->need = (size_t)(head_end + 4 - data) + body;
        if (size < connection->need) return false;
    }
    if (size > connection->need) fail("more than was asked for");
    answer->body = head_end + 4;
    answer->length = body;
    return true;
}

static void keep(struct connection *connection, const char *data, size_t size) {
    size_t wanted = connection->need > size ? connection->need : size + 65536;
    bool is_kept = data == connection->kept; /* as long as that is where it was */
    if (wanted > connection->room) {
        connection->kept = realloc(connection->kept, wanted);
        if (!connection->kept) fail("out of memory");
        connection->room = wanted;
    }
    if (!is_kept) memcpy(connection->kept, data, size);
    connection->have = size;
}

static void arrive(struct connection *connection, void (*answered)(struct connection *, const struct answer *)) {
    struct answer answer;
    bool last = false, begun = connection->have > 0;
    char *data = begun ? connection->kept : arrived;
    if (begun && connection->have == connection->room) keep(connection, data, connection->have);
    size_t room = begun ? connection->room - connection->have : sizeof arrived;
    ssize_t got = recv(connection->fd, data + connection->have, room, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        bool was_busy = connection->busy;
        connection->busy = false;
        reopen(connection);
        if (!was_busy) return;
        if (connection->subscribes) wire_poll(connection);
        else answered(connection, &(struct answer){.status = 0}); /* Whether it was published nobody knows. */
        return;
    }
    size_t size = connection->have + (size_t)got;
    if (!connection->busy) fail("an answer that nobody asked for: %.60s", data);
    if (size < connection->need || !take(connection, data, size, &answer, &last)) {
        keep(connection, data, size);
        return;
    }
    connection->have = connection->need = 0;
    connection->busy = false;
    if (last) reopen(connection);
    answered(connection, &answer);
    if (begun && !connection->have) {
        free(connection->kept);
        connection->kept = NULL;
        connection->room = 0;
    }
}

unsigned wire_turn(uint64_t until, void (*answered)(struct connection *, const struct answer *)) {
    static struct epoll_event events[512];
    static uint64_t armed;
    uint64_t now = now_ns();
    int timeout = until > now ? -1 : 0;
    if (timeout && until != armed) {
        struct itimerspec due = {.it_value = {(time_t)(until / 1000000000u), (long)(until % 1000000000u)}};
        timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &due, NULL);
        armed = until;
    }
    int count = epoll_wait(events_fd, events, sizeof events / sizeof *events, timeout);
    for (int index = 0; index < count; index++) {
        if (events[index].data.ptr) arrive(events[index].data.ptr, answered);
        else if (read(timer_fd, &now, sizeof now) < 0 && errno != EAGAIN) fail("no timer");
    }
    return count > 0 ? (unsigned)count : 0;
}
