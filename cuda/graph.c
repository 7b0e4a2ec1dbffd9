/* graph.c: a list of entries as one graph, so that a step costs the host one call. The first run of a
 * list is a plain walk, in which libraries load and allocate what they put off; the second is captured;
 * from then on the graph is launched. What changes from run to run is read from device memory. */
#include "exec.h"
#include "flexhpc/heartbeat.h"
#include "flexhpc/mem.h"

struct fx_cuda_graph {
    const fx_entry *entries;
    int count;
    void *arena;
    cudaGraphExec_t graph; /* NULL: ran once */
};

static void drop(fx_cuda *exec, fx_cuda_graph *g)
{
    if (g->graph) {
        fx_cuda_quiesce(exec);
        cudaGraphExecDestroy(g->graph);
    }
    *g = exec->graphs[--exec->graph_count];
}

void fx_cuda_graphs_forget(fx_cuda *exec, const fx_entry *entries)
{
    for (size_t i = exec->graph_count; i-- > 0;)
        if (!entries || exec->graphs[i].entries == entries) drop(exec, &exec->graphs[i]);
    if (entries) return;
    fx_free(exec->graphs);
    exec->graphs = NULL;
    exec->graph_capacity = 0;
}

static fx_cuda_graph *find(const fx_cuda *exec, const fx_entry *entries, int count, const void *arena)
{
    for (size_t i = 0; i < exec->graph_count; i++) {
        fx_cuda_graph *g = &exec->graphs[i];
        if (g->entries == entries && g->count == count && g->arena == arena) return g;
    }
    return NULL;
}

/* The end of a capture is called also where the walk failed: its message is the one to read. */
static fx_status capture(fx_cuda *exec, fx_cuda_graph *g)
{
    cudaGraph_t graph = NULL;
    FX_CUDA(cudaStreamBeginCapture(exec->stream, cudaStreamCaptureModeThreadLocal));
    fx_status status = fx_cuda_walk(exec, g->entries, g->count, g->arena, NULL);
    const cudaError_t ended = cudaStreamEndCapture(exec->stream, &graph);
    if (status == FX_OK) status = fx_cuda_check(ended, "capture of a run", NULL);
    if (status == FX_OK)
        status = fx_cuda_check(cudaGraphInstantiate(&g->graph, graph, 0), "cudaGraphInstantiate", NULL);
    if (graph) cudaGraphDestroy(graph);
    return status;
}

fx_status fx_cuda_replay(fx_cuda *exec, const fx_entry *entries, int count, void *arena)
{
    fx_cuda_graph *g = find(exec, entries, count, arena);
    if (!g) {
        FX_TRY(fx_grow((void **)&exec->graphs, &exec->graph_capacity, exec->graph_count, sizeof *g));
        exec->graphs[exec->graph_count++] = (fx_cuda_graph){entries, count, arena, NULL};
        return fx_cuda_walk(exec, entries, count, arena, NULL);
    }
    if (!g->graph) FX_TRY(capture(exec, g));
    fx_beat_at("the captured list");
    FX_CUDA(cudaGraphLaunch(g->graph, exec->stream));
    return FX_OK;
}
