/* cudnn.cpp: the entry points of cuDNN that the backend uses. Descriptors are recorded here, and
 * mirrored by the installed libcudnn where there is one (FX_FAKE_CUDNN, loaded into a namespace of its
 * own): it plans for the device of FX_FAKE_DEVICE, and what it refuses is refused. A run never reaches
 * it: the recorded graph is computed on the CPU. Without a library, or with FX_FAKE_CUDNN=none in the
 * environment, the table of cudnn_rules.cpp stands in for its planning. Strict: see fake_check and
 * cudnnBackendExecute. */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_cudnn.h"

struct cudnnContext {
    cudaStream_t stream;
};

/* What is proposed where nothing is installed: a policy that takes the first, or does not look at the
 * notes, is caught. The quick ones take half of the others' time. FX_FAKE_ENGINES=reversed: in the
 * opposite order, as another device's heuristics might; =slow: none is quick. */
enum { NONDETERMINISTIC, HUNGRY, FAILING, TENSOR_CORES, PLAIN, QUICK_CORES, QUICK, CHOICES };

int fake_heuristics, fake_engine = -1;

static char last_error[512];
static std::map<void *, fake_pointer> descriptors;

cudnnStatus_t fake_refuse(cudnnStatus_t status, const char *fmt, ...)
{
    va_list list;
    va_start(list, fmt);
    vsnprintf(last_error, sizeof last_error, fmt, list);
    va_end(list);
    return status;
}

/* The installed library. */
struct library {
    decltype(&cudnnGetVersion) version;
    decltype(&cudnnGetLastErrorString) text;
    decltype(&cudnnBackendCreateDescriptor) create;
    decltype(&cudnnBackendDestroyDescriptor) destroy;
    decltype(&cudnnBackendSetAttribute) set;
    decltype(&cudnnBackendGetAttribute) get;
    decltype(&cudnnBackendFinalize) finalize;
    cudnnBackendDescriptor_t device;
};

template <typename F> static void find(void *handle, const char *name, F *out)
{
    *out = (F)dlsym(handle, name);
    if (!*out) fake_fatal("cuDNN: %s", dlerror());
}

static cudnnBackendDescriptor_t read_device(const library &real)
{
    const char *file = getenv("FX_FAKE_DEVICE");
    if (!file) file = FX_FAKE_DEVICE;
    FILE *in = fopen(file, "rb");
    if (!in) fake_fatal("%s: can't be opened", file);
    char text[1 << 16];
    const size_t size = fread(text, 1, sizeof text, in);
    fclose(in);
    cudnnBackendDescriptor_t device = nullptr;
    if (real.create(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &device) != CUDNN_STATUS_SUCCESS ||
        real.set(device, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, (int64_t)size,
                 text) != CUDNN_STATUS_SUCCESS ||
        real.finalize(device) != CUDNN_STATUS_SUCCESS)
        fake_fatal("%s: not the properties of a device", file);
    return device;
}

static library *load()
{
    const char *asked = getenv("FX_FAKE_CUDNN"), *file = asked ? asked : FX_FAKE_CUDNN;
    void *handle = strcmp(file, "none") == 0 ? nullptr : dlmopen(LM_ID_NEWLM, file, RTLD_NOW);
    if (!handle) return nullptr;
    library *real = new library();
    find(handle, "cudnnGetVersion", &real->version);
    find(handle, "cudnnGetLastErrorString", &real->text);
    find(handle, "cudnnBackendCreateDescriptor", &real->create);
    find(handle, "cudnnBackendDestroyDescriptor", &real->destroy);
    find(handle, "cudnnBackendSetAttribute", &real->set);
    find(handle, "cudnnBackendGetAttribute", &real->get);
    find(handle, "cudnnBackendFinalize", &real->finalize);
    real->device = read_device(*real);
    return real;
}

static const library *installed()
{
    static const library *real = load();
    return real;
}

static cudnnStatus_t passed_on(cudnnStatus_t status)
{
    if (status != CUDNN_STATUS_SUCCESS) installed()->text(last_error, sizeof last_error);
    return status;
}

static fake_descriptor *known(cudnnBackendDescriptor_t d)
{
    const auto at = descriptors.find(d);
    return at == descriptors.end() ? nullptr : at->second.get();
}

static size_t size_of(cudnnBackendAttributeType_t type)
{
    switch (type) {
    case CUDNN_TYPE_BOOLEAN:
    case CUDNN_TYPE_CHAR:
        return 1;
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
        return 8;
    default:
        return 4;
    }
}

extern "C" {

size_t cudnnGetVersion(void)
{
    return installed() ? installed()->version() : CUDNN_VERSION;
}

const char *cudnnGetErrorString(cudnnStatus_t status)
{
    switch (status) {
    case CUDNN_STATUS_SUCCESS:
        return "CUDNN_STATUS_SUCCESS";
    case CUDNN_STATUS_NOT_INITIALIZED:
        return "CUDNN_STATUS_NOT_INITIALIZED";
    case CUDNN_STATUS_NOT_SUPPORTED:
        return "CUDNN_STATUS_NOT_SUPPORTED";
    case CUDNN_STATUS_EXECUTION_FAILED:
        return "CUDNN_STATUS_EXECUTION_FAILED";
    default:
        return "CUDNN_STATUS_BAD_PARAM";
    }
}

void cudnnGetLastErrorString(char *message, size_t size)
{
    snprintf(message, size, "%s", last_error);
}

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle)
{
    *handle = new cudnnContext();
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle)
{
    int plans = 0;
    for (const auto &d : descriptors)
        if (fake_has(*d.second, CUDNN_ATTR_EXECUTION_PLAN_HANDLE))
            plans += *fake_values<cudnnHandle_t>(*d.second, CUDNN_ATTR_EXECUTION_PLAN_HANDLE) == handle;
    if (plans > 0) fake_fatal("cudnnDestroy: %d plans are alive", plans);
    delete handle;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t *out)
{
    fake_pointer d(new fake_descriptor());
    d->type = type;
    if (installed() && type != CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR) {
        const cudnnStatus_t status = installed()->create(type, &d->twin);
        if (status != CUDNN_STATUS_SUCCESS) return passed_on(status);
    }
    *out = d.get();
    descriptors[*out] = d;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t which)
{
    fake_descriptor *d = known(which);
    if (!d) return fake_refuse(CUDNN_STATUS_BAD_PARAM, "a descriptor that is not one");
    if (d->twin) installed()->destroy(d->twin);
    d->twin = nullptr;
    descriptors.erase(which);
    return CUDNN_STATUS_SUCCESS;
}

/* The device of a handle is known to the mirror from its properties. */
static cudnnStatus_t mirror(fake_descriptor *d, cudnnBackendAttributeName_t name,
                            const fake_attribute &a)
{
    if (!d->twin || name == CUDNN_ATTR_OPERATIONGRAPH_HANDLE) return CUDNN_STATUS_SUCCESS;
    if (name == CUDNN_ATTR_EXECUTION_PLAN_HANDLE)
        return passed_on(installed()->set(d->twin, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP,
                                          CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &installed()->device));
    if (a.type != CUDNN_TYPE_BACKEND_DESCRIPTOR)
        return passed_on(installed()->set(d->twin, name, a.type, a.count, a.bytes.data()));
    std::vector<cudnnBackendDescriptor_t> twins;
    for (const fake_pointer &child : a.descriptors)
        twins.push_back(child->twin);
    return passed_on(installed()->set(d->twin, name, a.type, a.count, twins.data()));
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t which, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count,
                                       const void *values)
{
    fake_descriptor *d = known(which);
    if (!d) return fake_refuse(CUDNN_STATUS_BAD_PARAM, "a descriptor that is not one");
    if (d->finished)
        return fake_refuse(CUDNN_STATUS_BAD_PARAM, "attribute %d of a descriptor that is finished",
                           name);
    fake_attribute a = {type, count, {}, {}};
    const char *bytes = (const char *)values;
    a.bytes.assign(bytes, bytes + (size_t)count * size_of(type));
    for (int64_t i = 0; type == CUDNN_TYPE_BACKEND_DESCRIPTOR && i < count; i++) {
        const auto child = descriptors.find(((void *const *)values)[i]);
        if (child == descriptors.end() || !child->second->finished)
            return fake_refuse(CUDNN_STATUS_BAD_PARAM,
                               "attribute %d is a descriptor that is not finished", name);
        a.descriptors.push_back(child->second);
    }
    d->attributes[name] = a;
    return mirror(d, name, a);
}

/* An engine by number, and its configuration by knobs: the graph and the choice they stand for. Without
 * an installed library every engine has one knob, of type 0, whose value is the engine's number. */
static cudnnStatus_t inherit(fake_descriptor *d)
{
    if (d->type == CUDNN_BACKEND_ENGINE_DESCRIPTOR) {
        const int64_t engine = *fake_values<int64_t>(*d, CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
        d->graph = d->attributes.at(CUDNN_ATTR_ENGINE_OPERATION_GRAPH).descriptors[0];
        d->choice = (int)engine;
        if (!d->twin && (engine < 0 || engine >= CHOICES))
            return fake_refuse(CUDNN_STATUS_NOT_SUPPORTED, "engine %lld", (long long)engine);
    }
    if (d->type == CUDNN_BACKEND_ENGINECFG_DESCRIPTOR) {
        const fake_descriptor &engine = fake_child(*d, CUDNN_ATTR_ENGINECFG_ENGINE);
        d->graph = engine.graph;
        d->choice = engine.choice;
        if (!d->twin && (!fake_has(*d, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES) ||
                         *fake_values<int64_t>(fake_child(*d, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES),
                                               CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE) != d->choice))
            return fake_refuse(CUDNN_STATUS_NOT_SUPPORTED, "knobs that are not the engine's");
    }
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t which)
{
    fake_descriptor *d = known(which);
    if (!d || d->finished)
        return fake_refuse(CUDNN_STATUS_BAD_PARAM, "a descriptor that is not one, or is finished");
    const cudnnStatus_t status = fake_check(*d);
    if (status != CUDNN_STATUS_SUCCESS) return status;
    if (d->type == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR) fake_heuristics++;
    if (d->twin) {
        if (d->type == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR)
            installed()->set(d->twin, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                             1, &installed()->device);
        if (d->type == CUDNN_BACKEND_ENGINE_DESCRIPTOR)
            installed()->set(d->twin, CUDNN_ATTR_ENGINE_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                             &installed()->device);
        const cudnnStatus_t own = installed()->finalize(d->twin);
        if (own != CUDNN_STATUS_SUCCESS) return passed_on(own);
    }
    if (!d->twin && fake_has(*d, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG) &&
        fake_child(*d, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG).choice == FAILING)
        return fake_refuse(CUDNN_STATUS_NOT_SUPPORTED, "an engine that fails");
    const cudnnStatus_t status_of_engine = inherit(d);
    if (status_of_engine != CUDNN_STATUS_SUCCESS) return status_of_engine;
    d->finished = true;
    return CUDNN_STATUS_SUCCESS;
}

static int64_t workspace_of(const fake_descriptor &config)
{
    return config.choice == HUNGRY ? (int64_t)1 << 40 : 4096;
}

/* Fills descriptors that the caller made with what `d` holds. */
static cudnnStatus_t give(const fake_descriptor &d, cudnnBackendAttributeName_t name, int64_t room,
                          int64_t *count, void *const *into)
{
    const bool results = name == CUDNN_ATTR_ENGINEHEUR_RESULTS;
    const cudnnBackendDescriptorType_t type = results ? CUDNN_BACKEND_ENGINECFG_DESCRIPTOR
                                              : name == CUDNN_ATTR_ENGINECFG_KNOB_CHOICES
                                                  ? CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR
                                                  : CUDNN_BACKEND_ENGINE_DESCRIPTOR;
    const char *order = getenv("FX_FAKE_ENGINES");
    const bool reversed = order && strcmp(order, "reversed") == 0;
    std::vector<cudnnBackendDescriptor_t> twins;
    for (int64_t i = 0; i < room; i++) {
        fake_descriptor *child = known(into[i]);
        if (!child || child->type != type)
            return fake_refuse(CUDNN_STATUS_BAD_PARAM, "attribute %d goes into other descriptors",
                               name);
        twins.push_back(child->twin);
    }
    const fake_pointer graph =
        results ? d.attributes.at(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH).descriptors[0] : d.graph;
    if (d.twin) {
        const cudnnStatus_t status = installed()->get(d.twin, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, room,
                                                      count, room > 0 ? twins.data() : nullptr);
        if (status != CUDNN_STATUS_SUCCESS) return passed_on(status);
    } else if (results) {
        const bool first =
            *fake_values<cudnnBackendHeurMode_t>(d, CUDNN_ATTR_ENGINEHEUR_MODE) == CUDNN_HEUR_MODE_A;
        *count = first && fake_supported(*graph) ? (int64_t)CHOICES : 0;
    } else
        *count = 1;
    for (int64_t i = 0; i < room && i < *count; i++) {
        fake_descriptor *child = known(into[i]);
        child->finished = true;
        child->graph = graph;
        child->choice = !results ? d.choice : reversed ? CHOICES - 1 - (int)i : (int)i;
    }
    return CUDNN_STATUS_SUCCESS;
}

/* Of an engine, a knob, or a plan. */
static cudnnStatus_t tell(const fake_descriptor &d, cudnnBackendAttributeName_t name, int64_t *count,
                          void *values)
{
    *count = 1;
    switch ((int)name) {
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE:
        *(int64_t *)values = workspace_of(fake_child(d, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG));
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINE_GLOBAL_INDEX:
        *(int64_t *)values = d.choice;
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINE_NUMERICAL_NOTE:
        *count = d.choice == NONDETERMINISTIC || d.choice == TENSOR_CORES || d.choice == QUICK_CORES;
        *(cudnnBackendNumericalNote_t *)values = d.choice == NONDETERMINISTIC
                                                     ? CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC
                                                     : CUDNN_NUMERICAL_NOTE_TENSOR_CORE;
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE:
        *(cudnnBackendKnobType_t *)values = (cudnnBackendKnobType_t)0;
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE:
        *(int64_t *)values = d.choice;
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE:
        *count = 0;
        return CUDNN_STATUS_SUCCESS;
    default:
        return fake_refuse(CUDNN_STATUS_NOT_SUPPORTED, "attribute %d", (int)name);
    }
}

cudnnStatus_t cudnnBackendGetAttribute(const cudnnBackendDescriptor_t which,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t room, int64_t *count,
                                       void *values)
{
    const fake_descriptor *d = known(which);
    if (!d || !d->finished)
        return fake_refuse(CUDNN_STATUS_BAD_PARAM, "attribute %d of a descriptor that is not finished",
                           (int)name);
    if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR)
        return give(*d, name, room, count, (void *const *)values);
    if (d->twin) return passed_on(installed()->get(d->twin, name, type, room, count, values));
    return tell(*d, name, count, values);
}

/* Memory by uid, out of a variant pack; false after refusing it. */
static bool memory_of(const fake_descriptor &pack, const std::vector<fake_operation> &operations,
                      std::map<int64_t, void *> *memory)
{
    const int64_t *uid = fake_values<int64_t>(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    void *const *pointer = fake_values<void *>(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
    const int64_t count = pack.attributes.at(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS).count;
    std::map<int64_t, bool> outer;
    for (const fake_operation &o : operations)
        for (const fake_tensor &t : o.tensor)
            outer[t.uid] = !t.inner;
    for (int64_t i = 0; i < count; i++) {
        const auto at = outer.find(uid[i]);
        if (at == outer.end() || !at->second) {
            fake_refuse(CUDNN_STATUS_BAD_PARAM, "uid %lld of the variant pack is not one in memory",
                        (long long)uid[i]);
            return false;
        }
        if (!pointer[i] || (uintptr_t)pointer[i] % 16 != 0) {
            fake_refuse(CUDNN_STATUS_BAD_PARAM, "uid %lld is at %p: not on 16 bytes", (long long)uid[i],
                        pointer[i]);
            return false;
        }
        (*memory)[uid[i]] = pointer[i];
    }
    for (const auto &o : outer)
        if (o.second && !memory->count(o.first)) {
            fake_refuse(CUDNN_STATUS_BAD_PARAM, "uid %lld is missing in the variant pack",
                        (long long)o.first);
            return false;
        }
    return true;
}

/* What the graph reads and writes; false after refusing memory that is written and otherwise used. */
static bool ranges_of(const std::vector<fake_operation> &operations,
                      const std::map<int64_t, void *> &memory, void *workspace, int64_t bytes,
                      std::vector<fake_range> *ranges)
{
    if (bytes > 0) ranges->push_back({workspace, (size_t)bytes, true});
    for (const fake_operation &o : operations)
        for (int i : {0, 1, 2})
            if (!o.tensor[i].inner)
                ranges->push_back({memory.at(o.tensor[i].uid), o.tensor[i].bytes(), i == o.result()});
    for (const fake_range &a : *ranges)
        for (const fake_range &b : *ranges)
            if (&a != &b && a.write && fake_overlap(a, b)) {
                fake_refuse(CUDNN_STATUS_BAD_PARAM, "memory at %p is written and otherwise used", a.at);
                return false;
            }
    return true;
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pack)
{
    const fake_descriptor *p = known(plan), *v = known(pack);
    if (!handle || !p || !v || !p->finished || !v->finished ||
        p->type != CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR ||
        v->type != CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR)
        return fake_refuse(CUDNN_STATUS_BAD_PARAM, "no handle, finished plan and variant pack");
    const std::vector<fake_operation> operations =
        fake_operations(*fake_child(*p, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG).graph);
    std::map<int64_t, void *> memory;
    std::vector<fake_range> ranges;
    int64_t bytes = 0, count = 0;
    void *workspace = fake_has(*v, CUDNN_ATTR_VARIANT_PACK_WORKSPACE)
                          ? *fake_values<void *>(*v, CUDNN_ATTR_VARIANT_PACK_WORKSPACE)
                          : nullptr;
    const cudnnStatus_t status = cudnnBackendGetAttribute(
        plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count, &bytes);
    if (status != CUDNN_STATUS_SUCCESS) return status;
    if (bytes > 0 && !workspace)
        return fake_refuse(CUDNN_STATUS_BAD_PARAM, "the plan wants %lld bytes of workspace",
                           (long long)bytes);
    if (!memory_of(*v, operations, &memory) ||
        !ranges_of(operations, memory, workspace, bytes, &ranges))
        return CUDNN_STATUS_BAD_PARAM;
    const int choice = fake_child(*p, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG).choice;
    const char *mode = getenv("FX_FAKE_ENGINES");
    const bool quick =
        (choice == QUICK_CORES || choice == QUICK) && !(mode && strcmp(mode, "slow") == 0);
    const cudaError_t error = fake_enqueue(handle->stream, "cudnnBackendExecute", ranges, [=] {
        fake_engine = choice;
        if (!quick) fake_spend();
        if (bytes > 0) memset(workspace, 0xff, (size_t)bytes);
        fake_compute(operations, memory);
    });
    return error == cudaSuccess ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_EXECUTION_FAILED;
}

} /* extern "C" */
