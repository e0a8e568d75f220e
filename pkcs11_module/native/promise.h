/* C_SignInit and its like without a trip of their own.
 *
 * What was granted before in a session would be granted again, byte for byte, while the session has
 * no operation since and the daemon's epoch stands: a number in a page that every library maps, and
 * that moves with whatever could change an answer. Then it is promised at once, and sent in front
 * of the session's next call, or before the next one of this process that could change an answer.
 * Where it is refused after all, another process or the user has ended the operation meanwhile, and
 * the answer to the next call says so. */
#ifndef KLYUCH_PROMISE_H
#define KLYUCH_PROMISE_H

#include "marshal.h"

/* Map the page of the daemon that was just reached; without one nothing is promised. */
void promise_map(void);

/* Forget every promise and the page. In a forked child, whatever other threads were doing. */
void promise_forget(void);

/* Whether the call is granted with nothing to send. */
bool promise_made(struct call *call);

/* Put what is due in the call's session in front of its frame. */
void promise_due(struct call *call);

/* Make a call of what is due in some session; false where nothing is. */
bool promise_take(struct call *call);

/* Learn from the return value of a call in that session. */
void promise_learn(const struct call *call, uint64_t session);

#endif
