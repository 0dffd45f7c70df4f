/* The kernel's part of a plugin's work, and nothing else: what no plugin on this machine can be faster than. */
#pragma once

/* `verb`: ADD, CHECK, DEL, UP (of `lo`); what for, as NAME=VALUE:
 * NETNS, IFNAME, BRIDGE (its name), PREFIX (a /16: "10.60"), POD (number), LEASES (folder), and where they shall be
 * part of it MASQUERADE and PORT (the first; the pod's number is added). Ends the process on any error. */
void floor_step(const char *verb, char **parameters);
