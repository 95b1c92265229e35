/* SPDX-License-Identifier: MIT */
/*
 * The runtime directory ($XDG_RUNTIME_DIR/telex, else telex-UID in $TMPDIR or /tmp; 0700, owner checked, no symbolic
 * link), its lock, and the entries by which living listeners are listed. An entry is a file that its process keeps
 * locked: the kernel unlocks it at death, so a kill -9 leaves nothing that looks alive.
 */
#ifndef TELEX_OS_RUNTIME_H
#define TELEX_OS_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

/* Makes the directory where needed and writes its path. 0, -ENAMETOOLONG, -EPERM (somebody else's), or an errno of mkdir(2); with a sentence. */
int telex_runtime_path(char *ret_path, size_t size);

/* Locks the runtime directory against other telex processes of this user; waits at most a second (-EBUSY). Returns a descriptor that telex_shut() gives back. */
int telex_runtime_lock(void);

struct telex_entry { /* one line in `telex list` */
    int fd;          /* locked while the listener lives; -1: not listed */
    char path[256];
};

/* Lists `address` as this process's. Failing is no error for the listener: 0 or -errno, entry->fd is -1 then. */
int telex_entry_add(struct telex_entry *entry, const char *address);
void telex_entry_remove(struct telex_entry *entry);

struct telex_entry_facts {
    const char *address, *program;
    int64_t pid, since; /* since: seconds since 1970 */
};

/* Walks over living entries in order of address, removes dead ones. A value of `each` that is not 0 ends the walk and is returned. */
int telex_entry_walk(int (*each)(const struct telex_entry_facts *facts, void *user), void *user);

#endif
