/* snapshots.h: a file's snapshots on their way from the flow to the disk. Private to src/dns. */
#ifndef FX_DNS_SNAPSHOTS_H
#define FX_DNS_SNAPSHOTS_H

#include "flexhpc/dns.h"
#include "flexhpc/io.h"

typedef struct fx_snapshots fx_snapshots;

/* Slots that a flow on `exec` (NULL: the CPU) must have (fx_dns_options) for snapshots of so many
 * channels. */
int fx_snapshots_slots(const fx_exec *exec, int channels);

/* Into the dataset `w` of `file`: (T, n, n), or (T, channels, n, n) of u, v, w. Until it is closed
 * nobody else touches the file. Local. */
fx_status fx_snapshots_open(fx_snapshots **out, fx_comm *comm, fx_dns *dns, fx_h5 *file, int64_t n,
                            int64_t channels);
/* Waits for what is being written, and leaves unwritten what is not. Local. */
void fx_snapshots_close(fx_snapshots **snapshots);

/* The flow of now is snapshot i of the file; the flow may go on. A failure to write one may be told by
 * a later call. Collective. */
fx_status fx_snapshots_put(fx_snapshots *snapshots, int64_t i);
/* All are written. Collective. */
fx_status fx_snapshots_finish(fx_snapshots *snapshots);

#endif
