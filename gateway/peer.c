/* peer - the socket behind a civetweb connection, which civetweb 1.15 keeps to itself */
#include "gateway/peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define DESCRIPTORS_MAX 65536
#define GAP_MAX                                                                                              \
    256 /* closed descriptors in a row behind which nothing is expected: the kernel gives the lowest first   \
         */

int
peer_find(const struct mg_request_info *info)
{
    struct in_addr address;
    if (inet_pton(AF_INET, info->remote_addr, &address) != 1) {
        return -1;
    }
    int gap = 0;
    for (int fd = 3; fd < DESCRIPTORS_MAX && gap < GAP_MAX; fd++) {
        struct sockaddr_in peer = { .sin_family = AF_UNSPEC };
        socklen_t size = sizeof peer;
        if (getpeername(fd, (struct sockaddr *) &peer, &size) != 0) {
            gap = errno == EBADF ? gap + 1 : 0;
            continue;
        }
        gap = 0;
        if (peer.sin_family != AF_INET || ntohs(peer.sin_port) != info->remote_port ||
            peer.sin_addr.s_addr != address.s_addr) {
            continue;
        }
        /* A process may talk to itself over both ends of one connection: ours has the server's port. */
        size = sizeof peer;
        if (getsockname(fd, (struct sockaddr *) &peer, &size) == 0 &&
            ntohs(peer.sin_port) == info->server_port) {
            return fd;
        }
    }
    return -1;
}
