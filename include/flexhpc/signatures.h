/* signatures.h: what is wrong with a model, as numbers with limits: one table of signatures, each with
 * what it says and which keys to try. Pure functions. Includes eval.h. */
#ifndef FLEXHPC_SIGNATURES_H
#define FLEXHPC_SIGNATURES_H

#include <stdbool.h>
#include <stdint.h>

#include "flexhpc/eval.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum fx_signature {
    FX_SIGNATURE_COLLAPSE,       /* members agree where they should not: spread / skill */
    FX_SIGNATURE_NO_DIVERSITY,   /* the same by the members' deviation over the residual's size */
    FX_SIGNATURE_UNCALIBRATED,   /* spread / skill is not 1 */
    FX_SIGNATURE_BLUR,           /* energy in the band */
    FX_SIGNATURE_MEAN_PREDICTOR, /* energies in the band are those of a conditional mean */
    FX_SIGNATURE_UNDERFIT,       /* no better than the floor on what it was trained on */
    FX_SIGNATURE_SEAMS,          /* jumps across borders of tiles */
    FX_SIGNATURE_COMB,           /* energy at the wave numbers of the tiles */
    FX_SIGNATURE_ROLLOFF,        /* the spectrum falls below half of the truth's */
    FX_SIGNATURE_SPECTRUM,       /* it is further from the truth's than that changes of itself */
    FX_SIGNATURE_NOISE,          /* energy beyond dissipation */
    FX_SIGNATURE_ENERGY_DRIFT,   /* of a rollout */
    FX_SIGNATURE_ENSTROPHY_DRIFT,
    FX_SIGNATURE_ENERGY_GAIN, /* of an unforced flow */
    FX_SIGNATURE_LOWRES,      /* the estimate contradicts its input */
    FX_SIGNATURES
} fx_signature;

typedef struct fx_signature_row {
    const char *name;   /* in files */
    const char *says;   /* "posterior collapse" */
    const char *number; /* what is measured: "spread / skill" */
    const char *advice; /* what to try, by key */
    double low, high;   /* it fires below low or above high; NaN: no such limit. 0, 0: its limit follows
                           from the data */
} fx_signature_row;

extern const fx_signature_row fx_signature_table[FX_SIGNATURES];

/* What has been measured; NaN is not, and stays silent. */
typedef struct fx_symptoms {
    int members;
    double spread_skill, diversity; /* FX_STATISTIC_SPREAD_SKILL, _DIVERSITY */
    double band_energy, band_sum;   /* FX_STATISTIC_BAND_ENERGY, _BAND_SUM */
    double trained_ratio;           /* RFNE over interpolation's, of patches that it was trained on */
    double seam, seam_truth, seam_error;   /* fx_seams */
    double comb;                           /* fx_seams */
    double cutoff, decibel, natural, tail; /* FX_STATISTIC_CUTOFF, _DECIBEL, natural95, _TAIL */
    double energy_drift, enstrophy_drift;  /* of a rollout: largest |model / truth - 1| */
    double energy_gain;                    /* of a rollout of a whole periodic field without forcing:
                                              largest E(t) / E(t - dt) - 1 */
    double lowres;                         /* FX_STATISTIC_LOWRES */
} fx_symptoms;

/* All NaN, no members. Local. */
fx_symptoms fx_symptoms_none(void);

/* Those of a score; `trained`: its patches are ones that the model was trained on; `whole`: they are
 * whole periodic domains, in which energy can't come from elsewhere. Local. */
fx_symptoms fx_symptoms_of(const fx_score *score, int members, bool trained, bool whole);

/* A signature that fired. */
typedef struct fx_sign {
    int64_t signature;
    fx_task task;
    double reynolds;
    double number, limit; /* the limit that it passed */
} fx_sign;

/* Those that fire, in the order of the table; task and Reynolds number are left 0. How many. Local. */
int fx_signatures_find(const fx_symptoms *symptoms, fx_sign out[FX_SIGNATURES]);

/* Borders of tiles in a whole field. */
typedef struct fx_seams {
    double jump;  /* mean |difference of neighbours| across borders over that elsewhere */
    double error; /* standard error of jump, from the spread of single borders */
    double comb;  /* energy at the wave numbers N / pitch, 2 N / pitch, ... over that of their
                     neighbours:  geometric mean, both directions; NaN below 3 tiles a side */
} fx_seams;

/* An (n, n) field whose tiles begin at every pitch-th row and column; `periodic`: row 0 follows row
 * n - 1, a border as well. pitch divides n. FX_EARG where it doesn't, or there are fewer than 2 tiles.
 * Local. */
fx_status fx_seams_measure(const float *field, int64_t n, int64_t pitch, bool periodic, fx_seams *out);

#ifdef __cplusplus
}
#endif
#endif
