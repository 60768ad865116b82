/* The mock upstream of the benchmark: `mock PORT` (0: any; the port is printed). One thread, epoll, keep-alive, one timer for all delays.

   /posts               100 posts of 10 users, about 30 kB         /users?id=1&id=2   users by id; /users/N one of them
   /rows/N              N small rows                               /things/N          one small object
   /after/MS/...        one small object after MS milliseconds     /stats, /reset     the number of calls since the reset
   Queries beyond these are ignored, so that calls which look different get the same answer. */
#include "http.h"

enum { READ_SIZE = 65536, MAX_FD = 65536, MAX_ROWS = 10000 };

typedef struct { char *data; size_t size; } Blob;
typedef struct { uint64_t due; int fd; unsigned generation; } Timer;
typedef struct {
    char *in; size_t held, skip;      /* what was read, and how much of it is done with */
    Blob out; size_t sent; int owned; /* what is being written */
    unsigned generation; int waiting;
} Connection;

static Connection connections[MAX_FD];
static Timer heap[MAX_FD];
static size_t timers;
static Blob posts, rows[MAX_ROWS + 1], users[11], after_reply, thing;
static uint64_t calls;
static int poller, alarm_fd;

static Blob reply(const char *body, size_t size) {
    Blob blob = {malloc(size + 128), 0};
    int head = sprintf(blob.data, "HTTP/1.1 200 OK\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: %zu\r\n\r\n", size);
    memcpy(blob.data + head, body, size);
    blob.size = (size_t)head + size;
    return blob;
}

static Blob text(const char *body) { return reply(body, strlen(body)); }

/* Words in the manner of the well-known placeholder texts, from a seed that is always the same. */
static size_t words(char *out, unsigned *seed, int count) {
    static const char *list[] = {"sunt", "aut", "facere", "repellat", "provident", "occaecati", "excepturi", "optio", "quia", "et",
                                 "suscipit", "recusandae", "consequuntur", "expedita", "cum", "reprehenderit", "molestiae", "ut"};
    size_t size = 0;
    for (int index = 0; index < count; index++) {
        *seed = *seed * 1103515245u + 12345u;
        size += (size_t)sprintf(out + size, "%s%s", index ? " " : "", list[(*seed >> 16) % 18]);
    }
    return size;
}

static Blob make_posts(void) {
    char *body = malloc(100000);
    size_t size = 0;
    unsigned seed = 1;
    for (int id = 1; id <= 100; id++) {
        int user_id = (id - 1) / 10 + 1;
        size += (size_t)sprintf(body + size, "%s\n  {\n    \"userId\": %d,\n    \"id\": %d,\n    \"title\": \"", id > 1 ? "," : "[", user_id, id);
        size += words(body + size, &seed, 6);
        size += (size_t)sprintf(body + size, "\",\n    \"body\": \"");
        size += words(body + size, &seed, 23);
        size += (size_t)sprintf(body + size, "\"\n  }");
    }
    size += (size_t)sprintf(body + size, "\n]");
    Blob blob = reply(body, size);
    free(body);
    return blob;
}

static Blob make_rows(long count) {
    char *body = malloc((size_t)count * 96 + 3);
    size_t size = 1;
    body[0] = '[';
    for (long id = 1; id <= count; id++)
        size += (size_t)sprintf(body + size, "%s{\"id\":%ld,\"userId\":%ld,\"title\":\"row number %ld\"}", id > 1 ? "," : "", id, id % 10 + 1, id);
    body[size++] = ']';
    Blob blob = reply(body, size);
    free(body);
    return blob;
}

static size_t user(char *out, long id) {
    return (size_t)sprintf(out,
        "{\"id\":%ld,\"name\":\"Leanne Graham %ld\",\"username\":\"Bret%ld\",\"email\":\"bret%ld@april.example\",\"phone\":\"1-770-736-8031\","
        "\"website\":\"hildegard.example\",\"address\":{\"street\":\"Kulas Light\",\"suite\":\"Apt. 556\",\"city\":\"Gwenborough\"}}",
        id, id, id, id);
}

static Blob users_by_id(const char *query, const char *end) {
    char body[40000];
    size_t size = 1;
    body[0] = '[';
    for (const char *at = query; at && at < end && size < 39000; at = memchr(at, '&', (size_t)(end - at))) {
        at += *at == '&';
        if (strncmp(at, "id=", 3) != 0) continue;
        if (size > 1) body[size++] = ',';
        size += user(body + size, atol(at + 3));
    }
    body[size++] = ']';
    return reply(body, size);
}

static void swap(size_t a, size_t b) {
    Timer kept = heap[a];
    heap[a] = heap[b];
    heap[b] = kept;
}

static void set_alarm(void) {
    struct itimerspec when = {0};
    if (timers) when.it_value = (struct timespec){(time_t)(heap[0].due / 1000000000u), (long)(heap[0].due % 1000000000u)};
    timerfd_settime(alarm_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void push(Timer timer) {
    size_t at = timers++;
    for (heap[at] = timer; at && heap[at].due < heap[(at - 1) / 2].due; at = (at - 1) / 2) swap(at, (at - 1) / 2);
    if (at == 0) set_alarm();
}

static Timer pop(void) {
    Timer first = heap[0];
    heap[0] = heap[--timers];
    for (size_t at = 0, least;; at = least) {
        least = at;
        for (size_t child = 2 * at + 1; child <= 2 * at + 2; child++)
            if (child < timers && heap[child].due < heap[least].due) least = child;
        if (least == at) return first;
        swap(at, least);
    }
}

static void watch(int fd, uint32_t events, int operation) {
    struct epoll_event event = {.events = events, .data.fd = fd};
    epoll_ctl(poller, operation, fd, &event);
}

static void drop(int fd) {
    Connection *connection = &connections[fd];
    if (connection->owned) free(connection->out.data);
    free(connection->in);
    unsigned generation = connection->generation + 1;
    *connection = (Connection){.generation = generation};
    close(fd);
}

/* Write what is to be written; return 0 when the connection is gone. */
static int flush(int fd) {
    Connection *connection = &connections[fd];
    while (connection->sent < connection->out.size) {
        ssize_t count = write(fd, connection->out.data + connection->sent, connection->out.size - connection->sent);
        if (count < 0 && errno == EAGAIN) {
            watch(fd, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
            return 1;
        }
        if (count <= 0) {
            drop(fd);
            return 0;
        }
        connection->sent += (size_t)count;
    }
    if (connection->owned) free(connection->out.data);
    connection->out = (Blob){0};
    connection->sent = 0;
    connection->owned = 0;
    return 1;
}

static void answer(int fd, const char *target, const char *end) {
    Connection *connection = &connections[fd];
    char body[64];
    calls++;
    if (strncmp(target, "/posts", 6) == 0) {
        connection->out = posts;
    } else if (strncmp(target, "/users?", 7) == 0) {
        connection->out = users_by_id(target + 7, end);
        connection->owned = 1;
    } else if (strncmp(target, "/users/", 7) == 0) {
        connection->out = users[atol(target + 7) % 11];
    } else if (strncmp(target, "/things/", 8) == 0) {
        connection->out = thing;
    } else if (strncmp(target, "/rows/", 6) == 0) {
        long count = atol(target + 6) % (MAX_ROWS + 1);
        if (!rows[count].data) rows[count] = make_rows(count);
        connection->out = rows[count];
    } else if (strncmp(target, "/after/", 7) == 0) {
        connection->out = after_reply;
        connection->waiting = 1;
        push((Timer){now_ns() + (uint64_t)atol(target + 7) * 1000000u, fd, connection->generation});
    } else {
        calls--;
        if (strncmp(target, "/reset", 6) == 0) calls = 0;
        connection->out = reply(body, (size_t)sprintf(body, "{\"calls\":%lu}", (unsigned long)calls));
        connection->owned = 1;
    }
}

/* Answer the requests that are there, one after the other. */
static void serve(int fd) {
    Connection *connection = &connections[fd];
    while (!connection->waiting && !connection->out.size) {
        size_t skipped = connection->skip < connection->held ? connection->skip : connection->held;
        connection->skip -= skipped;
        connection->held -= skipped;
        memmove(connection->in, connection->in + skipped, connection->held);
        char *end = memmem(connection->in, connection->held, "\r\n\r\n", 4);
        if (!end) return;
        const char *length = header(connection->in, end, "content-length:");
        char *target = memchr(connection->in, ' ', (size_t)(end - connection->in));
        char *stop = target ? memchr(target + 1, ' ', (size_t)(end - target - 1)) : NULL;
        if (!stop) {
            drop(fd);
            return;
        }
        connection->skip = (size_t)(end + 4 - connection->in) + (length ? (size_t)atol(length) : 0);
        answer(fd, target + 1, stop);
        if (!connection->waiting && !flush(fd)) return;
    }
}

static void take(int fd) {
    Connection *connection = &connections[fd];
    ssize_t count = read(fd, connection->in + connection->held, READ_SIZE - connection->held);
    if (count < 0 && errno == EAGAIN) return;
    if (count <= 0) {
        drop(fd);
        return;
    }
    connection->held += (size_t)count;
    serve(fd);
}

static void ring(void) {
    uint64_t expired;
    if (read(alarm_fd, &expired, sizeof expired) < 0 && errno != EAGAIN) fail("timer");
    while (timers && heap[0].due <= now_ns()) {
        Timer timer = pop();
        Connection *connection = &connections[timer.fd];
        if (connection->generation != timer.generation) continue;
        connection->waiting = 0;
        if (flush(timer.fd)) serve(timer.fd);
    }
    set_alarm();
}

static void accept_all(int listener) {
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;) {
        if (fd >= MAX_FD) {
            close(fd);
            continue;
        }
        make_quick(fd);
        connections[fd].in = malloc(READ_SIZE);
        watch(fd, EPOLLIN, EPOLL_CTL_ADD);
    }
}

static void dispatch(int fd, uint32_t events) {
    if (!connections[fd].in) return;
    if (!(events & EPOLLOUT)) {
        take(fd);
    } else if (flush(fd) && !connections[fd].out.size) {
        watch(fd, EPOLLIN, EPOLL_CTL_MOD);
        serve(fd);
    }
}

static int listen_on(int port) {
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in address = loopback(port);
    socklen_t size = sizeof address;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096)) fail("listen");
    getsockname(listener, (struct sockaddr *)&address, &size);
    fcntl(listener, F_SETFL, O_NONBLOCK);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(int count, char **arguments) {
    posts = make_posts();
    for (long id = 0; id <= 10; id++) {
        char body[512];
        users[id] = reply(body, user(body, id));
    }
    thing = text("{\"id\":1,\"name\":\"a small thing\",\"size\":3}");
    after_reply = text("{\"id\":\"42\",\"name\":\"Zoe Adler\",\"tier\":\"gold\",\"score\":7,\"next\":\"43\"}");
    poller = epoll_create1(0);
    alarm_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    int listener = listen_on(count > 1 ? atoi(arguments[1]) : 0);
    watch(listener, EPOLLIN, EPOLL_CTL_ADD);
    watch(alarm_fd, EPOLLIN, EPOLL_CTL_ADD);
    for (struct epoll_event events[256];;) {
        int ready = epoll_wait(poller, events, 256, -1);
        for (int index = 0; index < ready; index++) {
            int fd = events[index].data.fd;
            if (fd == listener) accept_all(listener);
            else if (fd == alarm_fd) ring();
            else dispatch(fd, events[index].events);
        }
    }
}
