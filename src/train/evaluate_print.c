/* evaluate_print.c: an evaluation's tables on the log. */
#include <math.h>

#include "evaluate.h"
#include "flexhpc/ensemble.h"
#include "flexhpc/log.h"

static const char *const TASKS[] = {[FX_SR] = "SR", [FX_FC] = "FC"};

static void print_scores(const fx_score *s, int count)
{
    fx_log(FX_INFO,
           "task       Re   n   RFNE [95 %%]              floor   ratio [95 %%]           correlation");
    for (int i = 0; i < count; i++)
        fx_log(FX_INFO, "%s %8g %4lld   %.4f [%.4f, %.4f]   %.4f   %.3f [%.3f, %.3f]   %.4f",
               TASKS[s[i].task], s[i].reynolds, (long long)s[i].count, s[i].rfne, s[i].rfne_low,
               s[i].rfne_high, s[i].floor[0], s[i].ratio, s[i].ratio_low, s[i].ratio_high,
               s[i].correlation);
}

static void print_metrics(const fx_score *s, int count)
{
    fx_log(FX_INFO,
           "           Re   RFNE a batch of 32   climatology   PSNR dB   SSIM     spectrum dB   "
           "energy   enstrophy   kurtosis (truth)");
    for (int i = 0; i < count; i++) {
        const double *v = s[i].value;
        fx_log(FX_INFO,
               "%s %8g   %.4f               %.3f         %7.2f   %6.4f   %6.2f        %6.3f   "
               "%6.3f      %.2f (%.2f)",
               TASKS[s[i].task], s[i].reynolds, s[i].published, v[FX_STATISTIC_CLIMATOLOGY],
               v[FX_STATISTIC_PSNR], v[FX_STATISTIC_SSIM], v[FX_STATISTIC_DECIBEL],
               v[FX_STATISTIC_ENERGY], v[FX_STATISTIC_ENSTROPHY], v[FX_STATISTIC_KURTOSIS],
               v[FX_STATISTIC_TRUTH_KURTOSIS]);
    }
}

static void print_ensembles(const fx_score *s, int count, int members)
{
    fx_log(FX_INFO,
           "%d members  Re   RFNE of the mean   fair CRPS   spread / skill [95 %%]    pull width "
           "(%.2f expected)   outliers",
           members, fx_pull_expected(members));
    for (int i = 0; i < count; i++) {
        const double *v = s[i].value;
        const fx_statistic ssr = FX_STATISTIC_SPREAD_SKILL;
        fx_log(FX_INFO,
               "%s %8g     %.4f             %.4f      %.3f [%.3f, %.3f]    %7.2f                  "
               "  %.2f",
               TASKS[s[i].task], s[i].reynolds, v[FX_STATISTIC_MEAN_RFNE], v[FX_STATISTIC_CRPS], v[ssr],
               s[i].low[ssr], s[i].high[ssr], v[FX_STATISTIC_PULL_WIDTH], v[FX_STATISTIC_OUTLIERS]);
    }
}

static void print_rollout(const fx_evaluation *e, const fx_score *s)
{
    const fx_statistic lead = FX_STATISTIC_LEAD;
    fx_log(FX_INFO,
           "FC Re %g, %d leads on patches: correlation 0.8 at lead %.2f [%.2f, %.2f]; largest error "
           "of energy %.3f, of enstrophy %.3f",
           s->reynolds, e->horizon, s->value[lead], s->low[lead], s->high[lead],
           s->value[FX_STATISTIC_ENERGY_DRIFT], s->value[FX_STATISTIC_ENSTROPHY_DRIFT]);
}

void fx_evaluation_print_signs(const fx_sign *sign, int count)
{
    for (int i = 0; i < count; i++) {
        const fx_signature_row *row = &fx_signature_table[sign[i].signature];
        fx_log(FX_INFO, "%s Re %g: %s: %s %.3g, limit %.3g; try %s", TASKS[sign[i].task],
               sign[i].reynolds, row->says, fx_sign_number(&sign[i]), sign[i].number, sign[i].limit,
               row->advice);
    }
}

void fx_evaluation_print(fx_evaluation *e, const fx_score *scores, int count)
{
    bool periodic[2];
    fx_manifest_periodic(fx_pack_manifest(e->pack), periodic);
    if (!periodic[0] || !periodic[1])
        fx_log(FX_INFO, "%s: its domains are periodic %s", e->config->data_path,
               fx_periodic_words(periodic));
    print_scores(scores, count);
    print_metrics(scores, count);
    if (e->members > 1) print_ensembles(scores, count, e->members);
    for (int i = 0; i < count && e->horizon > 1; i++)
        if (scores[i].task == FX_FC) print_rollout(e, &scores[i]);
    for (int i = 0; i < count; i++) {
        fx_sign sign[FX_SIGNATURES];
        fx_evaluation_print_signs(sign, fx_evaluation_signs(e, &scores[i], sign));
    }
}
