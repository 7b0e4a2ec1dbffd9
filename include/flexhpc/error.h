/* error.h: how a function fails. Owns the calling thread's error record (a fixed buffer: it works when
 * memory is gone). May be included by every module; includes none. Valid C11 and C++17. */
#ifndef FLEXHPC_ERROR_H
#define FLEXHPC_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum fx_status {
    FX_OK = 0,
    FX_EARG,    /* shape, name or value the caller got wrong */
    FX_ECONFIG, /* the user's configuration or command line: exit code 2 */
    FX_EIO,     /* file system, HDF5 */
    FX_ENOMEM,  /* host or device memory */
    FX_EDEVICE, /* CUDA, cuDNN, cuBLAS, oneDNN */
    FX_ECOMM,   /* MPI, NCCL */
    FX_EVALUE,  /* a number that can't be right: NaN, checksum, a result outside its band */
    FX_EPEER    /* another rank failed; its message is the one to read */
} fx_status;

/* Records the message and returns `code`, so that `return fx_fail(...)` is the only way to start an
 * error. Local. */
fx_status fx_fail(fx_status code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Puts the message and ": " before the recorded one: what this caller was doing. Returns `code`. Local.
 */
fx_status fx_context(fx_status code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The calling thread's recorded message, "" when none; valid until its next fx_fail or fx_context.
 * Local. */
const char *fx_error_message(void);

/* Forgets the recorded message: for a caller that handled the failure. Local. */
void fx_error_clear(void);

/* Return on failure. For functions that own nothing. */
#define FX_TRY(call)                                                                                   \
    do {                                                                                               \
        const fx_status fx_try_ = (call);                                                              \
        if (fx_try_ != FX_OK) return fx_try_;                                                          \
    } while (0)

/* The same, saying what was being done. */
#define FX_TRY_CTX(call, ...)                                                                          \
    do {                                                                                               \
        const fx_status fx_try_ = (call);                                                              \
        if (fx_try_ != FX_OK) return fx_context(fx_try_, __VA_ARGS__);                                 \
    } while (0)

/* For functions that own something: sets the local `status`, jumps to their one `done:` label. */
#define FX_TRY_DONE(call)                                                                              \
    do {                                                                                               \
        status = (call);                                                                               \
        if (status != FX_OK) goto done;                                                                \
    } while (0)

/* Input checks: what a user, a file or another module may get wrong. Our own bugs use assert. */
#define FX_REQUIRE(cond, code, ...)                                                                    \
    do {                                                                                               \
        if (!(cond)) return fx_fail(code, __VA_ARGS__);                                                \
    } while (0)

#define FX_REQUIRE_DONE(cond, code, ...)                                                               \
    do {                                                                                               \
        if (!(cond)) {                                                                                 \
            status = fx_fail(code, __VA_ARGS__);                                                       \
            goto done;                                                                                 \
        }                                                                                              \
    } while (0)

#ifdef __cplusplus
}
#endif
#endif
