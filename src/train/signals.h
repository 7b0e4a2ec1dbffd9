/* signals.h: whether a stop was asked for; fx_signals_catch (train.h) begins to listen,
 * fx_signals_seen tells. Private to
 * src/train. */
#ifndef FX_SIGNALS_H
#define FX_SIGNALS_H

#include <stdint.h>

/* When the first TERM or INT came, of fx_heartbeat_clock(); 0: none has. Any thread. Local. */
int64_t fx_signals_end_asked_at(void);

#endif
