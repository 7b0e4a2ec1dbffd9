/* grids.c: tables of any kind: a heading, texts row by row, a note. The first column heads its row. */
#include "text.h"

static void row_write(text *t, const fx_report_table *g, const char *const *cell)
{
    fx_text_add(t, "<tr>");
    for (int c = 0; c < g->columns; c++) {
        fx_text_add(t, c == 0 ? "<th scope=\"row\">" : "<td>");
        text_escaped(t, cell[c]);
        fx_text_add(t, c == 0 ? "</th>" : "</td>");
    }
    fx_text_add(t, "</tr>\n");
}

static void grid_write(text *t, const fx_report_table *g)
{
    fx_text_add(t, "<section><h2>");
    text_escaped(t, g->title);
    fx_text_add(t, "</h2>\n<div class=\"scroll\"><table%s><thead><tr>",
                g->words ? " class=\"words\"" : "");
    for (int c = 0; c < g->columns; c++) {
        fx_text_add(t, "<th scope=\"col\">");
        text_escaped(t, g->column[c]);
        fx_text_add(t, "</th>");
    }
    fx_text_add(t, "</tr></thead><tbody>\n");
    for (int r = 0; r < g->rows; r++)
        row_write(t, g, g->cell + r * g->columns);
    fx_text_add(t, "</tbody></table></div>\n");
    if (g->note) {
        fx_text_add(t, "<p class=\"note\">");
        text_escaped(t, g->note);
        fx_text_add(t, "</p>");
    }
    fx_text_add(t, "</section>\n");
}

void grids_write(text *t, const fx_report *report)
{
    for (int i = 0; i < report->tables; i++)
        grid_write(t, &report->table[i]);
}
