/* The load generator: `load PORT PATH CONNECTIONS SECONDS REQUESTS FIRST BODY_FILE ANSWER_FILE`; prints one line of JSON.

   Posts the body over keep-alive connections, one request at a time on each, until the seconds or the requests (0: no limit) are over.
   "@@@@@@@@@" in the body becomes a number that counts up from FIRST, so that no two requests are alike. An answer other than the expected
   one, byte for byte, is wrong. Latencies are whole microseconds. */
#include "http.h"

enum { READ_SIZE = 4 << 20, MAX_SAMPLES = 20000000, WIDTH = 9 };

typedef struct { int fd; char *in; size_t held, sent; char *out; uint64_t began; int busy; } Connection;

static Connection *connections;
static char *request, *expected, *decoded;
static size_t request_size, expected_size;
static long mark = -1;
static uint64_t counter, limit, started, finish, last_answer;
static uint32_t *samples;
static size_t sampled, sent_count, wrong, broken;
static int poller;

static char *slurp(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    if (!file) fail(path);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *data = malloc(*size + 1);
    if (fread(data, 1, *size, file) != *size) fail(path);
    fclose(file);
    return data;
}

static void prepare(const char *path, int port, const char *body_file) {
    size_t size;
    char *body = slurp(body_file, &size);
    request = malloc(size + 512);
    int head = sprintf(request,
        "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Type: application/json\r\nAccept: application/json\r\nContent-Length: %zu\r\n\r\n",
        path, port, size);
    memcpy(request + head, body, size);
    request_size = (size_t)head + size;
    char *found = memmem(request, request_size, "@@@@@@@@@", WIDTH);
    if (found) mark = found - request;
}

static void watch(Connection *connection, uint32_t events, int operation) {
    struct epoll_event event = {.events = events, .data.ptr = connection};
    epoll_ctl(poller, operation, connection->fd, &event);
}

/* An idle connection may be closed; one that owes an answer may not. */
static void lose(Connection *connection) {
    broken += (size_t)connection->busy;
    close(connection->fd);
    connection->fd = -1;
    connection->busy = 0;
}

static void push(Connection *connection) {
    ssize_t count = write(connection->fd, connection->out + connection->sent, request_size - connection->sent);
    if (count < 0 && errno != EAGAIN) {
        lose(connection);
        return;
    }
    connection->sent += count > 0 ? (size_t)count : 0;
    if (connection->sent < request_size) watch(connection, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
}

static void ask(Connection *connection) {
    if ((limit && sent_count >= limit) || now_ns() >= finish) {
        connection->busy = 0;
        return;
    }
    sent_count++;
    if (mark >= 0) {
        char digits[24];
        sprintf(digits, "%09lu", (unsigned long)(counter++ % 1000000000u));
        memcpy(connection->out + mark, digits, WIDTH);
    }
    connection->busy = 1;
    connection->held = connection->sent = 0;
    connection->began = now_ns();
    push(connection);
}

/* Join the chunks of a body; return its size, or -1 while some of it is missing. */
static long join(const char *at, const char *end) {
    size_t size = 0;
    for (;;) {
        const char *line = memmem(at, (size_t)(end - at), "\r\n", 2);
        if (!line) return -1;
        size_t chunk = strtoul(at, NULL, 16);
        at = line + 2;
        if ((size_t)(end - at) < chunk + 2) return -1;
        if (!chunk) return (long)size;
        memcpy(decoded + size, at, chunk);
        size += chunk;
        at += chunk + 2;
    }
}

static void answered(Connection *connection, const char *body, size_t size) {
    last_answer = now_ns();
    if (strncmp(connection->in + 9, "200", 3) != 0 || size != expected_size || memcmp(body, expected, size) != 0) wrong++;
    if (sampled < MAX_SAMPLES) samples[sampled++] = (uint32_t)((last_answer - connection->began) / 1000u);
    ask(connection);
}

static void take(Connection *connection) {
    ssize_t count = read(connection->fd, connection->in + connection->held, READ_SIZE - connection->held);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) {
        lose(connection);
        return;
    }
    connection->held += (size_t)count;
    char *end = memmem(connection->in, connection->held, "\r\n\r\n", 4);
    if (!end) return;
    const char *body = end + 4, *length = header(connection->in, end, "content-length:");
    size_t there = connection->held - (size_t)(body - connection->in);
    if (length) {
        if (there >= (size_t)atol(length)) answered(connection, body, (size_t)atol(length));
        return;
    }
    long size = join(body, connection->in + connection->held);
    if (size >= 0) answered(connection, decoded, (size_t)size);
}

static void dispatch(Connection *connection, uint32_t events) {
    if (connection->fd < 0) return;
    if (events & EPOLLOUT && connection->sent < request_size) {
        push(connection);
        if (connection->fd >= 0 && connection->sent == request_size) watch(connection, EPOLLIN, EPOLL_CTL_MOD);
    }
    if (connection->fd >= 0 && events & (EPOLLIN | EPOLLHUP | EPOLLERR)) take(connection);
}

static void open_connection(Connection *connection, int port) {
    struct sockaddr_in address = loopback(port);
    connection->fd = socket(AF_INET, SOCK_STREAM, 0);
    connection->in = malloc(READ_SIZE);
    connection->out = malloc(request_size);
    memcpy(connection->out, request, request_size);
    if (connect(connection->fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
    make_quick(connection->fd);
    watch(connection, EPOLLIN, EPOLL_CTL_ADD);
}

static int by_size(const void *a, const void *b) {
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return (left > right) - (left < right);
}

static double quantile(double share) { return sampled ? samples[(size_t)(share * (double)(sampled - 1))] : 0; }

static void print_results(void) {
    qsort(samples, sampled, sizeof *samples, by_size);
    printf("{\"requests\":%zu,\"seconds\":%.6f,\"wrong\":%zu,\"broken\":%zu,\"p50_us\":%.0f,\"p99_us\":%.0f,\"max_us\":%.0f}\n",
           sampled, (double)(last_answer - started) / 1e9, wrong, broken, quantile(0.5), quantile(0.99), quantile(1));
}

int main(int count, char **arguments) {
    if (count != 9) return 2;
    int port = atoi(arguments[1]), size = atoi(arguments[3]), open = size;
    double seconds = atof(arguments[4]);
    limit = strtoul(arguments[5], NULL, 10);
    counter = strtoul(arguments[6], NULL, 10);
    prepare(arguments[2], port, arguments[7]);
    expected = slurp(arguments[8], &expected_size);
    decoded = malloc(READ_SIZE);
    samples = malloc(MAX_SAMPLES * sizeof *samples);
    connections = calloc((size_t)size, sizeof *connections);
    poller = epoll_create1(0);
    for (int index = 0; index < size; index++) open_connection(&connections[index], port);
    started = last_answer = now_ns();
    finish = started + (uint64_t)(seconds * 1e9);
    for (int index = 0; index < size; index++) ask(&connections[index]);
    /* Answers that are under way when the time is up are waited for, but not for ever. */
    for (struct epoll_event events[256]; open && now_ns() < finish + 10000000000u;) {
        int ready = epoll_wait(poller, events, 256, 100);
        for (int index = 0; index < ready; index++) dispatch(events[index].data.ptr, events[index].events);
        open = 0;
        for (int index = 0; index < size; index++) open += connections[index].busy;
    }
    broken += (size_t)open;
    print_results();
}
