/* verify_files.c: reads names of checkpoints, one a line, and answers each with a line: "whole", or why
 * fx_checkpoint_verify finds it is not. For tests of many damaged files: a process for each of them
 * costs more than the look at it, most of all under AddressSanitizer. */
#include <stdio.h>
#include <string.h>

#include "flexhpc/checkpoint.h"
#include "flexhpc/error.h"
#include "flexhpc/io.h"

int main(void)
{
    char path[FX_PATH_MAX];
    fx_io_setup();
    while (fgets(path, sizeof path, stdin)) {
        path[strcspn(path, "\n")] = '\0';
        const fx_status status = fx_checkpoint_verify(path);
        puts(status == FX_OK ? "whole" : fx_error_message());
        fx_error_clear();
        fflush(stdout);
    }
    return 0;
}
