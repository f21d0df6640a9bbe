/* Readers and publishers of one push server: the part of the client that has to be
 * faster than the server. client.py builds it, says who connects, what is published
 * and how long to wait, and reads the counts; here is what happens for each delivery:
 * sockets and epoll in one thread, 4 to 9 us of which most is the kernel's.
 *
 * A message is #channel:number:nanoseconds# and filling. Each delivery is checked
 * (doubled, out of order) and timed by the clock that stamped it.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum transport { POLL, STREAM, SOCKET, MANY };
enum { EVENTS = 512, INPUT = 1 << 22, REST = 4096 };

/* A reader in one channel. */
struct place {
    long seen;
    char cursor[40]; /* of MANY */
};

struct connection {
    int descriptor, port;
    bool publishes;
    char *rest; /* what has come of an answer that is not whole yet */
    size_t length;
    /* a reader: of `count` channels from `first` */
    int first, count;
    bool opened; /* the head of the stream has come */
    char etag[64], date[40];
    struct place *places;
    /* a publisher: of each `stride`th channel, in turns, `turns` times in all */
    bool busy;
    int stride;
    long turn, turns;
};

struct load {
    /* what client.py reads and writes, in this order */
    long delivered, doubled, errors, reconnects;
    long before; /* numbers up to this one are of an earlier round */
    double last_at;
    double *latencies;
    /* the rest */
    size_t room;
    enum transport transport;
    int size, epoll;
    char subscribe[80], publish[80], name[40];
    struct connection **connections;
    size_t count;
    char *input;
};

static void *grown(void *memory, size_t size) {
    memory = realloc(memory, size);
    if (!memory) abort();
    return memory;
}

static long nanoseconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000L + time.tv_nsec;
}

/* Text that is put together; there is room for it. */
struct text {
    char *start, *end;
};

static void add(struct text *text, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    text->end += vsprintf(text->end, format, arguments);
    va_end(arguments);
}

static void send_text(struct connection *c, struct text *text) {
    /* A connection that is gone says so when it is read. */
    (void)!send(c->descriptor, text->start, text->end - text->start, MSG_NOSIGNAL);
    free(text->start);
}

static struct text new_text(size_t room) {
    char *start = grown(NULL, room);
    return (struct text){start, start};
}

/* Requests. */

static void ask(struct load *load, struct connection *c) {
    struct text text = new_text(1024 + 128 * c->count);
    if (load->transport != MANY) {
        add(&text, "GET ");
        add(&text, load->subscribe, c->first);
        add(&text, " HTTP/1.1\r\nHost: 127.0.0.1\r\n");
    }
    if (load->transport == POLL && *c->etag)
        add(&text, "If-None-Match: %s\r\nIf-Modified-Since: %s\r\n\r\n", c->etag, c->date);
    else if (load->transport == POLL)
        add(&text, "\r\n");
    else if (load->transport == STREAM)
        add(&text, "Accept: text/event-stream\r\n\r\n");
    else if (load->transport == SOCKET)
        add(&text, "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                   "Sec-WebSocket-Version: 13\r\n"
                   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    else {
        struct text body = new_text(32 + 128 * c->count);
        add(&body, "{\"channels\":{");
        for (int n = 0; n < c->count; n++) {
            add(&body, n ? ",\"" : "\"");
            add(&body, load->name, c->first + n);
            const char *cursor = c->places[n].cursor;
            add(&body, *cursor ? "\":{\"since\":\"%s\"}" : "\":{}", cursor);
        }
        add(&body, "}}");
        add(&text, "POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %zd\r\n\r\n%s",
            load->subscribe, body.end - body.start, body.start);
        free(body.start);
    }
    send_text(c, &text);
}

void load_publish(struct load *load, struct connection *c, int channel, long number) {
    struct text text = new_text(512 + load->size);
    c->busy = true;
    add(&text, "POST ");
    add(&text, load->publish, channel);
    add(&text, " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/plain\r\n"
               "Content-Length: %d\r\n\r\n", load->size);
    char *body = text.end;
    add(&text, "#%d:%ld:%ld#", channel, number, nanoseconds());
    while (text.end < body + load->size) *text.end++ = 'x';
    send_text(c, &text);
}

static void next_turn(struct load *load, struct connection *c, int channels) {
    if (c->turn < c->turns) {
        int channel = c->first + c->stride * (c->turn % channels);
        load_publish(load, c, channel, c->turn++ / channels + 1);
    }
}

/* Publish `messages` to each `stride`th channel from `first`, each after its answer. */
void load_flood(struct load *load, struct connection *c, int first, int stride,
                int channels, long messages) {
    c->first = first, c->stride = stride, c->turn = 0;
    c->count = (channels - first + stride - 1) / stride;
    c->turns = c->count * messages;
    next_turn(load, c, c->count);
}

/* Connections. */

static void end(struct load *load, struct connection *c) {
    epoll_ctl(load->epoll, EPOLL_CTL_DEL, c->descriptor, NULL);
    close(c->descriptor);
    c->descriptor = -1;
}

static bool begin(struct load *load, struct connection *c) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(c->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    c->length = 0, c->opened = false;
    c->descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(c->descriptor, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (c->descriptor < 0
        || connect(c->descriptor, (struct sockaddr *)&address, sizeof address)
        || epoll_ctl(load->epoll, EPOLL_CTL_ADD, c->descriptor, &event))
        return false;
    if (!c->publishes) ask(load, c);
    return true;
}

static struct connection *connected(struct load *load, struct connection like) {
    struct connection *c = grown(NULL, sizeof *c);
    *c = like;
    load->connections = grown(load->connections, (load->count + 1) * sizeof c);
    load->connections[load->count++] = c;
    if (c->count) c->places = calloc(c->count, sizeof *c->places);
    return begin(load, c) ? c : NULL;
}

struct connection *load_reader(struct load *load, int port, int first, int count) {
    return connected(load, (struct connection){.port = port, .first = first, .count = count});
}

struct connection *load_publisher(struct load *load, int port) {
    return connected(load, (struct connection){.port = port, .publishes = true});
}

void load_leave(struct load *load, struct connection *c) { end(load, c); }

/* Answers. */

struct answer {
    const char *etag, *date, *body; /* headers end with \r */
    size_t length;
    int status;
};

/* Take one whole answer; return its length, 0 if there is more to come. */
static size_t taken(char *data, size_t length, struct answer *answer) {
    char *head = memmem(data, length, "\r\n\r\n", 4);
    if (!head || length < 12) return 0;
    bool chunked = false;
    *answer = (struct answer){.status = atoi(data + 9), .body = head + 4};
    for (char *line = memchr(data, '\n', length); ++line < head;
         line = memchr(line, '\n', length)) {
        char *value = strchr(line, ':');
        size_t name = value ? value++ - line : 0;
        while (value && *value == ' ') value++;
        if (name == 4 && !strncasecmp(line, "etag", name)) answer->etag = value;
        else if (name == 13 && !strncasecmp(line, "last-modified", name)) answer->date = value;
        else if (name == 14 && !strncasecmp(line, "content-length", name)) answer->length = atol(value);
        else if (name == 17 && !strncasecmp(line, "transfer-encoding", name)) chunked = true;
    }
    size_t before = head + 4 - data;
    if (chunked) {
        char *last = memmem(head + 4, length - before, "0\r\n\r\n", 5);
        return last ? (size_t)(last + 5 - data) : 0;
    }
    return length < before + answer->length ? 0 : before + answer->length;
}

static void copy_header(char *to, size_t room, const char *value) {
    size_t length = value ? strcspn(value, "\r") : room;
    if (length >= room) return;
    memcpy(to, value, length);
    to[length] = 0;
}

static void delivered(struct load *load, long late, double at) {
    if ((size_t)load->delivered == load->room) {
        load->room = load->room ? 2 * load->room : 65536;
        load->latencies = grown(load->latencies, load->room * sizeof(double));
    }
    load->latencies[load->delivered++] = late / 1e9;
    load->last_at = at;
}

/* Note the deliveries in the data; return where the last one ends. */
static size_t count(struct load *load, struct connection *c, char *data, size_t length) {
    long now = nanoseconds();
    char *stop = data + length, *end = data, *at = data;
    while ((at = memchr(at, '#', stop - at))) {
        long found[3];
        int n = 0;
        do {
            char *digits = ++at;
            for (found[n] = 0; *at >= '0' && *at <= '9'; at++)
                found[n] = found[n] * 10 + *at - '0';
            if (at == digits) break;
        } while (++n < 3 && *at == ':');
        if (n < 3 || at >= stop || *at != '#') continue;
        end = ++at;
        long channel = found[0] - c->first, number = found[1];
        if (channel < 0 || channel >= c->count || number <= load->before) continue;
        if (number <= c->places[channel].seen) {
            load->doubled++;
            continue;
        }
        c->places[channel].seen = number;
        delivered(load, now - found[2], now / 1e9);
    }
    return end - data;
}

/* The text of a key of a JSON object; where it begins, or NULL. */
static char *text_of(char *data, const char *key) {
    char *found = strstr(data, key);
    return found ? found + strlen(key) + strspn(found + strlen(key), "\": ") : NULL;
}

/* Where many channels stand now: entries name their channel, then an id. */
static void note_cursors(struct connection *c, char *body) {
    while ((body = text_of(body, "\"channel\""))) {
        char *until = strchr(body, '"'), *next = strstr(body, "\"channel\"");
        while (until && until[-1] >= '0' && until[-1] <= '9') until--;
        char *id = until ? text_of(body, "\"id\"") : NULL;
        if (!id || (next && id > next)) continue;
        long channel = atol(until) - c->first;
        size_t length = strcspn(id, "\"");
        if (channel < 0 || channel >= c->count || length >= sizeof c->places->cursor) continue;
        memcpy(c->places[channel].cursor, id, length);
        c->places[channel].cursor[length] = 0;
    }
}

static void answered(struct load *load, struct connection *c, struct answer *answer) {
    char *body = (char *)answer->body, after = body[answer->length];
    int status = answer->status;
    if (c->publishes) {
        load->errors += status / 100 != 2;
        c->busy = false;
        next_turn(load, c, c->count);
        return;
    }
    if (status == 200) {
        copy_header(c->etag, sizeof c->etag, answer->etag);
        copy_header(c->date, sizeof c->date, answer->date);
        body[answer->length] = 0;
        count(load, c, body, answer->length);
        if (load->transport == MANY) note_cursors(c, body);
        body[answer->length] = after;
    } else
        load->errors += status != 304 && status != 204 && status != 408;
    ask(load, c);
}

/* Read on in a stream; return how much of it is done with. */
static size_t streamed(struct load *load, struct connection *c, char *data, size_t length) {
    if (!c->opened) {
        if (!memmem(data, length, "\r\n\r\n", 4)) return 0;
        load->errors += memcmp(data + 9, "200", 3) && memcmp(data + 9, "101", 3);
        c->opened = true;
    }
    size_t done = count(load, c, data, length);
    return length - done > REST ? length - REST : done;
}

static void readable(struct load *load, struct connection *c) {
    char *data = load->input;
    memcpy(data, c->rest, c->length);
    ssize_t came = recv(c->descriptor, data + c->length, INPUT - c->length, MSG_DONTWAIT);
    if (came <= 0) { /* closed: say so, and go on with another one */
        end(load, c);
        load->reconnects++;
        load->errors += c->busy;
        c->busy = false;
        if (!begin(load, c)) load->errors++;
        else if (c->publishes) next_turn(load, c, c->count);
        return;
    }
    size_t length = c->length + came, size;
    data[length] = 0;
    if (c->publishes || load->transport == POLL || load->transport == MANY) {
        struct answer answer;
        while (length && (size = taken(data, length, &answer))) {
            answered(load, c, &answer);
            data += size, length -= size;
        }
    } else {
        size = streamed(load, c, data, length);
        data += size, length -= size;
    }
    if (length) c->rest = grown(c->rest, length);
    memcpy(c->rest, data, length);
    c->length = length;
}

/* The loop. */

struct load *load_new(int transport, int size, const char *subscribe,
                      const char *publish, const char *name) {
    struct load *load = calloc(1, sizeof *load);
    if (!load) abort();
    load->transport = transport, load->size = size;
    snprintf(load->subscribe, sizeof load->subscribe, "%s", subscribe);
    snprintf(load->publish, sizeof load->publish, "%s", publish);
    snprintf(load->name, sizeof load->name, "%s", name);
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    load->input = grown(NULL, INPUT + 1);
    return load;
}

/* Go on until so many deliveries have come and the publisher, if there is one, has its
 * answer; return whether that was within the time. */
bool load_run(struct load *load, double seconds, long deliveries, struct connection *publisher) {
    struct epoll_event events[EVENTS];
    long until = nanoseconds() + (long)(seconds * 1e9);
    while (load->delivered < deliveries || (publisher && publisher->busy)) {
        long left = until - nanoseconds();
        if (left <= 0) return false;
        int ready = epoll_wait(load->epoll, events, EVENTS, left / 1000000 + 1);
        if (ready < 0) return false; /* a signal, of which Python knows what it means */
        for (int n = 0; n < ready; n++) readable(load, events[n].data.ptr);
    }
    return true;
}

void load_free(struct load *load) {
    for (size_t n = 0; n < load->count; n++) {
        struct connection *c = load->connections[n];
        if (c->descriptor >= 0) close(c->descriptor);
        free(c->rest), free(c->places), free(c);
    }
    close(load->epoll);
    free(load->connections), free(load->latencies), free(load->input), free(load);
}
