/* signals.h: stop requests. Private to src/train. */
#ifndef FX_SIGNALS_H
#define FX_SIGNALS_H

#include <stdbool.h>

/* From now on USR1, USR2, TERM and INT ask the run to stop after the present step. A second INT, or a
 * TERM and then another TERM or INT two seconds later, ends the process at once with 130. Local. */
void fx_signals_catch(void);

/* Signal number that asked for a stop; 0: none. Local. */
int fx_signals_seen(void);

/* Whether a TERM or INT has come. Any thread. Local. */
bool fx_signals_asked_to_end(void);

#endif
