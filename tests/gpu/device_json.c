/* device_json.c: the properties of this machine's GPU as cuDNN writes them down, on standard output:
 * what tests/cuda/devices holds for planning without a device. */
#include <cuda_runtime_api.h>
#include <cudnn.h>
#include <stdio.h>
#include <stdlib.h>

static void ok(cudnnStatus_t status, const char *what)
{
    if (status == CUDNN_STATUS_SUCCESS) return;
    fprintf(stderr, "device_json: %s: %s\n", what, cudnnGetErrorString(status));
    exit(1);
}

int main(void)
{
    const int32_t device = 0;
    int64_t size = 0, got = 0;
    cudnnBackendDescriptor_t properties;
    const cudaError_t error = cudaSetDevice(device);
    if (error != cudaSuccess) {
        fprintf(stderr, "device_json: %s\n", cudaGetErrorString(error));
        return 1;
    }
    ok(cudnnBackendCreateDescriptor(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, &properties), "create");
    ok(cudnnBackendSetAttribute(properties, CUDNN_ATTR_DEVICEPROP_DEVICE_ID, CUDNN_TYPE_INT32, 1,
                                &device),
       "device");
    ok(cudnnBackendFinalize(properties), "finalize");
    ok(cudnnBackendGetAttribute(properties, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                                0, &size, NULL),
       "size");
    char *text = malloc((size_t)size + 1);
    if (!text) return 1;
    ok(cudnnBackendGetAttribute(properties, CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                                size, &got, text),
       "text");
    text[got] = '\0';
    puts(text);
    free(text);
    cudnnBackendDestroyDescriptor(properties);
    return 0;
}
