/* run_words.h: a run in words: title, summary, facts and what its record shows to be right or wrong.
 * Private to src/train. */
#ifndef FX_RUN_WORDS_H
#define FX_RUN_WORDS_H

#include "flexhpc/report.h"
#include "run_record.h"

enum { FX_WORDS = 16 };

typedef struct fx_run_words {
    const char *title, *summary;
    fx_fact fact[FX_WORDS];
    int facts;
    fx_finding finding[FX_WORDS];
    int findings;
    const char *paragraph[FX_WORDS];
    int paragraphs;
} fx_run_words;

/* Texts are of the record's pool. Local. */
fx_status fx_run_words_find(fx_run_record *record, fx_run_words *out);

/* The last two parts of a folder's path: "demo/run". Local. */
const char *fx_run_name(const char *folder);

#endif
