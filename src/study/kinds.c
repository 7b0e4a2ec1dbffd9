/* kinds.c: what studies there are, and their arms. Arms of one name are the same runs in every study.
 */
#include "study.h"

#include <string.h>

static const study_arm FLEX[] = {{"flex", STUDY_FLEX, ""}, {0}};
static const study_arm NETWORKS[] = {
    {"flex", STUDY_FLEX, ""}, {"unet", STUDY_UNET, ""}, {"uvit", STUDY_UVIT, ""}, {0}};
static const study_arm WEAK[] = {{"weak-0", STUDY_FLEX, "model.weak_levels=0"},
                                 {"weak-1", STUDY_FLEX, "model.weak_levels=1"},
                                 {"weak-2", STUDY_FLEX, "model.weak_levels=2"},
                                 {"flex", STUDY_FLEX, "model.weak_levels=4"},
                                 {0}};

static const study_arm LATENT_PATCH[] = {{"flex", STUDY_FLEX, "model.latent_patch=1"},
                                         {"latent-2", STUDY_FLEX, "model.latent_patch=2"},
                                         {"latent-4", STUDY_FLEX, "model.latent_patch=4"},
                                         {0}};
/* The weight is the published one. */
static const study_arm TASKS[] = {{"flex", STUDY_FLEX, "model.tasks=mt contrast.weight=0"},
                                  {"contrast", STUDY_FLEX, "model.tasks=mt contrast.weight=1"},
                                  {"sr-only", STUDY_FLEX, "model.tasks=sr"},
                                  {"fc-only", STUDY_FLEX, "model.tasks=fc"},
                                  {0}};
static const study_arm MIXTURE[] = {
    {"mix", STUDY_MIXED, "contrast.weight=0"}, {"mix-contrast", STUDY_MIXED, "contrast.weight=1"}, {0}};

/* What is predicted, times what is diffused. Each says all three keys, whatever the configuration says.
 */
#define TARGET(predict, residual, scale)                                                               \
    "diffusion.predict=" predict " diffusion.residual=" residual " diffusion.residual_scale=" scale
static const study_arm PARAMETERS[] = {{"flex", STUDY_FLEX, TARGET("v", "true", "1")},
                                       {"unit", STUDY_FLEX, TARGET("v", "true", "0")},
                                       {"raw", STUDY_FLEX, TARGET("v", "false", "0")},
                                       {"x", STUDY_FLEX, TARGET("x", "true", "1")},
                                       {"x-unit", STUDY_FLEX, TARGET("x", "true", "0")},
                                       {"x-raw", STUDY_FLEX, TARGET("x", "false", "0")},
                                       {"eps", STUDY_FLEX, TARGET("eps", "true", "1")},
                                       {"eps-unit", STUDY_FLEX, TARGET("eps", "true", "0")},
                                       {"eps-raw", STUDY_FLEX, TARGET("eps", "false", "0")},
                                       {0}};

static const study_arm SPACES[] = {{"flex", STUDY_FLEX, TARGET("v", "true", "1")},
                                   {"unit", STUDY_FLEX, TARGET("v", "true", "0")},
                                   {"raw", STUDY_FLEX, TARGET("v", "false", "0")},
                                   {0}};

/* By the C names of FX_STUDIES. */
#define ARMS_seeds            FLEX
#define ARMS_baselines        NETWORKS
#define ARMS_steps            FLEX
#define ARMS_unseen           FLEX
#define ARMS_weak_levels      WEAK
#define ARMS_latent_patch     LATENT_PATCH
#define ARMS_tasks            TASKS
#define ARMS_contrast         MIXTURE
#define ARMS_zero_shot        FLEX
#define ARMS_parameterisation PARAMETERS
#define ARMS_residual_space   SPACES

static const study_kind kinds[] = {
#define ROW(id, name, question) {name, question, ARMS_##id, study_plan_##id, study_analyse_##id},
    FX_STUDIES(ROW)
#undef ROW
};
enum { KINDS = sizeof kinds / sizeof *kinds };

fx_status study_kind_find(const char *name, const study_kind **out)
{
    const char *names[KINDS];
    for (int i = 0; i < KINDS; i++) {
        names[i] = kinds[i].name;
        *out = &kinds[i];
        if (strcmp(name, names[i]) == 0) return FX_OK;
    }
    const char *nearest = fx_nearest(name, names, KINDS);
    return nearest ? fx_fail(FX_ECONFIG, "%s: no such study; did you mean %s?", name, nearest)
                   : fx_fail(FX_ECONFIG, "%s: no such study; flexhpc help study lists them", name);
}
