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

static void head_write(text *t, const fx_report *report)
{
    fx_text_add(t,
                "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
                "'unsafe-inline'; "
                "img-src data:\">\n"
                "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
    text_escaped(t, report->title);
    fx_text_add(t, "</title>\n<style>\n");
    for (const char *const *rule = report_style; *rule; rule++)
        fx_text_add(t, "%s\n", *rule);
    fx_text_add(t, "</style></head>\n<body><main>\n<header><h1>");
    text_escaped(t, report->title);
    fx_text_add(t, "</h1>\n<p class=\"summary\">");
    text_escaped(t, report->summary);
    fx_text_add(t, "</p></header>\n<div class=\"top\"><div>");
    cards_write(t, report);
    findings_write(t, report);
    fx_text_add(t, "</div>\n");
    facts_write(t, report);
    fx_text_add(t, "</div>\n");
}

static void panels_write(text *t, const fx_report *report)
{
    if (report->panels == 0) return;
    fx_text_add(
        t, "<section><h2>Fields</h2>\n<p class=\"note\">Vorticity. The four pictures of a row share "
           "one colour scale; "
           "values beyond its ends have the colours of its ends. Where a square is "
           "drawn the lower row shows it larger.</p>\n");
    for (int i = 0; i < report->panels; i++)
        panel_write(t, &report->panel[i], i);
    fx_text_add(t, "</section>\n");
}

static void charts_write(text *t, const fx_report *report)
{
    if (report->charts == 0) return;
    fx_text_add(t, "<section><h2>Curves and spectra</h2>\n<div class=\"charts\">\n");
    for (int i = 0; i < report->charts; i++)
        chart_write(t, &report->chart[i]);
    fx_text_add(t, "</div></section>\n");
}

static void paragraphs_write(text *t, const fx_report *report)
{
    if (report->paragraphs == 0) return;
    fx_text_add(t, "<section><h2>What this model can and cannot show</h2>\n<div class=\"prose\">\n");
    for (int i = 0; i < report->paragraphs; i++) {
        fx_text_add(t, "<p>");
        text_escaped(t, report->paragraph[i]);
        fx_text_add(t, "</p>\n");
    }
    fx_text_add(t, "</div></section>\n");
}

static void config_write(text *t, const fx_report *report)
{
    if (!report->config) return;
    fx_text_add(t, "<section><details><summary>Configuration</summary><pre>");
    text_escaped(t, report->config);
    fx_text_add(t, "</pre></details></section>\n");
}

fx_status fx_report_write(const fx_report *report, const char *path)
{
    text page = {0};
    head_write(&page, report);
    score_tables_write(&page, report);
    panels_write(&page, report);
    charts_write(&page, report);
    ranks_write(&page, report);
    paragraphs_write(&page, report);
    config_write(&page, report);
    fx_text_add(&page, "</main></body></html>\n");
    fx_status status = page.status;
    if (status == FX_OK) status = fx_write_text(path, page.bytes, page.length);
    fx_text_free(&page);
    return status == FX_OK ? FX_OK : fx_context(status, "report %s", path);
}
