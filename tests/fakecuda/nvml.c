/* nvml.c: libnvidia-ml.so.1 of the stand-in, for LD_LIBRARY_PATH: a device by its bus, and a counter of
 * energy that every question moves on by 1.5 J. FX_FAKE_NVML_LOG names a file that gets a line a
 * question: bus and millijoules. FX_FAKE_NVML = N: from question N on a device says that it has no
 * counter. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6 };
enum { BEGIN = 123456, A_QUESTION = 1500 };

static int open_count, questions;
static char bus[32];

int nvmlInit_v2(void);
int nvmlInit_v2(void)
{
    open_count++;
    return SUCCESS;
}

int nvmlShutdown(void);
int nvmlShutdown(void)
{
    return open_count-- > 0 ? SUCCESS : UNINITIALIZED;
}

int nvmlDeviceGetHandleByPciBusId_v2(const char *id, void **device);
int nvmlDeviceGetHandleByPciBusId_v2(const char *id, void **device)
{
    if (open_count == 0) return UNINITIALIZED;
    if (strlen(id) >= sizeof bus || strncmp(id, "0000:", 5) != 0) return NOT_FOUND;
    memcpy(bus, id, strlen(id) + 1);
    *device = bus;
    return SUCCESS;
}

int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules);
int nvmlDeviceGetTotalEnergyConsumption(void *device, unsigned long long *millijoules)
{
    const char *log = getenv("FX_FAKE_NVML_LOG"), *last = getenv("FX_FAKE_NVML");
    if (open_count == 0) return UNINITIALIZED;
    if (device != bus) return INVALID;
    if (last && questions + 1 >= atoi(last)) return NOT_SUPPORTED;
    *millijoules = BEGIN + A_QUESTION * (unsigned long long)questions++;
    FILE *file = log ? fopen(log, "a") : NULL;
    if (file) {
        fprintf(file, "%s %llu\n", bus, *millijoules);
        fclose(file);
    }
    return SUCCESS;
}

const char *nvmlErrorString(int error);
const char *nvmlErrorString(int error)
{
    return error == NOT_SUPPORTED ? "Not Supported" : error == NOT_FOUND ? "Not Found" : "Error";
}
