/* html.c: the page of a report, from its title to its configuration. One file: style inside, pictures
 * as data URIs, no scripts, and a content security policy that forbids the network. */
#include "text.h"

#include "flexhpc/io.h"

static void facts_write(text *t, const fx_report *report)
{
    if (report->facts == 0) return;
    fx_text_add(t, "<dl class=\"facts\">\n");
    for (int i = 0; i < report->facts; i++) {
        fx_text_add(t, "<dt>");
        text_escaped(t, report->fact[i].key);
        fx_text_add(t, "</dt><dd>");
        text_escaped(t, report->fact[i].value);
        fx_text_add(t, "</dd>\n");
    }
    fx_text_add(t, "</dl>\n");
}

/* The example in small, beside the verdict: the pictures below drawn a second time. */
static void lead_write(text *t, const fx_report *report)
{
    static const char *const labels[] = {"input", "model", "truth", "error"};
    if (report->lead < 0 || report->lead >= report->panels) return;
    const fx_panel *p = &report->panel[report->lead];
    fx_text_add(t, "<a class=\"lead\" href=\"#p%d\"><b>", report->lead);
    text_escaped(t, p->title);
    fx_text_add(t, "</b><span class=\"pictures\">");
    for (int i = 0; i < 4; i++)
        fx_text_add(t,
                    "<span><svg viewBox=\"0 0 %lld %lld\" aria-hidden=\"true\"><use "
                    "href=\"#p%d-%d\"/></svg>%s</span>",
                    (long long)p->side, (long long)p->side, report->lead, i, labels[i]);
    fx_text_add(t, "</span></a>\n");
}

void page_begin(text *t, const char *title, const char *summary)
{
    fx_text_add(t,
                "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
                "'unsafe-inline'; "
                "img-src data:\">\n"
                "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
    text_escaped(t, title);
    fx_text_add(t, "</title>\n<style>\n");
    for (const char *const *rule = report_style; *rule; rule++)
        fx_text_add(t, "%s\n", *rule);
    fx_text_add(t, "</style></head>\n<body><main>\n<header><h1>");
    text_escaped(t, title);
    fx_text_add(t, "</h1>\n<p class=\"summary\">");
    text_escaped(t, summary);
    fx_text_add(t, "</p></header>\n");
}

fx_status page_end(text *t, const char *path)
{
    fx_text_add(t, "</main></body></html>\n");
    fx_status status = t->status;
    if (status == FX_OK) status = fx_write_text(path, t->bytes, t->length);
    fx_text_free(t);
    return status == FX_OK ? FX_OK : fx_context(status, "report %s", path);
}

static void head_write(text *t, const fx_report *report)
{
    page_begin(t, report->title, report->summary);
    fx_text_add(t, "<div class=\"top\"><div>");
    cards_write(t, report);
    findings_write(t, report);
    fx_text_add(t, "</div><div>\n");
    lead_write(t, report);
    facts_write(t, report);
    fx_text_add(t, "</div></div>\n");
}

static void panels_write(text *t, const fx_report *report)
{
    if (report->panels == 0) return;
    fx_text_add(
        t, "<section><h2>Fields</h2>\n<p class=\"note\">Vorticity. The four pictures of a row share "
           "one colour scale; "
           "values beyond its ends have the colours of its ends. Where a square is "
           "drawn the lower row shows it larger.</p>\n");
    int folded = 0;
    for (int i = 0; i < report->panels; i++) {
        folded += report->panel[i].folded;
        if (!report->panel[i].folded) panel_write(t, &report->panel[i], i);
    }
    if (folded > 0) fx_text_add(t, "<details><summary>%d more</summary>\n", folded);
    for (int i = 0; i < report->panels; i++)
        if (report->panel[i].folded) panel_write(t, &report->panel[i], i);
    fx_text_add(t, "%s</section>\n", folded > 0 ? "</details>" : "");
}

void charts_write(text *t, const fx_chart *chart, int charts)
{
    if (charts == 0) return;
    fx_text_add(t, "<section><h2>Curves and spectra</h2>\n<div class=\"charts\">\n");
    for (int i = 0; i < charts; i++)
        chart_write(t, &chart[i]);
    fx_text_add(t, "</div></section>\n");
}

static void paragraphs_write(text *t, const fx_report *report)
{
    if (report->paragraphs == 0) return;
    fx_text_add(t, "<section><h2>");
    text_escaped(t, report->paragraphs_title ? report->paragraphs_title
                                             : "What this model can and cannot show");
    fx_text_add(t, "</h2>\n<div class=\"prose\">\n");
    for (int i = 0; i < report->paragraphs; i++) {
        fx_text_add(t, "<p>");
        text_escaped(t, report->paragraph[i]);
        fx_text_add(t, "</p>\n");
    }
    fx_text_add(t, "</div></section>\n");
}

static void details_write(text *t, const char *title, const char *any)
{
    if (!any) return;
    fx_text_add(t, "<section><details><summary>%s</summary><pre>", title);
    text_escaped(t, any);
    fx_text_add(t, "</pre></details></section>\n");
}

fx_status fx_report_write(const fx_report *report, const char *path)
{
    text page = {0};
    head_write(&page, report);
    score_tables_write(&page, report);
    grids_write(&page, report);
    panels_write(&page, report);
    rollouts_write(&page, report);
    measures_write(&page, report);
    charts_write(&page, report->chart, report->charts);
    ranks_write(&page, report);
    paragraphs_write(&page, report);
    details_write(&page, "Configuration", report->config);
    details_write(&page, "Environment", report->environment);
    details_write(&page, "Commands", report->commands);
    return page_end(&page, path);
}
