/* libFuzzer: whatever a server says, the launcher ends with an exit code and reads and writes inside its memory.
 *
 * An odd first byte: the rest is a greeting; else it is all that the server says after one.
 * clang -g -O1 -fsanitize=fuzzer,address,undefined -o fuzz_session fuzz_session.c && ./fuzz_session corpus
 */
#define _GNU_SOURCE
#include <errno.h>
#include <unistd.h>
#define main launcher
#define execve execute_harmless
static int execute_harmless(const char *path, char *const *arguments, char *const *environment);
#include "../../plugins/launcher/launcher.c"
#undef execve

static int execute_harmless(const char *path, char *const *arguments, char *const *environment)
{
    (void)arguments;
    if (*path == 'c')
        return execve("/bin/cat", (char *[]){"cat", NULL}, environment);
    errno = ENOENT;
    return -1;
}

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count, (void)arguments;
    int nowhere = open("/dev/null", O_RDWR);
    dup2(nowhere, STDIN_FILENO);
    dup2(nowhere, STDOUT_FILENO);
    setenv("CNI_COMMAND", "ADD", 1);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *said, size_t size)
{
    struct bytes request = {request_room, HEAD, sizeof request_room, 1};
    int pair[2], code;
    if (!size || size > 100000 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
        return 0;
    int errors = dup(STDERR_FILENO), netns = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    dup2(STDOUT_FILENO, STDERR_FILENO);
    if (!write_all(pair[1], (const char *)said + 1, size - 1) || shutdown(pair[1], SHUT_WR))
        abort();
    if (said[0] & 1)
        code = greeted(pair[0], &(struct sockaddr_un){.sun_path = "/nowhere/socket"}, 0);
    else {
        describe("/opt/cni/bin/bridge", &request);
        code = session(pair[0], &request, netns);
        release(&request);
    }
    dup2(errors, STDERR_FILENO);
    close(errors);
    close(netns);
    close(pair[0]);
    close(pair[1]);
    if (code < 0 || code > 255 || dup(STDOUT_FILENO) != pair[0] || close(pair[0]))
        abort(); /* the lowest free descriptor is another: one was left open */
    return 0;
}
