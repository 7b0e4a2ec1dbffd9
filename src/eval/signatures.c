/* signatures.c: the table of failure signatures and its detectors. Why these limits:
 *   spread / skill  a rule of the published evaluation is 0.9 to 1.1; at 0.2 the truth lies outside 16
 *                   members in two pixels of three, calibrated in one of nine
 *   diversity       0.01 is 20 dB below the scale of the conditional variance
 *   blur            half of the energy is -3 dB
 *   mean predictor  of an exact conditional mean m of the truth y, E|m|^2 + E|m - y|^2 = E|y|^2
 *   seams           of a field without them jumps are 1 +- 1 / sqrt(points on borders), about 0.01;
 *                   0.05 is seen in pictures and biases gradients there
 *   spectrum        natural variability is the smallest difference that matters
 *   energy          an unforced flow can't gain any */
#include "flexhpc/signatures.h"

#include <math.h>

enum { FEW_MEMBERS = 16 }; /* below, spread / skill is too uncertain to call a collapse */

const fx_signature_row fx_signature_table[FX_SIGNATURES] = {
    [FX_SIGNATURE_COLLAPSE] = {"collapse", "posterior collapse", "spread / skill",
                               "a smaller model.strong_scale, other model.weak_levels", 0.2, NAN},
    [FX_SIGNATURE_NO_DIVERSITY] = {"no_diversity", "posterior collapse",
                                   "standard deviation of the members over the residual's",
                                   "a smaller model.strong_scale, other model.weak_levels", 0.01, NAN},
    [FX_SIGNATURE_UNCALIBRATED] = {"uncalibrated", "uncalibrated ensemble", "spread / skill",
                                   "more sample.steps, other model.weak_levels", 0.9, 1.1},
    [FX_SIGNATURE_BLUR] = {"blur", "blurred", "energy in the fine scales over the truth's",
                           "more sample.steps, a larger model.depth or model.decoder_channels", 0.5,
                           NAN},
    [FX_SIGNATURE_MEAN_PREDICTOR] =
        {"mean_predictor", "predicts the mean",
         "energy and error energy in the fine scales over the truth's (1: a mean)",
         "more sample.steps, a smaller model.strong_scale, other model.weak_levels", 0.95, 1.05},
    [FX_SIGNATURE_UNDERFIT] = {"underfit", "underfits what it was trained on",
                               "RFNE over interpolation's",
                               "more train.steps, a larger model.depth or model.decoder_channels", NAN,
                               0.8},
    [FX_SIGNATURE_SEAMS] = {"seams", "seams between tiles", "jump across borders, above the truth's",
                            "a larger sample.overlap", NAN, 0.05},
    [FX_SIGNATURE_COMB] = {"comb", "seams between tiles", "energy at the tiles' wave numbers",
                           "a larger sample.overlap", NAN, 1.5},
    [FX_SIGNATURE_ROLLOFF] = {"rolloff", "spectral roll-off",
                              "wave number of half the truth's energy over the dissipation's",
                              "more sample.steps, a larger model.decoder_channels", 0.8, NAN},
    [FX_SIGNATURE_SPECTRUM] = {"spectrum", "spectrum off", "distance of the spectra, dB",
                               "more sample.steps, more train.steps", 0, 0},
    [FX_SIGNATURE_NOISE] = {"noise", "noise at small scales",
                            "energy beyond the dissipation over the truth's",
                            "more sample.steps, more train.steps", NAN, 2},
    [FX_SIGNATURE_ENERGY_DRIFT] = {"energy_drift", "rollout drifts", "largest error of the energy",
                                   "more train.steps, more sample.steps", NAN, 0.05},
    [FX_SIGNATURE_ENSTROPHY_DRIFT] = {"enstrophy_drift", "rollout drifts",
                                      "largest error of the enstrophy",
                                      "more train.steps, more sample.steps", NAN, 0.2},
    [FX_SIGNATURE_ENERGY_GAIN] = {"energy_gain", "rollout gains energy",
                                  "largest growth of the energy in a step", "more train.steps", NAN, 0},
    [FX_SIGNATURE_LOWRES] = {"lowres", "contradicts its low-resolution input",
                             "RFNE at the pixels given over RFNE",
                             "more train.steps, more sample.steps", NAN, 0.1},
};

const char *fx_sign_number(const fx_sign *sign)
{
    if (sign->signature == FX_SIGNATURE_SEAMS && sign->elsewhere)
        return "jump across borders, above those elsewhere";
    return fx_signature_table[sign->signature].number;
}

fx_symptoms fx_symptoms_none(void)
{
    return (fx_symptoms){0,   NAN, NAN, NAN, NAN, NAN, {NAN, NAN, NAN, NAN}, NAN, NAN,
                         NAN, NAN, NAN, NAN, NAN, NAN};
}

fx_symptoms fx_symptoms_of(const fx_score *score, int members, bool trained, bool whole)
{
    const double *v = score->value;
    fx_symptoms s = fx_symptoms_none();
    s.members = members;
    s.spread_skill = v[FX_STATISTIC_SPREAD_SKILL];
    s.diversity = v[FX_STATISTIC_DIVERSITY];
    s.band_energy = v[FX_STATISTIC_BAND_ENERGY];
    s.band_sum = v[FX_STATISTIC_BAND_SUM];
    s.cutoff = v[FX_STATISTIC_CUTOFF];
    s.decibel = v[FX_STATISTIC_DECIBEL];
    s.natural = score->natural95;
    s.tail = v[FX_STATISTIC_TAIL];
    s.lowres = v[FX_STATISTIC_LOWRES];
    s.energy_drift = v[FX_STATISTIC_ENERGY_DRIFT];
    s.enstrophy_drift = v[FX_STATISTIC_ENSTROPHY_DRIFT];
    if (whole) s.energy_gain = v[FX_STATISTIC_ENERGY_GAIN];
    if (trained && score->task == FX_SR) s.trained_ratio = score->ratio;
    return s;
}

/* The number and the limit that it passed; false: it passed none, or was not measured. */
static bool fires(fx_signature k, double number, fx_sign *out)
{
    const fx_signature_row *row = &fx_signature_table[k];
    const bool below = number<row->low, above = number> row->high;
    *out = (fx_sign){.signature = k, .number = number, .limit = below ? row->low : row->high};
    return below || above;
}

static bool detect(fx_signature k, const fx_symptoms *s, fx_sign *out)
{
    const fx_signature_row *collapse = &fx_signature_table[FX_SIGNATURE_COLLAPSE];
    const bool collapsed = s->spread_skill < collapse->low && s->members >= FEW_MEMBERS;
    switch (k) {
    case FX_SIGNATURE_COLLAPSE:
        return fires(k, s->spread_skill, out) && collapsed;
    case FX_SIGNATURE_NO_DIVERSITY:
        return fires(k, s->diversity, out);
    case FX_SIGNATURE_UNCALIBRATED: /* a collapse has said so */
        return fires(k, s->spread_skill, out) && s->members >= FEW_MEMBERS && !collapsed;
    case FX_SIGNATURE_BLUR:
        return fires(k, s->band_energy, out);
    case FX_SIGNATURE_MEAN_PREDICTOR: /* within its limits is what fires */
        return s->spread_skill < collapse->low && !fires(k, s->band_sum, out) && !isnan(s->band_sum);
    case FX_SIGNATURE_UNDERFIT:
        return fires(k, s->trained_ratio, out);
    case FX_SIGNATURE_SEAMS: {
        const double excess = s->seams.jump - s->seams.truth, limit = fx_seams_limit(&s->seams);
        *out = (fx_sign){.signature = k, .number = excess, .limit = limit};
        return excess > limit;
    }
    case FX_SIGNATURE_COMB:
        return fires(k, s->seams.comb, out);
    case FX_SIGNATURE_ROLLOFF:
        return fires(k, s->cutoff, out);
    case FX_SIGNATURE_SPECTRUM:
        *out = (fx_sign){.signature = k, .number = s->decibel, .limit = s->natural};
        return s->decibel > s->natural;
    case FX_SIGNATURE_NOISE:
        return fires(k, s->tail, out);
    case FX_SIGNATURE_ENERGY_DRIFT:
        return fires(k, s->energy_drift, out);
    case FX_SIGNATURE_ENSTROPHY_DRIFT:
        return fires(k, s->enstrophy_drift, out);
    case FX_SIGNATURE_ENERGY_GAIN:
        return fires(k, s->energy_gain, out);
    default:
        return fires(k, s->lowres, out);
    }
}

int fx_signatures_find(const fx_symptoms *symptoms, fx_sign out[FX_SIGNATURES])
{
    int count = 0;
    for (int k = 0; k < FX_SIGNATURES; k++)
        if (detect((fx_signature)k, symptoms, &out[count])) count++;
    return count;
}
