/* signals.h: whether a stop was asked for; fx_signals_catch (train.h) begins to listen. Private to
 * src/train. */
#ifndef FX_SIGNALS_H
#define FX_SIGNALS_H

#include <stdbool.h>

/* Signal number that asked for a stop; 0: none. Local. */
int fx_signals_seen(void);

/* Whether a TERM or INT has come. Any thread. Local. */
bool fx_signals_asked_to_end(void);

#endif
