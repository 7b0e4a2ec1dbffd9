/* dump.c: the list of a step as text, one line an entry. */
#include "flexhpc/program.h"

static void print_tensors(FILE *out, const char *label, fx_tensor *const *t, int count)
{
    for (int i = 0; i < count; i++)
        if (t[i]) {
            fprintf(out, " %s%d%s%s", label, i, fx_shape_text(t[i]),
                    t[i]->dtype == FX_BF16 ? "bf16" : "");
            if (t[i]->memory == FX_PLANNED) fprintf(out, "@%zu", t[i]->offset);
        }
}

fx_status fx_program_dump(const fx_program *program, FILE *out)
{
    const fx_entry *entries = NULL;
    const int count = fx_program_entries(program, &entries);
    for (int e = 0; e < count; e++) {
        const fx_node *n = entries[e].node;
        fprintf(out, "%5d %s %-12s %s", e,
                n->recomputed                    ? "again   "
                : entries[e].pass == FX_BACKWARD ? "backward"
                                                 : "forward ",
                n->op->name, n->name);
        print_tensors(out, "in", n->in, FX_MAX_IN);
        print_tensors(out, "out", n->out, FX_MAX_OUT);
        print_tensors(out, "saved", n->saved, FX_MAX_SAVED);
        print_tensors(out, "din", n->din, FX_MAX_IN);
        fprintf(out, " scratch %zu flop %.0f bytes %.0f\n", entries[e].scratch_bytes,
                fx_node_flops(n, entries[e].pass), fx_node_bytes(n, entries[e].pass));
    }
    FX_REQUIRE(!ferror(out), FX_EIO, "the dump could not be written");
    return FX_OK;
}
