/* signs.c: the failure signatures that an evaluation found, with what to try: one sentence a task and
 * signature, with the Reynolds numbers where it fired and the worst of its numbers. */
#include "text.h"

#include <ctype.h>
#include <math.h>

static bool is_of(const fx_sign *s, fx_task task, int64_t signature)
{
    return s->task == task && s->signature == signature;
}

static void sign_write(text *t, const fx_report *report, fx_task task, int64_t signature)
{
    const fx_signature_row *row = &fx_signature_table[signature];
    const fx_sign *worst = NULL;
    int count = 0, written = 0;
    for (int i = 0; i < report->signs; i++) {
        const fx_sign *s = &report->sign[i];
        if (!is_of(s, task, signature)) continue;
        count++;
        if (!worst || fabs(s->number - s->limit) > fabs(worst->number - worst->limit)) worst = s;
    }
    if (count == 0) return;
    finding_open(t, FX_MARK_BAD);
    fx_text_add(t, "%s: %s at Re ", task_title(task), row->says);
    for (int i = 0; i < report->signs; i++) {
        if (!is_of(&report->sign[i], task, signature)) continue;
        fx_text_add(t, "%s%g",
                    written == 0           ? ""
                    : written == count - 1 ? " and "
                                           : ", ",
                    report->sign[i].reynolds);
        written++;
    }
    const char *number = fx_sign_number(worst);
    fx_text_add(t, ". <small>%c%s: %s%.3g, limit %.3g; try %s.</small></span></li>\n",
                toupper((unsigned char)number[0]), number + 1, count > 1 ? "at worst " : "",
                worst->number, worst->limit, row->advice);
}

void signs_write(text *t, const fx_report *report, fx_task task)
{
    for (int64_t k = 0; k < FX_SIGNATURES; k++)
        sign_write(t, report, task, k);
}
