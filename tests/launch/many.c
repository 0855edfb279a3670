/* Threads that connect, ask for their peer, and talk: PORT THREADS CONNECTS SHARED NONBLOCKING.
   With SHARED all threads connect with one address in memory. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int port, each, shared, nonblocking, failed, wrong;
static struct sockaddr_in common;

static struct sockaddr_in server(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static int connected(int fd, struct sockaddr_in *to) {
    if (connect(fd, (void *)to, sizeof *to) == 0) return 1;
    if (!nonblocking || errno != EINPROGRESS) return 0;
    struct pollfd p = {fd, POLLOUT, 0};
    int error;
    socklen_t len = sizeof error;
    poll(&p, 1, -1);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
    return error == 0;
}

static int is_right(int fd) {
    struct sockaddr_in peer, want = server();
    socklen_t len = sizeof peer;
    char bytes[5] = "hello";
    fcntl(fd, F_SETFL, 0);
    return getpeername(fd, (void *)&peer, &len) == 0 && len == sizeof peer &&
           peer.sin_port == want.sin_port && peer.sin_addr.s_addr == want.sin_addr.s_addr &&
           write(fd, bytes, 5) == 5 && recv(fd, bytes, 5, MSG_WAITALL) == 5 &&
           memcmp(bytes, "hello", 5) == 0;
}

static void *run(void *unused) {
    for (int i = 0; i < each; i++) {
        struct sockaddr_in own = server();
        int fd = socket(AF_INET, SOCK_STREAM | (nonblocking ? SOCK_NONBLOCK : 0), 0);
        if (!connected(fd, shared ? &common : &own))
            __sync_fetch_and_add(&failed, 1);
        else if (!is_right(fd))
            __sync_fetch_and_add(&wrong, 1);
        close(fd);
    }
    return unused;
}

int main(int count, char **args) {
    if (count != 6) return 2;
    port = atoi(args[1]);
    int threads = atoi(args[2]);
    each = atoi(args[3]) / threads;
    shared = atoi(args[4]);
    nonblocking = atoi(args[5]);
    common = server();
    pthread_t *all = calloc(threads, sizeof *all);
    for (int i = 0; i < threads; i++)
        if (pthread_create(all + i, 0, run, 0)) return 3;
    for (int i = 0; i < threads; i++) pthread_join(all[i], 0);
    printf("%d connects, %d failed, %d wrong\n", threads * each, failed, wrong);
    return 0;
}
