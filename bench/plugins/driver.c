/* Executes CNI plugins as a runtime does, many times, and says on stdout how long each time took (JSON).
 *
 * The work comes on stdin as strings, each ended by NUL:
 *
 *   lane NAME PODS WORKERS    an engine; what it does for each of its pods is divided among WORKERS threads
 *   phase NAME                what is measured as one: from the first pod's start to the last one's end
 *   step PATH STDIN COUNT NAME=VALUE…    one execution; a PATH of `floor:VERB` is a function of this program
 *   run ITERATIONS PAUSE      run it all: in each iteration every lane once, a different one first; PAUSE µs between
 *
 * In strings `@{pod}` is the pod's number (4 digits), `@{run}` a number that no other iteration has, and `@{prev}`
 * the last answer for this pod that was not empty. `memory` in place of PAUSE starts processes by fork: a child of
 * vfork counts the pages of its parent as its own. A step that fails ends everything.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "floor.h"

#define LARGEST (1 << 20)

typedef struct {
    char *path, *input;
    char **environment;
} Step;

typedef struct {
    char *name;
    Step *steps;
    int count;
    double *seconds;
    long *kilobytes;
} Phase;

typedef struct {
    char *name;
    Phase *phases;
    int count, pods, workers;
    char **previous; /* of each pod */
} Lane;

typedef struct {
    Lane *lane;
    Phase *phase;
    int run, next; /* the next pod that nobody has taken */
    long kilobytes;
    pthread_mutex_t lock;
} Storm;

static Lane *lanes;
static int lane_count, iterations, pause_us;
static bool forked;

static void fail(const char *what, const char *which) {
    fprintf(stderr, "driver: %s %s: %s\n", what, which, strerror(errno));
    exit(1);
}

static void *grown(void *list, int count, size_t size) {
    void *longer = realloc(list, (count + 1) * size);
    if (!longer) fail("realloc", "");
    memset((char *)longer + count * size, 0, size);
    return longer;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

/* ---- strings ---- */

static char *filled(const char *text, const Lane *lane, int pod, int run) {
    char *out = malloc(LARGEST), *end = out;
    if (!out) fail("malloc", "");
    while (*text) {
        if (!strncmp(text, "@{pod}", 6)) {
            end += sprintf(end, "%04d", pod);
            text += 6;
        } else if (!strncmp(text, "@{run}", 6)) {
            end += sprintf(end, "%d", run);
            text += 6;
        } else if (!strncmp(text, "@{prev}", 7)) {
            end = stpcpy(end, lane->previous[pod] ? lane->previous[pod] : "null");
            text += 7;
        } else {
            *end++ = *text++;
        }
    }
    *end = 0;
    return realloc(out, end - out + 1);
}

static char **filled_all(char **texts, const Lane *lane, int pod, int run) {
    int count = 0;
    while (texts[count]) count++;
    char **out = calloc(count + 1, sizeof *out);
    for (int i = 0; i < count; i++) out[i] = filled(texts[i], lane, pod, run);
    return out;
}

static void free_all(char **texts) {
    for (int i = 0; texts[i]; i++) free(texts[i]);
    free(texts);
}

/* ---- one execution ---- */

static pid_t started(const char *path, char **environment, int in, int out) {
    char *argv[] = {(char *)path, NULL};
    pid_t pid;
    if (forked) {
        if ((pid = fork()) == 0) {
            dup2(in, 0);
            dup2(out, 1);
            execve(path, argv, environment);
            _exit(127);
        }
        return pid;
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    errno = posix_spawn(&pid, path, &actions, NULL, argv, environment);
    posix_spawn_file_actions_destroy(&actions);
    if (errno) fail("cannot execute", path);
    return pid;
}

static char *answer_of(int descriptor) {
    char *text = malloc(LARGEST);
    size_t length = 0;
    ssize_t got;
    while ((got = read(descriptor, text + length, LARGEST - 1 - length)) > 0) length += got;
    text[length] = 0;
    return realloc(text, length + 1);
}

/* Executes a plugin and returns its answer; `seconds` is what a runtime waits, from spawn to the end. */
static char *executed(const char *path, char **environment, const char *input, double *seconds, long *kilobytes) {
    int in[2], out[2], status;
    struct rusage usage;
    size_t length = strlen(input);
    if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC)) fail("pipe", "");
    if (length > 65536) fcntl(in[1], F_SETPIPE_SZ, LARGEST);
    double began = now();
    if (write(in[1], input, length) != (ssize_t)length) fail("write", path);
    close(in[1]);
    pid_t pid = started(path, environment, in[0], out[1]);
    close(in[0]);
    close(out[1]);
    char *answer = answer_of(out[0]);
    if (wait4(pid, &status, 0, &usage) != pid) fail("wait", path);
    *seconds = now() - began;
    *kilobytes = usage.ru_maxrss;
    close(out[0]);
    if (status) {
        fprintf(stderr, "driver: %s ended with %#x: %s\n", path, status, answer);
        for (int i = 0; environment[i]; i++) fprintf(stderr, "  %s\n", environment[i]);
        fprintf(stderr, "  %s\n", input);
        exit(1);
    }
    return answer;
}

static double taken(Lane *lane, const Step *step, int pod, int run, long *kilobytes) {
    char *input = filled(step->input, lane, pod, run);
    char **environment = filled_all(step->environment, lane, pod, run);
    double seconds;
    if (!strncmp(step->path, "floor:", 6)) {
        double began = now();
        floor_step(step->path + 6, environment);
        seconds = now() - began;
    } else {
        long used;
        char *answer = executed(step->path, environment, input, &seconds, &used);
        if (used > *kilobytes) *kilobytes = used;
        if (*answer) {
            free(lane->previous[pod]);
            lane->previous[pod] = answer;
        } else {
            free(answer);
        }
    }
    free_all(environment);
    free(input);
    return seconds;
}

/* ---- phases ---- */

static void *worker(void *argument) {
    Storm *storm = argument;
    for (;;) {
        pthread_mutex_lock(&storm->lock);
        int pod = storm->next++;
        pthread_mutex_unlock(&storm->lock);
        if (pod >= storm->lane->pods) return NULL;
        long kilobytes = 0;
        for (int i = 0; i < storm->phase->count; i++)
            taken(storm->lane, &storm->phase->steps[i], pod, storm->run, &kilobytes);
        pthread_mutex_lock(&storm->lock);
        if (kilobytes > storm->kilobytes) storm->kilobytes = kilobytes;
        pthread_mutex_unlock(&storm->lock);
    }
}

static double storm_of(Lane *lane, Phase *phase, int run, long *kilobytes) {
    Storm storm = {lane, phase, run, 0, 0, PTHREAD_MUTEX_INITIALIZER};
    pthread_t threads[lane->workers];
    double began = now();
    for (int i = 0; i < lane->workers; i++)
        if ((errno = pthread_create(&threads[i], NULL, worker, &storm))) fail("pthread_create", "");
    for (int i = 0; i < lane->workers; i++) pthread_join(threads[i], NULL);
    *kilobytes = storm.kilobytes;
    return now() - began;
}

static void run_phase(Lane *lane, Phase *phase, int run) {
    double seconds = 0;
    long kilobytes = 0;
    if (lane->pods > 1) {
        seconds = storm_of(lane, phase, run, &kilobytes);
    } else {
        for (int i = 0; i < phase->count; i++) seconds += taken(lane, &phase->steps[i], 0, run, &kilobytes);
    }
    phase->seconds[run] = seconds;
    phase->kilobytes[run] = kilobytes;
    usleep(pause_us);
}

static void run_all(void) {
    for (int run = 0; run < iterations; run++)
        for (int turn = 0; turn < lane_count; turn++) {
            Lane *lane = &lanes[(run + turn) % lane_count];
            for (int i = 0; i < lane->count; i++) run_phase(lane, &lane->phases[i], run);
        }
}

static void report(void) {
    printf("[");
    for (int i = 0; i < lane_count; i++) {
        for (int j = 0; j < lanes[i].count; j++) {
            Phase *phase = &lanes[i].phases[j];
            printf("%s{\"lane\": \"%s\", \"phase\": \"%s\", \"seconds\": [", i + j ? ",\n" : "", lanes[i].name, phase->name);
            for (int k = 0; k < iterations; k++) printf("%s%.9f", k ? ", " : "", phase->seconds[k]);
            printf("], \"kilobytes\": [");
            for (int k = 0; k < iterations; k++) printf("%s%ld", k ? ", " : "", phase->kilobytes[k]);
            printf("]}");
        }
    }
    printf("]\n");
}

/* ---- what comes on stdin ---- */

static char *next(void) {
    char *text = NULL;
    size_t room = 0;
    return getdelim(&text, &room, 0, stdin) < 0 ? NULL : text;
}

static int next_number(void) {
    char *text = next();
    int number = text ? atoi(text) : 0;
    free(text);
    return number;
}

static void read_lane(void) {
    lanes = grown(lanes, lane_count, sizeof *lanes);
    Lane *lane = &lanes[lane_count++];
    lane->name = next();
    lane->pods = next_number();
    lane->workers = next_number();
    lane->previous = calloc(lane->pods, sizeof *lane->previous);
}

static void read_phase(Lane *lane) {
    lane->phases = grown(lane->phases, lane->count, sizeof *lane->phases);
    lane->phases[lane->count++].name = next();
}

static void read_step(Phase *phase) {
    phase->steps = grown(phase->steps, phase->count, sizeof *phase->steps);
    Step *step = &phase->steps[phase->count++];
    step->path = next();
    step->input = next();
    int count = next_number();
    step->environment = calloc(count + 1, sizeof *step->environment);
    for (int i = 0; i < count; i++) step->environment[i] = next();
}

static void read_run(void) {
    iterations = next_number();
    char *pause = next();
    forked = !strcmp(pause, "memory");
    pause_us = forked ? 0 : atoi(pause);
    free(pause);
    for (int i = 0; i < lane_count; i++)
        for (int j = 0; j < lanes[i].count; j++) {
            lanes[i].phases[j].seconds = calloc(iterations, sizeof(double));
            lanes[i].phases[j].kilobytes = calloc(iterations, sizeof(long));
        }
}

int main(void) {
    signal(SIGPIPE, SIG_IGN); /* a plugin need not read its stdin */
    for (char *word; (word = next()); free(word)) {
        Lane *lane = lane_count ? &lanes[lane_count - 1] : NULL;
        if (!strcmp(word, "lane")) read_lane();
        else if (!strcmp(word, "phase")) read_phase(lane);
        else if (!strcmp(word, "step")) read_step(&lane->phases[lane->count - 1]);
        else if (!strcmp(word, "run")) read_run();
        else fail("does not know the word", word);
    }
    run_all();
    report();
    return 0;
}
