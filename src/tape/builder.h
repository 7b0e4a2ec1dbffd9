/* builder.h: the inside of the builder, shared by the passes over the tape. Private to src/tape. */
#ifndef FX_BUILDER_H
#define FX_BUILDER_H

#include "flexhpc/mem.h"
#include "flexhpc/str.h"
#include "flexhpc/tape.h"

enum { FX_SCOPES = 16 };

typedef struct fx_goal { /* weight * sum(tensor) is part of the objective */
    fx_tensor *tensor;
    float weight;
} fx_goal;

struct fx_builder {
    fx_pool *pool; /* nodes, tensors, names */
    fx_params *params;
    fx_status status;
    char message[1024];

    char scope[512];
    size_t scope_end[FX_SCOPES]; /* length of `scope` before each push */
    int scopes;

    bool ema;
    fx_rows rows;
    int part, section;

    fx_entry *entries;
    size_t count, capacity;
    fx_tensor **tensors; /* all but parameters */
    size_t tensor_count, tensor_capacity;
    fx_goal *goals;
    size_t goal_count, goal_capacity;
    size_t differentiated; /* entries that autodiff has seen or made */
    fx_param **ready;      /* see fx_readiness */
    int ready_count;
};

/* A new tensor without a shape, listed for the planner. NULL after recording the failure. */
fx_tensor *fx_builder_tensor(fx_builder *g, const char *name, fx_role role);
bool fx_builder_append(fx_builder *g, fx_node *node, fx_pass pass);

/* Copies a node for another pass; its tensors are the same. NULL after recording the failure. */
fx_node *fx_builder_copy(fx_builder *g, const fx_node *node);

/* For a backward node about to be appended: replaces what it reads and the plan does not keep by
 * copies, and appends the forward nodes that make them. */
void fx_builder_restore(fx_builder *g, fx_node *node, fx_recompute mode);

#endif
