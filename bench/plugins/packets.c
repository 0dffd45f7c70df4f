/* How long the first packet of a connection takes: TCP connects to a port of a host, in the kernel from end to end.
 *
 *   packets ROUNDS [CLIENT-NAMESPACE SERVER-NAMESPACE ADDRESS PORT SERVER-PORT]…
 *
 * Each round connects once on every way, one after the other; each connection is new to the kernel and reset at
 * once. Prints microseconds, a line for each way.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

typedef struct {
    int client; /* namespace */
    int listener;
    struct sockaddr_in address;
    double *microseconds;
} Way;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int enter(const char *path) {
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0 || setns(descriptor, CLONE_NEWNET)) fail(path);
    return descriptor;
}

static void *drain(void *argument) {
    for (;;) {
        int taken = accept(((Way *)argument)->listener, NULL, NULL);
        if (taken >= 0) close(taken);
    }
    return NULL;
}

static void prepare(Way *way, char **words, int rounds) {
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(atoi(words[4]))};
    pthread_t thread;
    int one = 1;
    close(enter(words[1]));
    way->listener = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(way->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(way->listener, (void *)&own, sizeof own) || listen(way->listener, 1024)) fail("listen");
    if (pthread_create(&thread, NULL, drain, way)) fail("thread");
    way->client = enter(words[0]);
    way->address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(words[3]))};
    inet_pton(AF_INET, words[2], &way->address.sin_addr);
    way->microseconds = calloc(rounds, sizeof(double));
}

static double connected(const Way *way) {
    struct timespec began, ended;
    struct linger reset = {1, 0};
    if (setns(way->client, CLONE_NEWNET)) fail("setns");
    int stream = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(stream, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    clock_gettime(CLOCK_MONOTONIC, &began);
    if (connect(stream, (void *)&way->address, sizeof way->address)) fail("connect");
    clock_gettime(CLOCK_MONOTONIC, &ended);
    close(stream);
    return (ended.tv_sec - began.tv_sec) * 1e6 + (ended.tv_nsec - began.tv_nsec) / 1e3;
}

int main(int count, char **arguments) {
    int rounds = count > 1 ? atoi(arguments[1]) : 0, ways = (count - 2) / 5;
    Way *all = calloc(ways, sizeof *all);
    for (int i = 0; i < ways; i++) prepare(&all[i], arguments + 2 + 5 * i, rounds);
    for (int round = 0; round < rounds; round++)
        for (int i = 0; i < ways; i++) {
            Way *way = &all[(round + i) % ways];
            way->microseconds[round] = connected(way);
            usleep(200);
        }
    for (int i = 0; i < ways; i++)
        for (int round = 0; round < rounds; round++)
            printf("%.3f%c", all[i].microseconds[round], round + 1 < rounds ? ' ' : '\n');
    return 0;
}
