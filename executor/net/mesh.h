/* A mesh: a TCP connection between every two processes of a run, for what must not depend on
 * the library that moves their tensors: noticing that one of them is gone.
 *
 *     each: mesh_listen()      a port: on loopback, an interface, or every address of the host
 *     all:  addresses change hands, by whatever connects the processes already
 *     each: mesh_connect()     calls the lower ranks, is called by the higher ones
 *
 * A caller shows the listener's token, which only processes of the run know; so whoever else
 * answers at an address, or calls, is turned away. A process has several addresses, and which of
 * them lead to it is found by trying all. */
#ifndef EXECUTOR_NET_MESH_H
#define EXECUTOR_NET_MESH_H

#include <stdint.h>

#include "base/error.h"

struct sockaddr_storage;

enum { MESH_ADDRESSES = 448, MESH_HOST = 64, MESH_RANKS = 1024 };

/* Where a process listens. Plain bytes, to be copied from one to the other. */
typedef struct {
    char     host[MESH_HOST];            /* the machine's name */
    char     addresses[MESH_ADDRESSES];  /* "192.168.1.7 fd00::7": numeric; those that found room */
    uint32_t port;
    uint64_t token;
} MeshAddress;

typedef struct Mesh Mesh;

/* From where a process is to be called. */
typedef enum {
    MESH_ANYWHERE,           /* every address of the host */
    MESH_HERE                /* all processes are on this machine: 127.0.0.1 */
} MeshReach;

/* Opens a port for the others to call. interface: where, instead of reach: its name ("eth0") or a
 * numeric address of this host; NULL: by reach. mesh_free() *out. */
int mesh_listen(Mesh **out, MeshReach reach, const char *interface, Error *err);

/* The one address that it listens at; NULL: all of this host. */
const struct sockaddr_storage *mesh_listens_at(const Mesh *mesh);

/* Where this process is to be called, for the others; borrowed. */
const MeshAddress *mesh_address(const Mesh *mesh);

/* Connects with all. address [count], rank's own among them; copied. Fails, after timeout_ns at
 * most, with the rank that could not be reached. No one else is let in afterwards. */
int mesh_connect(Mesh *mesh, int rank, int count, const MeshAddress *address, int64_t timeout_ns,
                 Error *err);

/* The connection to a rank: non-blocking. -1: none, as to itself. */
int mesh_socket(const Mesh *mesh, int rank);

/* NULL is nothing to close. */
void mesh_free(Mesh *mesh);

#endif
