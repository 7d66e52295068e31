/* peer - the socket behind a civetweb connection, which civetweb 1.15 keeps to itself */
#ifndef GATEWAY_PEER_H
#define GATEWAY_PEER_H

#include <civetweb.h>

/* Looks through the process's descriptors for the TCP socket between the request's two ends; -1 when it is
 * not found.  Costs a system call per open descriptor: ask once per connection, and only when there is time
 * (some 0.2 ms with 500 connections).  The answer is good while the calling thread serves the connection:
 * nobody else closes it. */
int peer_find(const struct mg_request_info *info);

#endif
