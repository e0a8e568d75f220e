/* The application of this process in the daemon: its state, its connections, its sessions' names.
 *
 * The first connection is the application's anchor: it ends with it. Further ones are attached
 * as threads need them, so that a thread that waits never holds up another; where the daemon has
 * none to give, threads take turns. When any of them breaks, all are dropped, the application is
 * lost and its sessions with it; the next call without a session connects a new one.
 */
#ifndef KLYUCH_LINK_H
#define KLYUCH_LINK_H

#include "marshal.h"

/* C_Initialize: connect, starting the daemon where none listens. */
CK_RV link_up(void);

/* C_Finalize: wake and refuse every call, end the application. */
CK_RV link_down(void);

bool link_is_up(void);

/* The daemon's handle of a session and the generation it belongs to; false where it is stale. */
bool link_session(CK_SESSION_HANDLE session, uint64_t *handle, uint64_t *generation);

/* The caller's handle of a session opened in that generation; false where it cannot be one. */
bool link_tag(uint64_t handle, uint64_t generation, CK_SESSION_HANDLE *session);

/* Send the call's frame and receive the answer into it. Sets `generation` where no session did. */
CK_RV link_exchange(struct call *call);

#endif
