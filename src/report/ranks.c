/* ranks.c: the table of the ranks' own times: the slowest ranks of many, all of few. */
#include "text.h"

enum { SHOWN = 16 };

void ranks_write(text *t, const fx_report *report)
{
    const int shown = report->ranks < SHOWN ? report->ranks : SHOWN;
    if (report->ranks < 2) return;
    fx_text_add(t,
                "<section><h2>Ranks</h2>\n<p class=\"note\">A rank's own time of a step: without what "
                "it waited for other ranks, and with what it waited for data. All wait for the "
                "slowest. %lld steps of the newest start",
                (long long)report->rank_steps);
    if (shown < report->ranks) fx_text_add(t, "; the slowest %d of %d ranks", shown, report->ranks);
    fx_text_add(t, ".</p>\n<div class=\"scroll\"><table><caption>Own time of a step, median ");
    text_number(t, report->rank_median, 4);
    fx_text_add(t, " s</caption><thead><tr><th scope=\"col\">rank</th><th scope=\"col\">host</th>"
                   "<th scope=\"col\">mean, s</th><th scope=\"col\">of the median</th>"
                   "<th scope=\"col\">worst, s</th><th scope=\"col\">the slowest in</th></tr></thead>"
                   "<tbody>\n");
    for (int i = 0; i < shown; i++) {
        const fx_report_rank *r = &report->rank[i];
        fx_text_add(t, "<tr><th scope=\"row\">%d</th><td>", r->rank);
        text_escaped(t, r->host);
        fx_text_add(t, "</td><td>");
        text_number(t, r->mean, 4);
        fx_text_add(t, "</td><td>");
        text_number(t, r->mean / report->rank_median, 2);
        fx_text_add(t, "</td><td>");
        text_number(t, r->worst, 4);
        fx_text_add(t, "</td><td>%.0f\xe2\x80\xaf%%</td></tr>\n", 100 * r->slowest);
    }
    fx_text_add(t, "</tbody></table></div></section>\n");
}
