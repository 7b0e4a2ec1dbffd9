/* field.c: whole fields. Reads the input from standard input, a coarse field or past snapshots, and
 * writes a sharp one or forecasts: float32. field RUN RE SEED MEMBER ROWS COLUMNS LEADS, doubly
 * periodic; LEADS 0: super-resolution */
#include <flexhpc.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    flexhpc_model *model = NULL;
    flexhpc_info is;
    if (argc != 8 || flexhpc_open(argv[1], NULL, &model) || flexhpc_describe(model, &is))
        return fprintf(stderr, "field: %s\n", flexhpc_error()), 1;

    const flexhpc_draw draw = {atof(argv[2]), strtoull(argv[3], NULL, 10), (uint32_t)atol(argv[4])};
    const flexhpc_grid grid = {atol(argv[5]), atol(argv[6]), 1, 1, 0};
    const int64_t leads = atol(argv[7]), n = grid.rows * grid.columns,
                  in = leads ? is.past * n : n / is.factor / is.factor, out = leads ? leads * n : n;
    float *input = calloc((size_t)in, sizeof *input), *result = calloc((size_t)out, sizeof *result);
    const int64_t got = (int64_t)fread(input, sizeof *input, (size_t)in, stdin);
    const int failed =
        got != in || (leads ? flexhpc_forecast_field(model, &draw, &grid, leads, input, result)
                            : flexhpc_superres_field(model, &draw, &grid, input, result));
    if (failed) fprintf(stderr, "field: %s\n", flexhpc_error());
    if (!failed) fwrite(result, sizeof *result, (size_t)out, stdout);
    free(input);
    free(result);
    flexhpc_close(&model);
    return failed;
}
