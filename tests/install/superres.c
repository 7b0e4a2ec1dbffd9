/* superres.c: what a solver writes. Reads one coarse field from standard input, writes the sharp one:
 * float32. superres RUN RE SEED MEMBER */
#include <flexhpc.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    flexhpc_model *model = NULL;
    flexhpc_info is;
    if (argc != 5 || flexhpc_open(argv[1], NULL, &model) || flexhpc_describe(model, &is))
        return fprintf(stderr, "superres: %s\n", flexhpc_error()), 1;

    const flexhpc_draw draw = {atof(argv[2]), strtoull(argv[3], NULL, 10), (uint32_t)atol(argv[4])};
    const int64_t n = is.side / is.factor;
    float *coarse = calloc((size_t)(n * n), sizeof *coarse);
    float *fine = calloc((size_t)(is.side * is.side), sizeof *fine);
    const size_t got = fread(coarse, sizeof *coarse, (size_t)(n * n), stdin);
    const int failed = (int64_t)got != n * n || flexhpc_superres(model, &draw, 1, n, n, coarse, fine);
    if (failed) fprintf(stderr, "superres: %s\n", flexhpc_error());
    if (!failed) fwrite(fine, sizeof *fine, (size_t)(is.side * is.side), stdout);
    free(coarse);
    free(fine);
    flexhpc_close(&model);
    return failed;
}
