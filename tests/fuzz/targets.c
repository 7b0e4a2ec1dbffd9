/* targets.c: the table of what is fuzzed, and the seeds that inputs are made of. */
#include "targets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "flexhpc/io.h"
#include "flexhpc/mem.h"

char fuzz_folder[64];
fx_config fuzz_defaults;

const fuzz_target *const fuzz_targets[] = {&fuzz_manifest,   &fuzz_header, &fuzz_config, &fuzz_shard,
                                           &fuzz_checkpoint, &fuzz_source, NULL};

fx_status fuzz_path(char out[FX_PATH_MAX], const char *name)
{
    return fx_path(out, "%s/%s", fuzz_folder, name);
}

fx_status fuzz_add(fuzz_seeds *s, const char *path)
{
    FX_REQUIRE(s->count < FUZZ_MOST_SEEDS, FX_EARG, "too many seeds");
    FX_TRY(fx_read_text(path, 1 << 19, &s->text[s->count], &s->size[s->count]));
    s->count++;
    return FX_OK;
}

void fuzz_pick(fuzz_rng *r, const fuzz_seeds *s, fuzz_input *out)
{
    const size_t i = fuzz_below(r, (size_t)s->count);
    memcpy(out->data, s->text[i], s->size[i]);
    out->size = s->size[i];
}

fx_status fuzz_prepare(void)
{
    snprintf(fuzz_folder, sizeof fuzz_folder, "%s/fx_fuzz_XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    FX_REQUIRE(mkdtemp(fuzz_folder), FX_EIO, "%s: can't be made", fuzz_folder);
    FX_TRY(fx_config_load(&fuzz_defaults, NULL,
                          (const char *[]){"backend=cpu", "data.scale=1", "source.channel=0", NULL}));
    for (const fuzz_target *const *t = fuzz_targets; *t; t++)
        FX_TRY((*t)->prepare());
    return FX_OK;
}

void fuzz_clean(void)
{
    char command[96];
    for (const fuzz_target *const *t = fuzz_targets; *t; t++) {
        for (int i = 0; i < (*t)->seeds->count; i++)
            fx_free((*t)->seeds->text[i]);
        if ((*t)->clean) (*t)->clean();
    }
    snprintf(command, sizeof command, "rm -rf '%s'", fuzz_folder);
    if (system(command) != 0) fprintf(stderr, "%s: can't be removed\n", fuzz_folder);
}
