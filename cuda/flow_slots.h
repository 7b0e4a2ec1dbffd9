/* flow_slots.h: fields of the flow solver on their way to the host: from a slot's room on the device to
 * pinned memory, on a stream of their own, while the flow's stream goes on. Private to cuda/. */
#ifndef FX_CUDA_FLOW_SLOTS_H
#define FX_CUDA_FLOW_SLOTS_H

#include "exec.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct fx_flow_slots fx_flow_slots;

/* `count` slots of `values` floats each; 0: *out is NULL. FX_ENOMEM. */
fx_status fx_flow_slots_open(fx_flow_slots **out, fx_exec *exec, int count, int64_t values);
/* Waits for what is on its way. */
void fx_flow_slots_close(fx_flow_slots **slots);

/* Device memory, to be filled on the exec's stream. A slot that was sent is free for it again when it
 * was received. */
float *fx_flow_slot_room(fx_flow_slots *slots, int slot);
/* Starts the copy, behind what the exec's stream holds. Does not wait. */
fx_status fx_flow_slot_send(fx_flow_slots *slots, int slot);
/* Waits for it; the values are the host's until the slot is sent again. */
fx_status fx_flow_slot_receive(fx_flow_slots *slots, int slot, const float **values);

#ifdef __cplusplus
}
#endif
#endif
