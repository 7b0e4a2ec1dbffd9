/* cudnn_engines.c: which engine computes a graph: cuDNN's heuristics (mode A, then fallback) and the
 * policy by the engines' own notes, or a choice that was made before. A choice is an engine's number
 * and its knobs; with the graph they make the same engine again, and cuDNN the same code. */
#include "cudnn_descriptors.h"

#include <assert.h>

#include "flexhpc/mem.h"

enum { NOTES = 16 };

/* What an engine says of itself. */
typedef struct engine_notes {
    int64_t index;
    bool deterministic, tensor_core, transforms, rounds, runtime;
} engine_notes;

static fx_status read_notes(descriptor config, engine_notes *out)
{
    fx_status status = FX_OK;
    descriptor engine = NULL;
    int64_t got = 0;
    cudnnBackendNumericalNote_t number[NOTES];
    cudnnBackendBehaviorNote_t behavior[NOTES];
    *out = (engine_notes){.deterministic = true};
    FX_TRY(fx_cudnn_check(cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine),
                          "engine"));
    FX_TRY_DONE(
        fx_cudnn_check(cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE,
                                                CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &got, &engine),
                       "engine"));
    FX_TRY_DONE(fx_cudnn_check(cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX,
                                                        CUDNN_TYPE_INT64, 1, &got, &out->index),
                               "engine index"));
    FX_TRY_DONE(fx_cudnn_check(cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                                        CUDNN_TYPE_NUMERICAL_NOTE, NOTES, &got, number),
                               "engine notes"));
    for (int64_t i = 0; i < got; i++)
        switch (number[i]) {
        case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
            out->deterministic = false;
            break;
        case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:
            out->tensor_core = true;
            break;
        case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS:
        case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
            out->rounds = true;
            break;
        case CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP:
            break;
        default:
            out->transforms = true; /* Fourier, Winograd and its tiles */
        }
    FX_TRY_DONE(
        fx_cudnn_check(cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE,
                                                CUDNN_TYPE_BEHAVIOR_NOTE, NOTES, &got, behavior),
                       "engine behavior"));
    for (int64_t i = 0; i < got; i++)
        if (behavior[i] == CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION) out->runtime = true;
done:
    cudnnBackendDestroyDescriptor(engine);
    return status;
}

static bool allows(const fx_cudnn_policy *policy, const engine_notes *e)
{
    return e->deterministic && !e->rounds && !e->runtime &&
           !(policy->strict && (e->tensor_core || e->transforms)) &&
           (e->tensor_core || !policy->tensor_core);
}

/* Takes the plan of one configuration, unless the engine fails or wants too much room. */
static fx_status try_plan(fx_cudnn_plan *p, const fx_cudnn_device *device, descriptor config,
                          const engine_notes *notes, const fx_cudnn_policy *policy)
{
    fx_status status = FX_OK;
    descriptor plan = NULL;
    cudnnHandle_t handle = device->handle;
    int64_t workspace = 0, got = 0;
    FX_TRY(fx_cudnn_check(cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan),
                          "plan"));
    FX_TRY_DONE(fx_cudnn_set_descriptor(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config));
    if (handle)
        FX_TRY_DONE(
            fx_cudnn_set(plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle));
    else
        FX_TRY_DONE(
            fx_cudnn_set_descriptor(plan, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, device->properties));
    if (cudnnBackendFinalize(plan) != CUDNN_STATUS_SUCCESS) goto done;
    FX_TRY_DONE(fx_cudnn_check(cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                                        CUDNN_TYPE_INT64, 1, &got, &workspace),
                               "workspace"));
    if (workspace < 0 || (size_t)workspace > policy->workspace) goto done;
    p->plan = plan;
    p->workspace = (size_t)workspace;
    p->choice.engine = notes->index;
    p->tensor_core = notes->tensor_core;
    return FX_OK;
done:
    cudnnBackendDestroyDescriptor(plan);
    return status;
}

/* The knobs of a configuration, as they stand. */
static fx_status read_knobs(descriptor config, fx_cudnn_choice *out)
{
    fx_status status = FX_OK;
    descriptor knob[FX_CUDNN_KNOBS] = {NULL};
    int64_t count = 0, got = 0;
    out->knobs = 0;
    for (int i = 0; i < FX_CUDNN_KNOBS; i++)
        FX_TRY_DONE(fx_cudnn_check(
            cudnnBackendCreateDescriptor(CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, &knob[i]), "knob"));
    FX_TRY_DONE(fx_cudnn_check(cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES,
                                                        CUDNN_TYPE_BACKEND_DESCRIPTOR, FX_CUDNN_KNOBS,
                                                        &count, knob),
                               "knobs"));
    FX_REQUIRE_DONE(count <= FX_CUDNN_KNOBS, FX_EDEVICE, "cuDNN: an engine with %lld knobs",
                    (long long)count);
    for (int64_t i = 0; i < count; i++) {
        cudnnBackendKnobType_t type;
        FX_TRY_DONE(fx_cudnn_check(cudnnBackendGetAttribute(knob[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE,
                                                            CUDNN_TYPE_KNOB_TYPE, 1, &got, &type),
                                   "knob's type"));
        FX_TRY_DONE(
            fx_cudnn_check(cudnnBackendGetAttribute(knob[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE,
                                                    CUDNN_TYPE_INT64, 1, &got, &out->knob[i].value),
                           "knob's value"));
        out->knob[i].type = (int)type;
    }
    out->knobs = (int)count;
done:
    for (int i = 0; i < FX_CUDNN_KNOBS; i++)
        if (knob[i]) cudnnBackendDestroyDescriptor(knob[i]);
    return status;
}

static fx_status choose(fx_cudnn_plan *p, const fx_cudnn_device *device, descriptor *configs,
                        int64_t count, const fx_cudnn_policy *policy, int *skip)
{
    for (int64_t i = 0; i < count; i++) {
        engine_notes notes;
        FX_TRY(read_notes(configs[i], &notes));
        p->considered++;
        if (notes.deterministic) p->deterministic++;
        if (p->plan || !allows(policy, &notes)) continue;
        FX_TRY(try_plan(p, device, configs[i], &notes, policy));
        if (p->plan && (*skip)-- > 0) {
            cudnnBackendDestroyDescriptor(p->plan);
            p->plan = NULL;
        }
        if (!p->plan) continue;
        FX_TRY(read_knobs(configs[i], &p->choice));
        assert(p->count < (int)(sizeof p->owned / sizeof *p->owned));
        p->owned[p->count++] = configs[i];
        configs[i] = NULL;
    }
    return FX_OK;
}

/* Asks one of cuDNN's heuristics for configurations. A heuristic that has none is no failure. */
static fx_status ask(fx_cudnn_plan *p, const fx_cudnn_device *device, descriptor graph,
                     cudnnBackendHeurMode_t mode, const fx_cudnn_policy *policy, int *skip)
{
    fx_status status = FX_OK;
    descriptor heuristic = NULL, *configs = NULL;
    int64_t count = 0, got = 0;
    FX_TRY(fx_cudnn_make(p, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, &heuristic));
    FX_TRY(fx_cudnn_set_descriptor(heuristic, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph));
    FX_TRY(fx_cudnn_set(heuristic, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode));
    if (device->properties)
        FX_TRY(
            fx_cudnn_set_descriptor(heuristic, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, device->properties));
    const cudnnStatus_t refused = cudnnBackendFinalize(heuristic);
    if (refused >= CUDNN_STATUS_NOT_SUPPORTED) return FX_OK;
    FX_TRY(fx_cudnn_check(refused, "heuristics"));
    FX_TRY(fx_cudnn_check(cudnnBackendGetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                                   CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, NULL),
                          "heuristics"));
    FX_TRY(FX_ALLOC(configs, count));
    for (int64_t i = 0; i < count; i++)
        FX_TRY_DONE(fx_cudnn_check(
            cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &configs[i]),
            "engine configuration"));
    FX_TRY_DONE(
        fx_cudnn_check(cudnnBackendGetAttribute(heuristic, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                                CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &got, configs),
                       "heuristics"));
    FX_TRY_DONE(choose(p, device, configs, got, policy, skip));
done:
    for (int64_t i = 0; i < count; i++)
        if (configs[i]) cudnnBackendDestroyDescriptor(configs[i]);
    fx_free(configs);
    return status;
}

fx_status fx_cudnn_plan_make(const fx_cudnn_device *device, const fx_graph *graph,
                             const fx_cudnn_policy *policy, int skip, fx_cudnn_plan *out)
{
    static const cudnnBackendHeurMode_t MODES[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK};
    fx_status status = FX_OK;
    descriptor operations = NULL;
    int left = skip;
    *out = (fx_cudnn_plan){0};
    FX_TRY_DONE(fx_cudnn_make_graph(out, device, graph, &operations));
    for (int i = 0; i < 2 && !out->plan; i++)
        FX_TRY_DONE(ask(out, device, operations, MODES[i], policy, &left));
    FX_REQUIRE_DONE(out->plan || skip > 0, FX_EDEVICE,
                    "cuDNN: none of %d engine configurations (%d deterministic) will do with %zu MiB "
                    "of workspace",
                    out->considered, out->deterministic, policy->workspace >> 20);
    return FX_OK;
done:
    fx_cudnn_plan_close(out);
    return status;
}

/* The configuration that a choice stands for. */
static fx_status make_config(fx_cudnn_plan *p, const fx_cudnn_device *device, descriptor graph,
                             const fx_cudnn_choice *choice, descriptor *out)
{
    descriptor engine = NULL, knob[FX_CUDNN_KNOBS];
    FX_TRY(fx_cudnn_make(p, CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine));
    FX_TRY(fx_cudnn_set_descriptor(engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph));
    FX_TRY(fx_cudnn_set_int(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, choice->engine));
    if (device->properties)
        FX_TRY(fx_cudnn_set_descriptor(engine, CUDNN_ATTR_ENGINE_DEVICEPROP, device->properties));
    FX_TRY(fx_cudnn_finalize(engine, "engine"));
    for (int i = 0; i < choice->knobs; i++) {
        const cudnnBackendKnobType_t type = (cudnnBackendKnobType_t)choice->knob[i].type;
        FX_TRY(fx_cudnn_make(p, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, &knob[i]));
        FX_TRY(fx_cudnn_set(knob[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &type));
        FX_TRY(fx_cudnn_set_int(knob[i], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, choice->knob[i].value));
        FX_TRY(fx_cudnn_finalize(knob[i], "knob"));
    }
    FX_TRY(fx_cudnn_make(p, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, out));
    FX_TRY(fx_cudnn_set_descriptor(*out, CUDNN_ATTR_ENGINECFG_ENGINE, engine));
    if (choice->knobs > 0)
        FX_TRY(fx_cudnn_set(*out, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                            choice->knobs, knob));
    return fx_cudnn_finalize(*out, "engine configuration");
}

fx_status fx_cudnn_plan_restore(const fx_cudnn_device *device, const fx_graph *graph,
                                const fx_cudnn_policy *policy, const fx_cudnn_choice *choice,
                                fx_cudnn_plan *out)
{
    fx_status status = FX_OK;
    descriptor operations = NULL, config = NULL;
    engine_notes notes;
    *out = (fx_cudnn_plan){0};
    FX_TRY_DONE(fx_cudnn_make_graph(out, device, graph, &operations));
    FX_TRY_DONE(make_config(out, device, operations, choice, &config));
    FX_TRY_DONE(read_notes(config, &notes));
    if (allows(policy, &notes)) FX_TRY_DONE(try_plan(out, device, config, &notes, policy));
    FX_REQUIRE_DONE(out->plan, FX_EDEVICE, "cuDNN: engine %lld will not do", (long long)choice->engine);
    FX_TRY_DONE(read_knobs(config, &out->choice));
    return FX_OK;
done:
    fx_cudnn_plan_close(out);
    return status;
}
