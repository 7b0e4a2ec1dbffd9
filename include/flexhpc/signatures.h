/* signatures.h: what is wrong with a model, as numbers with limits: one table of signatures, each with
 * what it says and which keys to try. Pure functions. Includes eval.h, tiles.h. */
#ifndef FLEXHPC_SIGNATURES_H
#define FLEXHPC_SIGNATURES_H

#include <stdbool.h>
#include <stdint.h>

#include "flexhpc/eval.h"
#include "flexhpc/tiles.h"

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
    const char *number; /* what is measured, where a truth is known (fx_sign_number) */
    const char *advice; /* what to try, by key */
    double low, high;   /* it fires below low or above high; NaN: no such limit. 0, 0: its limit follows
                           from the data */
} fx_signature_row;

extern const fx_signature_row fx_signature_table[FX_SIGNATURES];

/* Borders of the tiles that whole fields were made in: where a tile begins, or ends. */
typedef struct fx_seams {
    double
        jump; /* mean |difference of neighbours| across borders over that elsewhere; NaN: no border */
    double truth; /* the same of the truth; 1 where none is known */
    double error; /* standard error of jump - truth, from the spread over borders */
    double comb;  /* energy at the wave numbers of the tiles, N / pitch, 2 N / pitch, ... over that of
                     their neighbours, geometric mean, over the same of the truth; NaN where on neither
                     axis 3 tiles or more lie equally far apart all around */
} fx_seams;

/* What has been measured; NaN is not, and stays silent. */
typedef struct fx_symptoms {
    int members;
    double spread_skill, diversity; /* FX_STATISTIC_SPREAD_SKILL, _DIVERSITY */
    double band_energy, band_sum;   /* FX_STATISTIC_BAND_ENERGY, _BAND_SUM */
    double trained_ratio;           /* RFNE over interpolation's, of patches that it was trained on */
    fx_seams seams;
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
    bool elsewhere; /* of seams: held against places between borders, as no truth is known */
    double reynolds;
    double number, limit; /* the limit that it passed */
} fx_sign;

/* What its number is: "spread / skill". Local. */
const char *fx_sign_number(const fx_sign *sign);

/* Those that fire, in the order of the table; task and Reynolds number are left 0. How many. Local. */
int fx_signatures_find(const fx_symptoms *symptoms, fx_sign out[FX_SIGNATURES]);

/* Whole fields in tiles: sums over their lines, then a judgement. What is of several fields, as members
 * and leads, is that of their mean jumps. */
typedef struct fx_seam_sums fx_seam_sums;

/* *out is freed with fx_seams_free whatever the status. Local. */
fx_status fx_seams_open(const fx_tiles *tiles, fx_seam_sums **out);
void fx_seams_free(fx_seam_sums **sums);

/* Adds whole rows of a field, (rows, width), or whole columns, (height, columns): of every field each
 * row and each column once, in any order. Local. */
void fx_seams_add_rows(fx_seam_sums *sums, int64_t rows, const float *values);
void fx_seams_add_columns(fx_seam_sums *sums, int64_t columns, const float *values);

/* Held against the same sums of the truth; NULL: none is known, and the places between borders are what
 * borders are held against. Local. */
void fx_seams_judge(const fx_seam_sums *model, const fx_seam_sums *truth, fx_seams *out);

/* How far jump may be above truth: 3 standard errors, at most 0.05. Local. */
double fx_seams_limit(const fx_seams *seams);

#ifdef __cplusplus
}
#endif
#endif
