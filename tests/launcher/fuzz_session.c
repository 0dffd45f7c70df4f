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
    setenv("CNI_NETNS", "/proc/self/ns/net", 1);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *said, size_t size)
{
    int pair[2], errors = dup(STDERR_FILENO), code;
    if (!size || size > 100000 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
        return 0;
    dup2(STDOUT_FILENO, STDERR_FILENO);
    if (!write_all(pair[1], (const char *)said + 1, size - 1) || shutdown(pair[1], SHUT_WR))
        abort();
    if (said[0] & 1)
        code = greeted(pair[0], &(struct sockaddr_un){.sun_path = "/nowhere/socket"}, now());
    else
        code = session(pair[0], "/opt/cni/bin/bridge");
    dup2(errors, STDERR_FILENO);
    close(errors);
    close(pair[0]);
    close(pair[1]);
    if (code < 0 || code > 255 || fcntl(5, F_GETFD) > 0)
        abort();
    return 0;
}
