/* SPDX-License-Identifier: MIT */
/* A listener's inside, for the server: peers that have greeted but were not let in yet. */
#ifndef TELEX_CHANNEL_LISTENER_H
#define TELEX_CHANNEL_LISTENER_H

#include "channel/channel.h"

/* The next peer that has greeted, not let in: telex_channel_admit() decides. 0, -EAGAIN, -ESHUTDOWN (as below), -EMFILE, ...; does not wait. */
int telex_listener_next(telex_listener *listener, telex_channel **ret_channel);

/* Whether nobody can come any more: the one peer of a port that brings no others (fd:, stdio:) has come. */
bool telex_listener_is_through(const telex_listener *listener);

#endif
