/* The head of every plugin: asks the server of this node to do the call, or becomes Python on the zip behind it.
 *
 * The server speaks first. Until its line "cni-provision 1 ready …" has come, nothing is sent and stdin is not
 * touched, so that becoming Python is always safe; once something was sent it never happens: nothing is done twice.
 *
 * Frames after that line: a type byte, a length (uint32, little-endian), a payload of at most LARGEST_FRAME.
 *   to the server    R  plugin, NUL, NAME=VALUE, NUL, …, NUL, stdin; with it the descriptor of CNI_NETNS
 *                    X  how a delegate ended (int32, see `execute`), uint32 size of its stdout, stdout, stderr
 *                    K  the answer has been written
 *   from the server  E  execute a delegate: path, NUL, CNI_COMMAND, NUL, stdin
 *                    A  the answer: exit code (a byte), uint32 size of stdout, stdout, stderr
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOCKET "/run/cni-provision/server/socket"
#define READY "cni-provision 1 ready "
#define PYTHONS "/var/lib/cni-provision/python", "/usr/bin/python3", "python3"

enum {
    PATIENCE = 50,              /* ms for the greeting */
    LONGEST_PATIENCE = 1000,    /* ms for it, while a server holds the lock `alive` beside its socket */
    QUEUE_PAUSE = 2,            /* ms until a full queue of the socket is tried again */
    VERSION_PATIENCE = 1000,    /* ms for each piece of stdin: VERSION can do without, and some leave it open */
    BUSY_PAUSE = 50,            /* ms until an executable that is being replaced (ETXTBSY) is tried again */
    BUSY_TRIES = 100,
    LARGEST_OUTPUT = 16 << 20,  /* bytes of a delegate's stdout, and of its stderr */
    LARGEST_FRAME = LARGEST_OUTPUT + (64 << 10),
    PIECE = 64 << 10,
    HEAD = 5,                   /* bytes of a frame before its payload */
    END_OF_ZIP = 22,            /* bytes of the record that a stored zip ends with */
    NOT_EXECUTED = 256,         /* + errno */
    PRINTED_TOO_MUCH = -256
};

#define ERROR(code, msg) "{\"cniVersion\": \"1.0.0\", \"code\": " #code ", \"msg\": \"" msg "\"}\n"
#define GONE ERROR(11, "the server of cni-provision went away during the call; what it did is undone by DEL")
#define WRONG ERROR(999, "the server of cni-provision and this plugin do not understand each other")

struct bytes {
    char *at;
    size_t size, room;
    int lent; /* `at` is not ours to free */
};

/* Enough for nearly all calls: the first allocations of the C library are a dozen calls of the kernel (0.02 ms). */
static char request_room[2 * PIECE], frame_room[2 * PIECE];

/* --- Bytes ----------------------------------------------------------------------------------------------------- */

static void make_room(struct bytes *bytes, size_t more)
{
    if (bytes->room - bytes->size >= more)
        return;
    bytes->room = 2 * bytes->size + more;
    char *at = realloc(bytes->lent ? NULL : bytes->at, bytes->room);
    if (!at)
        abort();
    if (bytes->lent)
        memcpy(at, bytes->at, bytes->size);
    bytes->at = at;
    bytes->lent = 0;
}

static void release(struct bytes *bytes)
{
    if (!bytes->lent)
        free(bytes->at);
}

static void append(struct bytes *bytes, const void *from, size_t size)
{
    make_room(bytes, size);
    memcpy(bytes->at + bytes->size, from, size);
    bytes->size += size;
}

static void put_number(char *at, uint32_t number)
{
    for (int i = 0; i < 4; i++)
        at[i] = (char)(number >> (8 * i));
}

static uint32_t number_at(const char *at)
{
    uint32_t number = 0;
    for (int i = 0; i < 4; i++)
        number |= (uint32_t)(unsigned char)at[i] << (8 * i);
    return number;
}

/* After a failed read or write: whether to try again, which waits for a descriptor that does not block. */
static int again(int descriptor, short event)
{
    if (errno == EAGAIN)
        return poll(&(struct pollfd){descriptor, event, 0}, 1, -1) >= 0 || errno == EINTR;
    return errno == EINTR;
}

static int write_all(int descriptor, const char *from, size_t size)
{
    while (size) {
        ssize_t written = write(descriptor, from, size);
        if (written < 0 && !again(descriptor, POLLOUT))
            return 0;
        if (written > 0)
            from += written, size -= (size_t)written;
    }
    return 1;
}

static int read_all(int descriptor, char *into, size_t size)
{
    while (size) {
        ssize_t got = read(descriptor, into, size);
        if (got == 0 || (got < 0 && !again(descriptor, POLLIN)))
            return 0;
        if (got > 0)
            into += got, size -= (size_t)got;
    }
    return 1;
}

/* Reads once: 1 for something, 0 at the end, -1 for nothing now, -2 for an error. */
static int collect(int descriptor, struct bytes *into)
{
    make_room(into, PIECE);
    ssize_t got = read(descriptor, into->at + into->size, PIECE);
    if (got < 0)
        return errno == EINTR || errno == EAGAIN ? -1 : -2;
    into->size += (size_t)got;
    return got > 0;
}

/* What the runtime reads where nobody else answers: a line made by ERROR. */
static int fail(const char *line)
{
    write_all(STDOUT_FILENO, line, strlen(line));
    return 1;
}

static const char *variable(const char *name)
{
    const char *value = getenv(name);
    return value ? value : "";
}

/* --- Without a server ------------------------------------------------------------------------------------------ */

/* `strip` takes whatever stands behind an ELF file. */
static int has_archive(const char *self)
{
    char mark[4];
    int descriptor = open(self, O_RDONLY | O_CLOEXEC);
    int found = lseek(descriptor, -END_OF_ZIP, SEEK_END) >= 0 && read_all(descriptor, mark, 4) &&
                !memcmp(mark, "PK\5\6", 4);
    close(descriptor);
    return found;
}

/* Becomes Python on this very file; returns only where that cannot be. */
static int become_python(int count, char **arguments)
{
    char *pythons[] = {PYTHONS, NULL};
    char *self = (char *)getauxval(AT_EXECFN);
    char **words = calloc((size_t)count + 5, sizeof *words);
    if (!words || !self || !has_archive(self))
        return fail(ERROR(100, "archive missing: what stood behind this executable was removed (by strip?)"));
    memcpy(words, (char *[]){NULL, "-I", "-S", self}, 4 * sizeof *words);
    for (int i = 1; i < count; i++)
        words[i + 3] = arguments[i];
    for (char **python = pythons; *python; python++) {
        words[0] = *python;
        execvp(*python, words);
    }
    return fail(ERROR(100, "no Python on this node: install Python 3.9 or newer"));
}

/* --- Finding the server ---------------------------------------------------------------------------------------- */

/* A variable of the protocol that is missing, which is said before stdin is read. */
static int lacks_variables(const char *command)
{
    static const char *const needed[][2] = {
        {"CNI_COMMAND", ""}, {"CNI_CONTAINERID", "ADD DEL CHECK"}, {"CNI_NETNS", "ADD CHECK"},
        {"CNI_IFNAME", "ADD DEL CHECK"}, {"CNI_PATH", "ADD DEL CHECK GC"},
    };
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!*variable(needed[i][0]) && strstr(needed[i][1], command))
            return 1;
    return 0;
}

/* Whom Python answers without reading stdin, and whose descriptors are not those of a call. */
static int is_odd(void)
{
    for (int descriptor = 0; descriptor < 3; descriptor++)
        if (fcntl(descriptor, F_GETFD) < 0)
            return 1;
    return lacks_variables(variable("CNI_COMMAND")) || isatty(STDIN_FILENO);
}

static int find_address(struct sockaddr_un *address)
{
    const char *path = getenv("CNI_PROVISION_SOCKET");
    path = path ? path : SOCKET;
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (!*path || strlen(path) >= sizeof address->sun_path)
        return 0;
    strcpy(address->sun_path, path);
    return 1;
}

static int is_alive(const struct sockaddr_un *address)
{
    char path[sizeof address->sun_path + sizeof "alive"];
    strcpy(path, address->sun_path);
    char *slash = strrchr(path, '/');
    strcpy(slash ? slash + 1 : path, "alive");
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    int held = descriptor >= 0 && flock(descriptor, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
    close(descriptor);
    return held;
}

/* The ms that the server still has before this is asked again; 0 when its time is over. */
static int patience(const struct sockaddr_un *address, int waited)
{
    if (waited < PATIENCE)
        return PATIENCE - waited;
    return waited < LONGEST_PATIENCE && is_alive(address) ? PATIENCE : 0;
}

static int join(int server, const struct sockaddr_un *address, int *waited)
{
    while (connect(server, (const struct sockaddr *)address, sizeof *address) < 0) {
        if ((errno != EAGAIN && errno != EINTR) || !patience(address, *waited))
            return 0;
        poll(NULL, 0, QUEUE_PAUSE);
        *waited += QUEUE_PAUSE;
    }
    return 1;
}

/* Whether the first line says that we are served. Each piece of it counts as a wait to the end, so that no clock is
 * needed: to find the C library's costs 0.01 ms. */
static int greeted(int server, const struct sockaddr_un *address, int waited)
{
    char line[256];
    size_t size = 0;
    int left;
    while (size < sizeof line && (left = patience(address, waited))) {
        poll(&(struct pollfd){server, POLLIN, 0}, 1, left);
        waited += left;
        ssize_t got = recv(server, line + size, sizeof line - size, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            return 0;
        if (got > 0)
            size += (size_t)got;
        if (size && line[size - 1] == '\n')
            return size > sizeof READY && !memcmp(line, READY, sizeof READY - 1);
    }
    return 0;
}

/* A connection to a server that has heard of us, or -1. */
static int find_server(const struct sockaddr_un *address, int *waited)
{
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (server < 0 || join(server, address, waited))
        return server;
    close(server);
    return -1;
}

/* --- Frames ---------------------------------------------------------------------------------------------------- */

/* Sends all, with a descriptor where that is not -1. */
static int send_all(int server, const char *from, size_t size, int descriptor)
{
    char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(sizeof(size_t)))) = {0};
    struct iovec piece;
    struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
    if (descriptor >= 0) {
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &descriptor, sizeof(int));
    }
    while (size) {
        piece = (struct iovec){(char *)from, size};
        ssize_t sent = sendmsg(server, &message, MSG_NOSIGNAL);
        if (sent < 0 && !again(server, POLLOUT))
            return 0;
        if (sent > 0) {
            from += sent, size -= (size_t)sent;
            message.msg_control = NULL, message.msg_controllen = 0;
        }
    }
    return 1;
}

static void put_head(char *at, char type, size_t size)
{
    *at = type;
    put_number(at + 1, (uint32_t)size);
}

static int send_head(int server, char type, size_t size)
{
    char head[HEAD];
    put_head(head, type, size);
    return send_all(server, head, sizeof head, -1);
}

/* The next frame's type, all of the frame in `into`; 0 where the server is gone, -1 for what is no frame. The server
 * says no more before it is answered. */
static int receive(int server, struct bytes *into)
{
    size_t wanted = HEAD;
    into->size = 0;
    while (into->size < wanted) {
        int got = collect(server, into);
        if (got == 0 || got == -2 || (got == -1 && !again(server, POLLIN)))
            return 0;
        if (wanted > HEAD || into->size < HEAD)
            continue;
        if (number_at(into->at + 1) > LARGEST_FRAME)
            return -1;
        wanted += number_at(into->at + 1);
    }
    return into->size == wanted ? into->at[0] & 0x7f : -1;
}

/* --- The request ----------------------------------------------------------------------------------------------- */

/* 0 where it cannot be read. One byte more than a frame can hold is enough to know that it is too large. */
static int read_stdin(struct bytes *into)
{
    int got = 1, impatient = !strcmp(variable("CNI_COMMAND"), "VERSION");
    while (got && got != -2 && into->size <= HEAD + LARGEST_FRAME) {
        struct pollfd input = {STDIN_FILENO, POLLIN, 0};
        if ((impatient || got == -1) && !poll(&input, 1, impatient ? VERSION_PATIENCE : -1))
            break;
        got = collect(STDIN_FILENO, into);
    }
    return got != -2;
}

static int is_for_plugin(const char *entry)
{
    const char *names[] = {"CNI_", "TRACEPARENT=", "TRACESTATE=", "BAGGAGE="};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strncmp(entry, names[i], strlen(names[i])))
            return 1;
    return 0;
}

/* The request without its stdin. */
static void describe(const char *program, struct bytes *request)
{
    request->size = HEAD;
    const char *slash = strrchr(program, '/'), *name = slash ? slash + 1 : program;
    append(request, name, strlen(name) + 1);
    for (char **entry = environ; *entry; entry++)
        if (is_for_plugin(*entry))
            append(request, *entry, strlen(*entry) + 1);
    append(request, "", 1);
}

/* --- A delegate that is not ours ------------------------------------------------------------------------------- */

struct delegate {
    pid_t pid;
    int pipes[3];            /* our ends; -1 when they are closed */
    const char *input;
    size_t left;             /* of the input */
    struct bytes printed[3]; /* [1] on stdout, [2] on stderr */
};

static void nothing(int signal)
{
    (void)signal;
}

/* Handlers and not SIG_IGN, so that what we execute starts with the defaults. */
static void handle_signals(void)
{
    struct sigaction action = {.sa_handler = nothing};
    sigaction(SIGPIPE, &action, NULL);
    sigaction(SIGCHLD, &action, NULL);
}

static void shut(int *descriptor)
{
    if (*descriptor >= 0)
        close(*descriptor);
    *descriptor = -1;
}

/* In the child: it ends with its parent, also where that has ended already. Pipe 3 takes the errno of exec. */
static void become_delegate(char *path, const char *command, int ends[4][2], pid_t parent)
{
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    for (int i = 0; i < 3; i++)
        dup2(ends[i][i > 0], i);
    setenv("CNI_COMMAND", command, 1);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    for (int tries = 0; tries < BUSY_TRIES; tries++) {
        execve(path, (char *[]){path, NULL}, environ);
        if (errno != ETXTBSY)
            break;
        poll(NULL, 0, BUSY_PAUSE);
    }
    int reason = errno;
    write_all(ends[3][1], (char *)&reason, sizeof reason);
    _exit(1);
}

/* Starts it: 0, or the errno of what was in the way. Pipe 3 tells the errno of its exec, or ends at it. */
static int start(struct delegate *delegate, char *path, const char *command)
{
    int ends[4][2], reason = 0;
    pid_t self = getpid();
    for (int i = 0; i < 4; i++)
        if (pipe2(ends[i], O_CLOEXEC) < 0)
            abort();
    delegate->pid = fork();
    if (delegate->pid == 0)
        become_delegate(path, command, ends, self);
    if (delegate->pid < 0)
        reason = errno;
    for (int i = 0; i < 4; i++)
        close(ends[i][i > 0]);
    for (int i = 0; i < 3; i++) {
        delegate->pipes[i] = ends[i][i == 0];
        fcntl(delegate->pipes[i], F_SETFL, O_NONBLOCK);
    }
    if (!reason)
        read_all(ends[3][0], (char *)&reason, sizeof reason);
    close(ends[3][0]);
    return reason;
}

static void feed(struct delegate *delegate)
{
    ssize_t written = write(delegate->pipes[0], delegate->input, delegate->left);
    if (written > 0)
        delegate->input += written, delegate->left -= (size_t)written;
    else if (written < 0 && errno != EAGAIN && errno != EINTR)
        delegate->left = 0; /* it may succeed without reading everything */
    if (!delegate->left)
        shut(&delegate->pipes[0]);
}

/* Takes what it printed on pipe 1 or 2, once; 0 when nothing is there now. */
static int take(struct delegate *delegate, int number)
{
    if (delegate->pipes[number] < 0 || delegate->printed[number].size > LARGEST_OUTPUT)
        return 0;
    int got = collect(delegate->pipes[number], &delegate->printed[number]);
    if (got == 0 || got == -2)
        shut(&delegate->pipes[number]);
    return got == 1;
}

static int printed_too_much(const struct delegate *delegate)
{
    return delegate->printed[1].size > LARGEST_OUTPUT || delegate->printed[2].size > LARGEST_OUTPUT;
}

/* Moves bytes until it has ended, or was ended because the server went away. A process of its own that still holds
 * its stdout does not hold us. */
static int pump(struct delegate *delegate, int server, const sigset_t *unblocked)
{
    int status = 0, ended = 0;
    while (!ended) {
        struct pollfd watched[] = {{delegate->pipes[0], POLLOUT, 0}, {delegate->pipes[1], POLLIN, 0},
                                   {delegate->pipes[2], POLLIN, 0}, {server, POLLRDHUP, 0}};
        ppoll(watched, 4, NULL, unblocked);
        if (watched[3].revents || printed_too_much(delegate))
            kill(delegate->pid, SIGKILL);
        ended = waitpid(delegate->pid, &status, watched[3].revents ? 0 : WNOHANG) != 0;
        if (watched[0].revents)
            feed(delegate);
        for (int number = 1; number <= 2; number++)
            while (take(delegate, number) && ended)
                ;
    }
    return status;
}

/* Runs it to its end. What an X says: its exit code, minus its signal, or NOT_EXECUTED and PRINTED_TOO_MUCH. */
static int run(struct delegate *delegate, int server, char *path, const char *command)
{
    sigset_t child, before;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    sigprocmask(SIG_BLOCK, &child, &before);
    sigdelset(&before, SIGCHLD);
    int reason = start(delegate, path, command);
    int status = delegate->pid > 0 ? pump(delegate, server, &before) : 0;
    for (int i = 0; i < 3; i++)
        shut(&delegate->pipes[i]);
    if (reason || printed_too_much(delegate))
        return reason ? NOT_EXECUTED + reason : PRINTED_TOO_MUCH;
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

static int report(int server, int code, const struct bytes *output, const struct bytes *errors)
{
    char head[8];
    size_t room = LARGEST_FRAME - sizeof head - output->size;
    size_t tail = errors->size < room ? errors->size : room; /* the end of it says most */
    put_number(head, (uint32_t)code);
    put_number(head + 4, (uint32_t)output->size);
    return send_head(server, 'X', sizeof head + output->size + tail) &&
           send_all(server, head, sizeof head, -1) && send_all(server, output->at, output->size, -1) &&
           send_all(server, errors->at + errors->size - tail, tail, -1);
}

/* Does what an E asks and sends the X; NULL, or what to fail with. */
static const char *execute(int server, const struct bytes *frame)
{
    char *path = frame->at + HEAD, *end = frame->at + frame->size;
    char *command = memchr(path, 0, (size_t)(end - path));
    char *input = command ? memchr(command + 1, 0, (size_t)(end - command - 1)) : NULL;
    if (!input)
        return WRONG;
    struct delegate delegate = {.input = input + 1, .left = (size_t)(end - input - 1)};
    int code = run(&delegate, server, path, command + 1);
    if (code == PRINTED_TOO_MUCH)
        delegate.printed[1].size = delegate.printed[2].size = 0;
    int sent = report(server, code, &delegate.printed[1], &delegate.printed[2]);
    release(&delegate.printed[1]);
    release(&delegate.printed[2]);
    return sent ? NULL : GONE;
}

/* --- The session ----------------------------------------------------------------------------------------------- */

/* Writes the answer and says so to the server: the exit code. Without a reader it is not said. */
static int answer(int server, const struct bytes *frame)
{
    const char *payload = frame->at + HEAD, *end = frame->at + frame->size;
    if (end - payload < 5 || number_at(payload + 1) > (size_t)(end - payload - 5))
        return fail(WRONG);
    const char *output = payload + 5, *errors = output + number_at(payload + 1);
    write_all(STDERR_FILENO, errors, (size_t)(end - errors));
    if (!write_all(STDOUT_FILENO, output, (size_t)(errors - output)))
        return 1;
    send_head(server, 'K', 0);
    return (unsigned char)*payload;
}

/* Serves the server until it answers: the exit code. */
static int converse(int server)
{
    struct bytes frame = {frame_room, 0, sizeof frame_room, 1};
    const char *failure = NULL;
    int type = 0, code;
    while (!failure && (type = receive(server, &frame)) == 'E')
        failure = execute(server, &frame);
    if (!failure && type == 'A')
        code = answer(server, &frame);
    else
        code = fail(failure ? failure : type ? WRONG : GONE);
    release(&frame);
    return code;
}

/* One call by a server that has greeted us: the exit code, or -1 where nothing was sent because stdin cannot be read.
 * That sending failed shows in what is received. */
static int session(int server, struct bytes *request, int netns)
{
    handle_signals();
    if (!read_stdin(request))
        return -1;
    if (request->size > HEAD + LARGEST_FRAME)
        return fail(ERROR(7, "the configuration on stdin is larger than 16 MiB"));
    put_head(request->at, 'R', request->size - HEAD);
    send_all(server, request->at, request->size, netns);
    return converse(server);
}

/* One call by the server: the exit code, or -1 where it is not for us. While it looks who we are, we get ready. */
static int ask(const char *program)
{
    struct bytes request = {request_room, HEAD, sizeof request_room, 1};
    struct sockaddr_un address;
    int waited = 0, code = -1;
    int server = !is_odd() && find_address(&address) ? find_server(&address, &waited) : -1;
    if (server < 0)
        return -1;
    describe(program, &request);
    int netns = open(variable("CNI_NETNS"), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (greeted(server, &address, waited))
        code = session(server, &request, netns);
    shut(&netns);
    shut(&server);
    release(&request);
    return code;
}

int main(int count, char **arguments)
{
    int code = count > 1 ? -1 : ask(arguments[0]); /* with arguments it is a program of its own (`dhcp daemon`) */
    return code < 0 ? become_python(count, arguments) : code;
}
